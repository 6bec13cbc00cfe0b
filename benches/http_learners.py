"""A thousand learners over HTTP: how long each waits for its change to be durable, and whether each counts once.

    python3 benches/http_learners.py [--learners 1000] [--rate 200] [--seconds 30]

Builds the program and examples/learners.rs, starts a coordinator with a store on this machine's disk, and prints one line of
JSON for each rate.
"""

import argparse
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
RELEASE = ROOT / "target" / "release"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learners", type=int, default=1000)
    parser.add_argument("--rate", type=int, nargs="+", default=[200])
    parser.add_argument("--seconds", type=int, default=30)
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--bin", "roundtable", "--example", "learners"], cwd=ROOT, check=True)
    for rate in args.rate:
        with tempfile.TemporaryDirectory() as store:
            http = f"127.0.0.1:{free_port()}"
            command = [RELEASE / "roundtable", "coordinator", "0", "2", "--store", "store", "--http", http]
            command += ["--data-dir", ROOT, "--stop-with-stdin"]
            # Elsewhere, since a file of nodes would be read here.
            server = subprocess.Popen(command, cwd=store, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                address = re.search(r"listening on (\S+)", server.stdout.readline()).group(1)
                learners = [RELEASE / "examples" / "learners", address, http]
                learners += [str(number) for number in (args.learners, rate, args.seconds)]
                done = subprocess.run(learners, timeout=args.seconds + 120)
            finally:
                server.stdin.close()
                server.wait(30)
            if done.returncode:
                sys.exit(done.returncode)


if __name__ == "__main__":
    main()
