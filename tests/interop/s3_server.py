"""An S3 server for tests/store: moto, on a free port of loopback, with the bucket "bucket".

Says its port on the first line, and ends when its input does, so that it never outlives the test.
"""

import sys
import threading
import urllib.request

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class OneAtATime:
    """Writes are served one at a time: moto looks and then writes, and lets others in between, which S3 does not."""

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self.app(environ, start_response)
        with self.lock:
            return list(self.app(environ, start_response))


class Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args):
        pass


app = OneAtATime(DomainDispatcherApplication(create_backend_app))
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
request = urllib.request.Request(f"http://127.0.0.1:{server.port}/bucket", method="PUT")
urllib.request.urlopen(request, timeout=30).close()
print(server.port, flush=True)
sys.stdin.read()
