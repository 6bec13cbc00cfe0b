"""A coordinator as the original had it: a thread for each node, a shard at a time, the changes averaged.

    python -m original.coordinator PORT POLICY --nodes compute_nodes.txt --library thriftpy2

The tests also call `run_job` directly.
"""

import argparse
import dataclasses
import pathlib
import queue
import random
import threading
import time

import numpy as np

from original import network, wire

RANDOM, LOAD_BALANCING = 1, 2


@dataclasses.dataclass
class Outcome:
    validation_error: float
    #: Accepted and refused calls of each node, in the order of the nodes.
    accepted: list
    refused: list


class JobFailed(Exception):
    """No node could do a shard."""


def run_job(library, nodes, data, dir, rounds, epochs, h, k, eta, policy, seed=1, patience=60.0):
    """Trains on `dir` under `data`; the nodes are told `dir/train_...` and find it for themselves."""
    types, service = library.load(wire.ORIGINAL_IDL, "compute_node")
    folder = pathlib.Path(data) / dir
    shards = [f"{dir}/{path.name}" for path in sorted(folder.glob("train_*.txt"))]
    features, labels = network.read_rows(next(folder.glob("validate_*.txt")))
    V, W = network.initial_weights(features.shape[1], h, k, np.random.default_rng(seed))
    outcome = Outcome(1.0, [0] * len(nodes), [0] * len(nodes))
    for round in range(rounds):
        changes = one_round(
            library, types, service, nodes, shards, V, W, epochs, h, k, eta, policy, outcome, patience
        )
        V = V + np.mean([np.array(change.V) for change in changes], axis=0)
        W = W + np.mean([np.array(change.W) for change in changes], axis=0)
        outcome.validation_error = network.error_rate(features, labels, V, W)
        print(f"round {round + 1}: validation error {outcome.validation_error:.4f}", flush=True)
    return outcome


def one_round(library, types, service, nodes, shards, V, W, epochs, h, k, eta, policy, outcome, patience):
    """The changes of all shards, in their order."""
    start = types.Weights(V=V.tolist(), W=W.tolist())
    changes = [None] * len(shards)
    waiting = queue.Queue()
    order = list(range(len(shards)))
    if policy == RANDOM:
        random.shuffle(order)
    for shard in order:
        waiting.put(shard)
    missing = len(shards)
    lock = threading.Lock()
    give_up_at = time.monotonic() + patience

    def work(number):
        nonlocal missing
        host, port = nodes[number]
        try:
            while missing and time.monotonic() < give_up_at:
                try:
                    shard = waiting.get(timeout=0.02)
                except queue.Empty:
                    continue
                result = None
                try:
                    # A connection for each call, as the original made it.
                    with library.client(service, host, port) as node:
                        result = node.train_with_weights(shards[shard], start, 0.0, k, h, eta, epochs, policy)
                finally:
                    if result is None or not result.accepted:
                        waiting.put(shard)  # another node will take it
                if not result.accepted:
                    outcome.refused[number] += 1
                    time.sleep(0.05)
                    continue
                changes[shard] = result.weights
                outcome.accepted[number] += 1
                with lock:
                    missing -= 1
        except OSError as error:
            print(f"{host}:{port} is gone: {error}", flush=True)
        except Exception as error:  # the libraries' own errors share no class
            print(f"{host}:{port} failed: {error!r}", flush=True)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(nodes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience + 5)
    if missing:
        raise JobFailed(f"{missing} of {len(shards)} shards were not done")
    return changes


class Coordinator:
    def __init__(self, library, nodes, policy):
        self.library = library
        self.nodes = nodes
        self.policy = policy

    def train(self, dir, rounds, epochs, h, k, eta):
        try:
            return run_job(
                self.library, self.nodes, ".", dir, rounds, epochs, h, k, eta, self.policy
            ).validation_error
        except JobFailed as error:
            print(error, flush=True)
            return -1.0


def read_nodes(path):
    """`host,port` on each line."""
    lines = [line.split("#")[0].strip() for line in pathlib.Path(path).read_text().splitlines()]
    return [(host.strip(), int(port)) for host, port in (line.split(",") for line in lines if line)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", type=int)
    arguments.add_argument("policy", type=int)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--nodes", default="compute_nodes.txt")
    arguments.add_argument("--library", choices=wire.NAMES, default="thriftpy2")
    a = arguments.parse_args()
    library = wire.library(a.library)
    service = library.load(wire.ORIGINAL_IDL, "coordinator")[1]
    library.serve(service, Coordinator(library, read_nodes(a.nodes), a.policy), a.host, a.port)


if __name__ == "__main__":
    main()
