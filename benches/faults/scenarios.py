"""Owns what is measured: a function for each scenario, which is given a cluster and answers with values by name."""

import hashlib
import math
import os
import random
import re
import signal
import statistics
import time

from .jobs import into_a_round, next_round, one_leads, rounds_for, run_in, same, stood_still
from .jobs import usual_round, with_nodes
from .processes import PATIENCE, ROUND, Cluster, Trouble, result

# What the coordinator says when it gives a task, and the node when it has answered one.
DISPATCH = r"job \d+ (round \d+ \S+ \d+): "
ANSWERED = r"(round \d+ \S+ \d+) for \S+: TaskOutcome"


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
    same(result(client), rounds)
    end = client.lines[-1][0]
    if end < healed + 2:
        raise Trouble("the job was over before the nodes were back: it is too short to show anything")
    # One that gets no task until the job ends counts as if it had then.
    again = [[when for when, _ in leader.all(DISPATCH + re.escape(node.address), healed)] for node in cluster.nodes[:2]]
    idle = sum(not times for times in again)
    during = len(client.all("^" + ROUND, at, healed)) * usual_round() / (healed - at)
    return {
        "next round is told after it heals": told - healed,
        "training stood still": stood_still(client, at),
        "rounds meanwhile, of the usual": during,
        "both have tasks again after it heals": max(min(times, default=end) for times in again) - healed,
        "nodes without a task to the end": idle,
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
    task = standby.wait(DISPATCH, at, 30)[0] - at
    time.sleep(max(0.0, at + 5 - time.monotonic()))
    healed = time.monotonic()
    heal(leader.host, everybody)
    same(result(client), rounds)
    deposed = leader.wait("leads no more", at)[0]
    one_leads(cluster, standby, leader)
    told = min(when for when, _ in client.all("^" + ROUND, at + leads))
    return {
        "standby leads": leads,
        "first task": task,
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


# What the coordinator says of each entry of its log: the time runs from the wish to write its first record.
COMMIT = r"records of the log are durable, the first that is urgent in ([\d.]+)(s|ms|µs|ns)$"
UNIT = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def commit(cluster, nodes=4):
    """Commits of a job's rounds, as the coordinator itself says how long they took. Four nodes keep two cores busy."""
    rounds = rounds_for(3)
    coordinator = with_nodes(cluster, nodes)
    same(result(cluster.client([coordinator], rounds)), rounds)
    times = [float(match[1]) * UNIT[match[2]] for _, match in coordinator.all(COMMIT)]
    if not times:
        raise Trouble("the coordinator says nothing of its commits")
    return {"a commit": times}


def commit_beside_one_node(cluster):
    """The same with one node, which leaves a core to the coordinator."""
    return commit(cluster, 1)


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
        version = coordinator.wait(rf"\] {file.name} version 1", start)[0] - start
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
        values[f"seconds until {size} MB are durable"] = version
    return values
