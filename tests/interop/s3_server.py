"""An S3 server for tests/store: moto, on a free port of loopback, with the bucket "bucket".

Says its port on the first line, and ends when its input does, so that it never outlives the test.
"""

import sys
import threading
import urllib.request

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class OneAtATime:
    """
    Serves writes one at a time: moto looks and then writes, and lets others in between, which S3 does not.
    Of keys below "answer-lost", the first answer to a write is lost.
    """

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()
        self.lost = set()

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self.app(environ, start_response)
        with self.lock:
            answer = list(self.app(environ, start_response))
        path = environ["PATH_INFO"]
        if "/answer-lost/" in path and path not in self.lost:
            # As if something between had failed when the object was written already.
            self.lost.add(path)
            start_response("500 Internal Server Error", [("Content-Length", "0")], True)
            return []
        return answer


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
