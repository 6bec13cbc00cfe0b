"""The job in ours: four nodes with load 0, a coordinator, and the client, timed from the outside.

    ROUNDTABLE_BIN=target/release/roundtable python ours.py
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import work

NODES, RUNS = 4, 5
TIMEOUT = 120  # seconds for a job


def start(stack, *words):
    """Starts a server and answers its address, once it tells it."""
    server = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True, cwd=work.LETTERS.parent)
    stack.callback(server.wait)
    stack.callback(server.kill)
    watchdog = threading.Timer(10, server.kill)  # ends the reading below
    watchdog.start()
    for line in server.stdout:
        if found := re.search(r"listening on (\S+):(\d+)$", line.rstrip()):
            watchdog.cancel()
            return found[1], found[2]
    sys.exit(f"{words[1]} was not listening after 10 s, or ended")


def run(binary, count, job):
    """The report of a job, and the seconds with the start of all processes; None if it fails, and says why.

    On a cluster of its own: the nodes of one that has run before would have the data already.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        began = time.perf_counter()
        nodes = [start(stack, binary, "compute-node", 0, 0, "--host", "127.0.0.1") for _ in range(count)]
        listed = pathlib.Path(directory) / "compute_nodes.txt"
        listed.write_text("".join(f"{host},{port}\n" for host, port in nodes))
        store = pathlib.Path(directory) / "store"
        words = ["coordinator", 0, 2, "--host", "127.0.0.1", "--nodes", listed, "--store", store]
        host, port = start(stack, binary, *words)
        words = [str(word) for word in [binary, "client", host, port, *job, "--json"]]
        try:
            client = subprocess.run(words, capture_output=True, text=True, cwd=work.LETTERS.parent, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            print(f"client {' '.join(words[4:])}: more than {TIMEOUT} s", file=sys.stderr)
            return None
        ended = time.perf_counter()
    if client.returncode != 0:
        print(f"client {' '.join(words[4:])}: exit code {client.returncode}\n{client.stderr}", file=sys.stderr)
        return None
    return json.loads(client.stdout), ended - began


def program():
    """The binary and its version."""
    default = work.LETTERS.parent / "target" / "release" / "roundtable"
    binary = pathlib.Path(os.environ.get("ROUNDTABLE_BIN", default)).absolute()
    if not binary.is_file():
        sys.exit(f"{binary} is not there: cargo build --release, or set ROUNDTABLE_BIN")
    return binary, subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def main():
    binary, version = program()
    for _ in range(RUNS):
        ran = run(binary, NODES, ["letters", work.ROUNDS, work.EPOCHS, work.HIDDEN, work.ETA])
        if ran is None:
            sys.exit(1)
        report, seconds = ran
        work.tell(
            f"ours: {version}, {NODES} nodes",
            "job letters 3 75 24 0.0001",
            wall_s=report["wall_s"],
            with_start_up_s=seconds,
            error=report["validation_error"],
        )


if __name__ == "__main__":
    main()
