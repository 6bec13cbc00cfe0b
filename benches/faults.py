"""Measures what reports/faults.md shows, with real processes and a release build: python3 benches/faults.py

    --runs N            runs of each scenario (20)
    --only NAME,NAME    only these scenarios; --list names them
    --json FILE         all numbers of all runs
    --logs DIR          what all processes of a run said is kept there if the run fails (target/faults)
    --all-logs          also if it does not

ROUNDTABLE_BIN names another binary; otherwise `cargo build --release` makes it. Standard library only. Servers listen on
loopback, or in network namespaces of this program (which needs root and `ip`; without them these scenarios are left out).
They end with this program, and so do the namespaces. Each run has a cluster of its own, in a directory that is removed.

Times are those at which this program reads a line that a process has written, by the monotonic clock. In each run the
weights' SHA-256 is compared with that of the same job undisturbed, and rounds must be told once each, in order.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from baseline import BINARY, ROOT

# Tasks of 10 to 20 ms, as rounds are to be long enough to be hit in the middle.
LETTERS = "75 24 0.0001"
NODES = 4
PATIENCE = 60.0
ROUND = r"round (\d+)/"
# What the coordinator says when it gives a task, and the node when it has answered one.
DISPATCH = r"job \d+ (round \d+ \S+ \d+): "
ANSWERED = r"(round \d+ \S+ \d+) for \S+: TaskOutcome"


class Trouble(Exception):
    """A run that did not go as it must."""


class Said:
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
            for said in self.all:
                said.end()
            if self.logs is not None and (kind is not None or self.always_logs):
                self.logs.parent.mkdir(parents=True, exist_ok=True)
                lines = sorted((at, number, line) for number, said in enumerate(self.all) for at, line in said.lines)
                names = [f"[{number}] {said.name}\n" for number, said in enumerate(self.all)]
                self.logs.write_text("".join(names) + "".join(f"{at:.4f} [{n}] {line}\n" for at, n, line in lines))
        finally:
            super().__exit__(kind, *rest)

    def start(self, *words, host=None):
        before = self.network.inside(host) if self.network else []
        said = Said([*before, BINARY, *words])
        self.all.append(said)
        return said

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


def same(run, rounds):
    """Fails unless the weights are those of the undisturbed job."""
    expected, digest = undisturbed(rounds)["weights_sha256"], run["weights_sha256"]
    if digest != expected:
        raise Trouble(f"weights {digest[:16]}, but {expected[:16]} undisturbed")


REFERENCES = {}


def undisturbed(rounds):
    """The same job with nothing in its way, as it was when first asked for."""
    if rounds not in REFERENCES:
        with Cluster() as cluster:
            REFERENCES[rounds] = run_in(cluster, rounds)
    return REFERENCES[rounds]


def run_in(cluster, rounds):
    """A job in a new cluster, to its end."""
    coordinator = with_nodes(cluster)
    return result(cluster.client([coordinator], rounds))


def with_nodes(cluster, count=NODES, *more):
    for _ in range(count):
        cluster.node()
    coordinator = cluster.coordinator(*more)
    cluster.ready(coordinator)
    return coordinator


def rounds_for(seconds):
    """So many rounds take about as long, undisturbed."""
    return max(10, math.ceil(seconds / usual_round()))


def usual_round():
    return statistics.median(closed["wall_s"] for closed in undisturbed(20)["rounds"])


def into_a_round(client, number):
    """Waits for the report of a round, and for a random part of the next."""
    client.wait(f"^round {number}/")
    time.sleep(random.uniform(0.1, 0.9) * usual_round())


def next_round(client, since):
    """When the next round was told."""
    return client.wait("^" + ROUND, since)[0]


def stood_still(client, since):
    """The longest time between two reports of rounds."""
    times = [at for at, _ in client.all("^" + ROUND)]
    return max(after - before for before, after in zip(times, times[1:]) if after >= since)


def one_leads(cluster, expected, other):
    if not cluster.leads(expected) or cluster.leads(other):
        raise Trouble("not exactly one of the coordinators leads: the one that took over")


def node_killed(cluster):
    """A node of four is killed in the middle of a round, the job being in its middle.

    added = wall - wall of the undisturbed run just before - redone work - lost capacity, where
    redone work   = of each attempt that was lost on the node its time, but no more than the median task took;
    lost capacity = (share of the rounds left at the kill) x undisturbed wall x (min(4, cores) / min(3, cores) - 1):
                    nothing on two cores, which three nodes keep as busy as four.
    """
    rounds = rounds_for(4)
    with Cluster() as before:
        undisturbed_wall = run_in(before, rounds)["wall_s"]
    client = cluster.client([with_nodes(cluster)], rounds)
    into_a_round(client, rounds // 2)
    killed = random.choice(cluster.nodes)
    at = killed.send(signal.SIGKILL)
    told = len(client.all("^" + ROUND, until=at))
    run = result(client)
    same(run, rounds)
    spans = [span for closed in run["rounds"] for span in closed["spans"]]
    usual = statistics.median(span["end_s"] - span["start_s"] for span in spans if span["outcome"] == "done")
    number = [node["address"] for node in run["nodes"]].index(killed.address)
    lost = [s["end_s"] - s["start_s"] for s in spans if s["node"] == number and s["outcome"] != "done"]
    redone, cores = sum(min(usual, span) for span in lost), os.cpu_count()
    capacity = (1 - told / rounds) * undisturbed_wall * (min(4, cores) / min(3, cores) - 1)
    walls = [closed["wall_s"] for closed in run["rounds"]]
    return {
        "added beyond the redone work": run["wall_s"] - undisturbed_wall - redone - capacity,
        "round of the kill - median round": walls[min(told, rounds - 1)] - statistics.median(walls),
        "lost attempts": len(lost),
    }


def leader_killed(cluster):
    """The leader is killed, and another coordinator stands by."""
    rounds = rounds_for(5)
    leader = with_nodes(cluster)
    standby = cluster.coordinator("--standby")
    client = cluster.client([leader, standby], rounds)
    into_a_round(client, 5)
    at = leader.send(signal.SIGKILL)
    leads, task, told = standby.wait("leads in epoch", at)[0], standby.wait(DISPATCH, at)[0], next_round(client, at + 0.01)
    same(result(client), rounds)
    return {"standby leads": leads - at, "first task": task - at, "next round is told": told - at}


def leader_restarted(cluster):
    """The leader is killed and started again. A task whose answer was still on its way to the disk counts as in flight."""
    rounds = rounds_for(5)
    leader = with_nodes(cluster)
    client = cluster.client([leader], rounds)
    into_a_round(client, 5)
    at = leader.send(signal.SIGKILL)
    leader.process.wait()
    again = cluster.coordinator(port=leader.address.rsplit(":", 1)[1])
    task, told = again.wait(DISPATCH, at)[0], next_round(client, at + 0.01)
    same(result(client), rounds)
    given_before = {match[1] for _, match in leader.all(DISPATCH)}
    given_again = {match[1] for _, match in again.all(DISPATCH)} & given_before
    answered = {}
    for node in cluster.nodes:
        for when, match in node.all(ANSWERED + r"\(0\)", until=at):
            answered[match[1]] = min(when, answered.get(match[1], math.inf))
    return {
        "first task after it listens": task - again.listens,
        "next round is told after it listens": told - again.listens,
        "start of the process": again.listens - at,
        "tasks in flight": len(given_before - answered.keys()),
        "tasks redone": len(given_again),
        "redone, answered 50 ms before": sum(answered.get(task, at) < at - 0.05 for task in given_again),
    }


def three_of_six(cluster):
    """Three of six nodes are killed at once: until all three others have noticed it of all."""
    cluster.node()
    for _ in range(5):
        cluster.node("--join", cluster.nodes[0].address)
    for by in cluster.nodes:
        for of in cluster.nodes:
            if of is not by:
                by.wait(f"node {re.escape(of.address)} is there")
    # Rumours of the arrival have died down.
    time.sleep(random.uniform(1.0, 1.5))
    killed = set(random.sample(cluster.nodes, 3))
    at = [node.send(signal.SIGKILL) for node in killed][0]
    others = [node for node in cluster.nodes if node not in killed]
    noticed = [by.wait(f"node {re.escape(of.address)} is gone", at)[0] - at for by in others for of in killed]
    down = {node.address for node in killed}
    for by in others:
        members = cluster.ask("members", "--member", by.address)
        if {member["address"] for member in members if member["state"] == "DOWN"} != down:
            raise Trouble(f"{by.address} does not show those three as down that are: {members}")
    return {"all are noticed by all": max(noticed), "the first is noticed": min(noticed)}


def copies_restored(cluster):
    """Three of the four nodes that hold a file of 40 MB are killed at once, of eight nodes."""
    coordinator = with_nodes(cluster, 8)
    file, target = random_file(cluster, 40), cluster.directory / "got"
    asked = ["--coordinator", coordinator.address]
    holders = lambda: set(cluster.ask("ls", "file", *asked)[0]["holders"])
    cluster.ask("put", file, "file", *asked)
    before = poll("4 copies", lambda: len(held := holders()) == 4 and held)
    killed = [node for node in cluster.nodes if node.address in sorted(before)[:3]]
    at = [node.send(signal.SIGKILL) for node in killed][0]
    gone = {node.address for node in killed}
    noticed = max(coordinator.wait(f"node {re.escape(address)} is gone", at)[0] for address in gone)
    poll("4 copies again", lambda: len(held := holders()) == 4 and not held & gone)
    restored = time.monotonic()
    cluster.ask("get", "file", target, *asked)
    if target.read_bytes() != file.read_bytes():
        raise Trouble("the file comes back with other bytes")
    return {"4 copies again": restored - at, "all are noticed": noticed - at}


def poll(what, is_so):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := is_so():
            return found
        time.sleep(0.01)
    raise Trouble(f"it does not come to this within {PATIENCE:.0f} s: {what}")


def random_file(cluster, megabytes):
    """A file of random bytes; of 10^6 bytes a MB."""
    path = cluster.directory / f"random-{megabytes}"
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(random.randbytes(1_000_000))
    return path


def leader_paused(cluster):
    """The leader sleeps for 10 s (SIGSTOP), another takes over, and the first wakes up while the job goes on."""
    rounds = rounds_for(16)
    leader = with_nodes(cluster)
    standby = cluster.coordinator("--standby")
    client = cluster.client([leader, standby], rounds)
    into_a_round(client, 5)
    at = leader.send(signal.SIGSTOP)
    time.sleep(10)
    awake = leader.send(signal.SIGCONT)
    leads, task, told = standby.wait("leads in epoch", at)[0], standby.wait(DISPATCH, at)[0], next_round(client, at + 0.01)
    deposed = leader.wait("leads no more", awake)[0]
    if client.process.poll() is not None:
        raise Trouble("the job was over before the leader woke up: it is too short to show anything")
    one_leads(cluster, standby, leader)
    same(result(client), rounds)
    one_leads(cluster, standby, leader)
    return {
        "standby leads": leads - at,
        "first task": task - at,
        "next round is told": told - at,
        "training stood still": stood_still(client, at),
        "it steps down after it woke up": deposed - awake,
    }


class Network:
    """Network namespaces: a bridge in one, in which clients run, and each server in one of its own."""

    def __init__(self):
        self.names = []
        self.make("hub")
        self.hub("link", "add", "name", "bridge", "type", "bridge")
        self.hub("address", "add", "10.99.0.1/24", "dev", "bridge")
        self.hub("link", "set", "bridge", "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)

    def make(self, name):
        name = f"faults-{os.getpid()}-{name}"
        ip("netns", "add", name)
        self.names.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def hub(self, *words):
        ip("-n", self.names[0], *words)

    def add(self):
        """A new host; its number."""
        host = len(self.names)
        self.make(str(host))
        there = ["name", "eth0", "netns", self.names[host]]
        self.hub("link", "add", "name", f"host{host}", "type", "veth", "peer", *there)
        self.hub("link", "set", f"host{host}", "master", "bridge", "up")
        ip("-n", self.names[host], "address", "add", self.address(host) + "/24", "dev", "eth0")
        ip("-n", self.names[host], "link", "set", "eth0", "up")
        return host

    def address(self, host):
        return f"10.99.0.{host + 1}"

    def inside(self, host):
        """What comes before a command that is to run there; clients are at home in the hub."""
        return ["ip", "netns", "exec", self.names[host or 0]]

    def cut(self, host):
        self.hub("link", "set", f"host{host}", "nomaster")

    def join(self, host):
        self.hub("link", "set", f"host{host}", "master", "bridge")

    def mute(self, host, to):
        """Frames to others carry an address that nobody has: they are lost in silence, and all answers still come."""
        for other in to:
            where = [self.address(other), "lladdr", "02:00:00:00:00:fe", "dev", "eth0", "nud", "permanent"]
            ip("-n", self.names[host], "neighbour", "replace", *where)

    def unmute(self, host, to):
        for other in to:
            ip("-n", self.names[host], "neighbour", "delete", self.address(other), "dev", "eth0")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def nodes_cut_off(cluster, cut, heal):
    """Two of four nodes cannot be reached, or not be heard, for 5 s, and the job goes on with the others."""
    rounds = rounds_for(10)
    leader = with_nodes(cluster)
    client = cluster.client([leader], rounds)
    into_a_round(client, 5)
    some = [node.host for node in cluster.nodes[:2]]
    at = time.monotonic()
    cut(leader.host, some)
    time.sleep(max(0.0, at + 5 - time.monotonic()))
    healed = time.monotonic()
    heal(leader.host, some)
    told = next_round(client, healed)
    again = [leader.wait(DISPATCH + re.escape(node.address), healed)[0] for node in cluster.nodes[:2]]
    over = client.process.poll() is not None
    same(result(client), rounds)
    if over:
        raise Trouble("the job was over before the nodes were back: it is too short to show anything")
    during = len(client.all("^" + ROUND, at, healed)) * usual_round() / (healed - at)
    return {
        "next round is told after it heals": told - healed,
        "training stood still": stood_still(client, at),
        "rounds meanwhile, of the usual": during,
        "both have tasks again after it heals": max(again) - healed,
    }


def nodes_cut_both_ways(cluster):
    """Two of four nodes are cut off from everybody for 5 s."""
    each = lambda act: lambda leader, some: [act(host) for host in some]
    return nodes_cut_off(cluster, each(cluster.network.cut), each(cluster.network.join))


def nodes_cut_one_way(cluster):
    """What the leader sends to two of four nodes is lost for 5 s; they are heard."""
    return nodes_cut_off(cluster, cluster.network.mute, cluster.network.unmute)


def nodes_muted_one_way(cluster):
    """What two of four nodes send to the leader is lost for 5 s; they hear it."""
    each = lambda act: lambda leader, some: [act(host, [leader]) for host in some]
    return nodes_cut_off(cluster, each(cluster.network.mute), each(cluster.network.unmute))


def leader_cut_off(cluster, cut, heal):
    """The leader is cut off from all but the store for 5 s, and another stands by."""
    rounds = rounds_for(10)
    leader = with_nodes(cluster)
    standby = cluster.coordinator("--standby")
    client = cluster.client([leader, standby], rounds)
    into_a_round(client, 5)
    everybody = [host for host in range(len(cluster.network.names)) if host != leader.host]
    at = time.monotonic()
    cut(leader.host, everybody)
    leads = standby.wait("leads in epoch", at, 30)[0] - at
    time.sleep(max(0.0, at + 5 - time.monotonic()))
    healed = time.monotonic()
    heal(leader.host, everybody)
    same(result(client), rounds)
    deposed = leader.wait("leads no more", at)[0]
    one_leads(cluster, standby, leader)
    told = min(when for when, _ in client.all("^" + ROUND, at + leads))
    return {
        "standby leads": leads,
        "next round is told": told - at,
        "training stood still": stood_still(client, at),
        "it steps down after the cut": deposed - at,
        "job ends after it heals": client.lines[-1][0] - healed,
    }


def leader_cut_both_ways(cluster):
    """The leader is cut off from nodes, standby and client for 5 s, but not from the store."""
    return leader_cut_off(cluster, lambda host, _: cluster.network.cut(host), lambda host, _: cluster.network.join(host))


def leader_cut_one_way(cluster):
    """All that the leader sends is lost for 5 s; it hears the others, and has the store."""
    return leader_cut_off(cluster, cluster.network.mute, cluster.network.unmute)


def join(cluster):
    """A node joins in the middle of a round. Its start is not part of the time."""
    rounds = rounds_for(3)
    coordinator = with_nodes(cluster, 2)
    client = cluster.client([coordinator], rounds)
    into_a_round(client, rounds // 3)
    at = time.monotonic()
    node = cluster.node("--join", coordinator.address)
    has_one = node.wait(ANSWERED, at)[0]
    done = node.wait(ANSWERED + r"\(0\)", at)[0]
    ready = coordinator.wait(rf"\] {re.escape(node.address)} is ready")[0]
    same(result(client), rounds)
    return {
        "first task after it listens": has_one - node.listens,
        "first task is done": done - node.listens,
        "it is ready for the coordinator": ready - node.listens,
        "start of the process": node.listens - at,
    }


COMMIT = r"\] log .* durable.* in ([\d.]+)(s|ms|µs|ns)\b"
UNIT = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def commit(cluster):
    """Commits of a job's rounds, as the coordinator itself says how long they took."""
    rounds = rounds_for(3)
    coordinator = with_nodes(cluster)
    same(result(cluster.client([coordinator], rounds)), rounds)
    times = [float(match[1]) * UNIT[match[2]] for _, match in coordinator.all(COMMIT)]
    if not times:
        raise Trouble("the coordinator says nothing of its commits")
    return {"a commit": times}


def put_get(cluster):
    """Files of random bytes are put with 4 copies and fetched, with a coordinator and 4 nodes."""
    coordinator = with_nodes(cluster)
    asked, values = ["--coordinator", coordinator.address], {}
    for size in [25, 500]:
        file, target = random_file(cluster, size), cluster.directory / "got"
        digest = hashlib.sha256(file.read_bytes()).digest()
        start = time.monotonic()
        cluster.ask("put", file, file.name, *asked)
        put = time.monotonic() - start
        poll("4 copies", lambda: len(cluster.ask("ls", file.name, *asked)[0]["holders"]) == 4)
        copied = time.monotonic() - start
        for _ in range(2):
            start = time.monotonic()
            cluster.ask("get", file.name, target, *asked)
            get = time.monotonic() - start
            if hashlib.sha256(target.read_bytes()).digest() != digest:
                raise Trouble("the file comes back with other bytes")
            target.unlink()
        file.unlink()
        for what, seconds in [("put", put), ("put, to 4 copies", copied), ("get", get)]:
            values[f"{what} of {size} MB"] = size / seconds
        values[f"seconds to put {size} MB"] = put
    return values


# Each scenario with the bars of its values; those without are told as they are. Seconds, unless said otherwise.
SCENARIOS = {
    "node-killed": (node_killed, {"added beyond the redone work": 1.0}),
    "leader-killed": (leader_killed, {"standby leads": 2.0, "first task": 2.0, "next round is told": 2.0}),
    "leader-restarted": (
        leader_restarted,
        {"first task after it listens": 1.0, "next round is told after it listens": 1.0, "redone, answered 50 ms before": 0},
    ),
    "three-of-six": (three_of_six, {"all are noticed by all": 2.0}),
    "copies-restored": (copies_restored, {"4 copies again": 5.0}),
    "leader-paused": (leader_paused, {}),
    "nodes-cut-both-ways": (nodes_cut_both_ways, {"next round is told after it heals": 1.0}),
    "nodes-cut-one-way": (nodes_cut_one_way, {"next round is told after it heals": 1.0}),
    "nodes-muted-one-way": (nodes_muted_one_way, {"next round is told after it heals": 1.0}),
    "leader-cut-both-ways": (leader_cut_both_ways, {}),
    "leader-cut-one-way": (leader_cut_one_way, {}),
    "join": (join, {"first task after it listens": 0.3}),
    "commit": (commit, {"a commit": 0.010}),
    "put-get": (put_get, {"put of 500 MB": 100.0, "get of 500 MB": 400.0, "seconds to put 25 MB": 2.2}),
}
COUNTS = ["lost attempts", "tasks in flight", "tasks redone", "redone, answered 50 ms before"]
RATES = re.compile("^(put|get)")
IN_A_NETWORK = re.compile("^(nodes|leader)-(cut|muted)")


def tell(scenario, values, bars):
    """A line for each value: the mean, the median, the 99th of a hundred (the worst if there are fewer), the worst."""
    print(f"{scenario:39} {'n':>5} {'mean':>9} {'p50':>9} {'p99':>9} {'worst':>9}  bar")
    for name, found in values.items():
        more_is_better = bool(RATES.match(name)) or "of the usual" in name
        ordered = sorted(found, reverse=more_is_better)
        p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
        numbers = [statistics.mean(found), statistics.median(found), p99, ordered[-1]]
        unit = "" if name in COUNTS or "of the usual" in name else "MB/s" if RATES.match(name) else "s"
        bar = bars.get(name)
        held = None if bar is None else p99 >= bar if more_is_better else p99 <= bar
        verdict = "" if bar is None else f"{'>=' if more_is_better else '<='} {bar} {unit} {'ok' if held else 'MISSED'}"
        print(f"  {name:37} {len(found):5}" + "".join(f" {number:9.4g}" for number in numbers) + f"  {verdict or unit}")
    sys.stdout.flush()


def measure(name, runs, logs, all_logs):
    """The values of all runs, and what went wrong in those that failed."""
    scenario, values, troubles = SCENARIOS[name][0], {}, []
    for number in range(runs):
        log = logs / f"{name}-{number}.log"
        try:
            with contextlib.ExitStack() as stack:
                network = stack.enter_context(Network()) if IN_A_NETWORK.match(name) else None
                found = scenario(stack.enter_context(Cluster(log, network, all_logs)))
        except Trouble as trouble:
            troubles.append(str(trouble))
            print(f"{name}, run {number}: {trouble} ({log})", flush=True)
            continue
        for what, value in found.items():
            values.setdefault(what, []).extend(value if isinstance(value, list) else [value])
    tell(name, values, SCENARIOS[name][1])
    print(f"  {runs - len(troubles)} of {runs} runs went as they must, with the same weights", flush=True)
    return {"values": values, "troubles": troubles, "bars": SCENARIOS[name][1]}


def surroundings():
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    digest = hashlib.sha256(pathlib.Path(BINARY).read_bytes()).hexdigest()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "roundtable": f"{version}, sha256 {digest[:16]}, source {commit}",
        "system": f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--logs", type=pathlib.Path, default=ROOT / "target/faults")
    parser.add_argument("--all-logs", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        return print("\n".join(f"{name:21} {row[0].__doc__.splitlines()[0]}" for name, row in SCENARIOS.items()))
    names = options.only.split(",")
    if unknown := set(names) - SCENARIOS.keys():
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    # What the program has started is stopped also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "ROUNDTABLE_BIN" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    report = {**surroundings(), "runs": options.runs, "scenarios": {}}
    print("\n".join(f"{what}: {value}" for what, value in report.items() if isinstance(value, str)), flush=True)
    for name in names:
        if IN_A_NETWORK.match(name) and (os.geteuid() != 0 or not shutil.which("ip")):
            print(f"{name}: left out; it needs root and ip")
            continue
        report["scenarios"][name] = measure(name, options.runs, options.logs, options.all_logs)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1))
    print(f"load average after: {os.getloadavg()[0]:.2f}")
    return any(scenario["troubles"] for scenario in report["scenarios"].values())


if __name__ == "__main__":
    sys.exit(main())
