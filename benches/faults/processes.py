"""Owns processes whose lines are read with their times, and clusters of them that end with a run."""

import contextlib
import json
import math
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time

from baseline import BINARY, ROOT

# Tasks of 10 to 20 ms, as rounds are to be long enough to be hit in the middle.
LETTERS = "75 24 0.0001"
PATIENCE = 60.0
ROUND = r"round (\d+)/"


class Trouble(Exception):
    """A run that did not go as it must."""


class Process:
    """A process, and its lines with the times at which they were read."""

    def __init__(self, command, **more):
        self.name = " ".join(str(word) for word in command if str(word) != BINARY)[:100]
        environment = {**os.environ, "RUST_LOG": "roundtable=debug"}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([str(w) for w in command], cwd=ROOT, env=environment, text=True, **pipes, **more)
        self.lines, self.news = [], threading.Condition()
        pipes = [self.process.stdout, self.process.stderr]
        self.open = len(pipes)
        self.threads = [threading.Thread(target=self._read, args=[pipe], daemon=True) for pipe in pipes]
        for thread in self.threads:
            thread.start()

    def _read(self, pipe):
        for line in pipe:
            with self.news:
                self.lines.append((time.monotonic(), line.rstrip("\n")))
                self.news.notify_all()
        with self.news:
            self.open -= 1
            self.news.notify_all()

    def wait(self, pattern, since=0.0, patience=PATIENCE):
        """The time of the first line since then that matches, and the match."""
        end, seen, pattern = time.monotonic() + patience, 0, re.compile(pattern)
        with self.news:
            while True:
                while seen < len(self.lines):
                    at, line = self.lines[seen]
                    seen += 1
                    match = at >= since and pattern.search(line)
                    if match:
                        return at, match
                if not self.open:
                    raise Trouble(f"'{self.name}' ended, and did not say '{pattern.pattern}'")
                if not self.news.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    raise Trouble(f"'{self.name}' did not say '{pattern.pattern}' within {patience:.0f} s")

    def all(self, pattern, since=0.0, until=math.inf):
        """All lines that match, with their times."""
        with self.news:
            lines = list(self.lines)
        found = ((at, re.search(pattern, line)) for at, line in lines if since <= at <= until)
        return [(at, match) for at, match in found if match]

    def send(self, number):
        """Sends a signal; answers with the time."""
        at = time.monotonic()
        self.process.send_signal(number)
        return at

    def end(self):
        self.process.kill()
        self.process.wait()
        for thread in self.threads:
            thread.join(PATIENCE)


class Cluster(contextlib.ExitStack):
    """Servers and clients of one run, on loopback or in a network of its own."""

    def __init__(self, logs=None, network=None, always_logs=False):
        super().__init__()
        self.logs, self.always_logs, self.network, self.all, self.nodes = logs, always_logs, network, [], []
        parent = ROOT / "target"
        parent.mkdir(exist_ok=True)
        self.directory = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="faults-", dir=parent)))

    def __exit__(self, kind, *rest):
        try:
            for process in self.all:
                process.process.kill()
            for process in self.all:
                process.end()
            if self.logs is not None and (kind is not None or self.always_logs):
                self.logs.parent.mkdir(parents=True, exist_ok=True)
                lines = sorted((at, number, line) for number, process in enumerate(self.all) for at, line in process.lines)
                names = [f"[{number}] {process.name}\n" for number, process in enumerate(self.all)]
                self.logs.write_text("".join(names) + "".join(f"{at:.4f} [{n}] {line}\n" for at, n, line in lines))
        finally:
            super().__exit__(kind, *rest)

    def start(self, *words, host=None):
        before = self.network.inside(host) if self.network else []
        process = Process([*before, BINARY, *words])
        self.all.append(process)
        return process

    def server(self, *words):
        host = self.network.add() if self.network else None
        where = ["--host", self.network.address(host)] if self.network else []
        server = self.start(*words, *where, host=host)
        server.host = host
        server.listens, match = server.wait(r"listening on (\S+)")
        server.address = match[1]
        return server

    def node(self, *more):
        held = self.directory / f"held-{len(self.nodes)}"
        node = self.server("compute-node", "9000" if self.network else "0", "0", "--store", held, *more)
        self.nodes.append(node)
        return node

    def coordinator(self, *more, port=0):
        listing = self.directory / "nodes.txt"
        listing.write_text("".join(node.address.replace(":", ",") + "\n" for node in self.nodes))
        port = 9000 if self.network else port
        store = self.directory / "store"
        return self.server("coordinator", port, "load-balancing", "--nodes", listing, "--store", store, *more)

    def ready(self, coordinator):
        """Waits until a leader has spoken with all nodes."""
        for node in self.nodes:
            coordinator.wait(rf"\] {re.escape(node.address)} is ready")

    def client(self, coordinators, rounds):
        addresses = ",".join(coordinator.address for coordinator in coordinators)
        run = self.directory / "run.json"
        words = ["letters", rounds, *LETTERS.split(), "--timing", os.devnull, "--run-out", run]
        client = self.start("client", addresses, 1, *words)
        client.run, client.rounds = run, rounds
        return client

    def ask(self, *words):
        """A command to its end; JSON."""
        command = [*(self.network.inside(None) if self.network else []), BINARY, *words, "--json"]
        done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Trouble(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def leads(self, coordinator):
        """Whether a coordinator says of itself that it leads."""
        members = self.ask("members", "--member", coordinator.address)
        return members[0]["leads"] is True


def result(client, patience=PATIENCE):
    """The run of a client, which must have ended well, each round being told once."""
    try:
        code = client.process.wait(patience)
    except subprocess.TimeoutExpired:
        raise Trouble(f"the job does not end within {patience:.0f} s; last: {client.lines[-1][1]}") from None
    for thread in client.threads:
        thread.join(PATIENCE)
    if code:
        raise Trouble(f"the client ended with {code}: {client.lines[-1][1]}")
    run = json.loads(client.run.read_text())
    told = [int(match[1]) for _, match in client.all("^" + ROUND)]
    for rounds in [told, [closed["round"] for closed in run["rounds"]]]:
        if rounds != list(range(1, client.rounds + 1)):
            raise Trouble(f"rounds are not told once each, in order: {rounds}")
    return run
