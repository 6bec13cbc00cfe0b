"""One face for the two Thrift libraries for Python, `thrift` (Apache's) and `thriftpy2`.

Both speak what the original spoke: buffered transport, binary protocol, and on the serving side TSimpleServer, which
serves one connection until it is closed and only then takes the next.
"""

import contextlib
import hashlib
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
#: The contract as the original had it, and ours, which extends it.
ORIGINAL_IDL = HERE
OUR_IDL = ROOT / "idl"
NAMES = ["thrift", "thriftpy2"]


def library(name):
    return {"thrift": ApacheThrift, "thriftpy2": Thriftpy2}[name]()


class Thriftpy2:
    """Loads .thrift files as they are."""

    name = "thriftpy2"

    def load(self, idl, service):
        """The types of `idl/service.thrift`, and its service of the same name."""
        import thriftpy2

        # A name for each directory: thriftpy2 keeps modules by name.
        module = thriftpy2.load(str(idl / f"{service}.thrift"), module_name=f"{idl.name}_{service}_thrift")
        return module, getattr(module, service)

    def rejected(self):
        """The exception of our calls, as this library raises it."""
        return self.load(OUR_IDL, "compute_node")[0].blobs.Rejected

    def application_error(self):
        """What a caller sees when the server has no such call, or failed in one without a word of its own."""
        from thriftpy2.thrift import TApplicationException

        return TApplicationException

    def blob(self, digest, content):
        return self.load(OUR_IDL, "compute_node")[0].blobs.Blob(digest=digest, bytes=content)

    def client(self, service, host, port, timeout=30.0):
        """For a `with` statement."""
        from thriftpy2.rpc import make_client

        return contextlib.closing(make_client(service, host, port, timeout=int(timeout * 1000)))

    def serve(self, service, handler, host, port):
        from thriftpy2.protocol import TBinaryProtocolFactory
        from thriftpy2.server import TSimpleServer
        from thriftpy2.thrift import TProcessor
        from thriftpy2.transport import TBufferedTransportFactory, TServerSocket

        socket = TServerSocket(host=host, port=port)
        socket.listen()
        announce(host, socket.sock.getsockname()[1])
        socket.listen = lambda: None  # serve() would bind again
        TSimpleServer(
            TProcessor(service, handler), socket, TBufferedTransportFactory(), TBinaryProtocolFactory()
        ).serve()


class ApacheThrift:
    """Needs code that `thrift --gen py` made; that is done once for each content of the .thrift files."""

    name = "thrift"

    @staticmethod
    def available():
        return shutil.which("thrift") is not None

    def load(self, idl, service):
        generated = str(generate(idl))
        if generated not in sys.path:
            sys.path.insert(0, generated)
        package = service if idl == ORIGINAL_IDL else f"roundtable.{service}"
        return importlib.import_module(f"{package}.ttypes"), importlib.import_module(f"{package}.{service}")

    def rejected(self):
        self.load(OUR_IDL, "compute_node")
        return importlib.import_module("roundtable.blobs.ttypes").Rejected

    def application_error(self):
        from thrift.Thrift import TApplicationException

        return TApplicationException

    def blob(self, digest, content):
        self.load(OUR_IDL, "compute_node")
        return importlib.import_module("roundtable.blobs.ttypes").Blob(digest=digest, bytes=content)

    def client(self, service, host, port, timeout=30.0):
        """For a `with` statement."""
        from thrift.protocol.TBinaryProtocol import TBinaryProtocol
        from thrift.transport.TSocket import TSocket
        from thrift.transport.TTransport import TBufferedTransport

        socket = TSocket(host, port)
        socket.setTimeout(int(timeout * 1000))
        transport = TBufferedTransport(socket)
        transport.open()
        client = service.Client(TBinaryProtocol(transport))
        client.close = transport.close
        # Not a generator made a context manager: that sets an attribute on the exceptions which pass through it, and
        # generated exceptions do not let it.
        return contextlib.closing(client)

    def serve(self, service, handler, host, port):
        from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory
        from thrift.server.TServer import TSimpleServer
        from thrift.transport.TSocket import TServerSocket
        from thrift.transport.TTransport import TBufferedTransportFactory

        socket = TServerSocket(host=host, port=port)
        socket.listen()
        announce(host, socket.handle.getsockname()[1])
        socket.listen = lambda: None  # serve() would bind again
        TSimpleServer(
            service.Processor(handler), socket, TBufferedTransportFactory(), TBinaryProtocolFactory()
        ).serve()


def announce(host, port):
    """Our own servers' last line before they serve; port 0 has become a real one here."""
    print(f"listening on {host}:{port}", flush=True)


def generate(idl):
    """The directory with the Python code of all of `idl`, made if it is not there yet."""
    files = sorted(idl.glob("*.thrift"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    made = ROOT / "target" / "interop-gen" / digest
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        working = tempfile.mkdtemp(dir=made.parent)
        for file in files:
            subprocess.run(["thrift", "--gen", "py", "-out", working, str(file)], check=True)
        try:
            os.rename(working, made)
        except OSError:  # another process was quicker
            shutil.rmtree(working)
    return made
