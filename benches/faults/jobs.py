"""Owns jobs of a certain length, what they are undisturbed, and what must be true of them after a fault."""

import math
import random
import statistics
import time

from .processes import ROUND, Cluster, Trouble, result

NODES = 4


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


def same(run, rounds):
    """Fails unless the weights are those of the undisturbed job."""
    expected, digest = undisturbed(rounds)["weights_sha256"], run["weights_sha256"]
    if digest != expected:
        raise Trouble(f"weights {digest[:16]}, but {expected[:16]} undisturbed")
