"""A compute node as the original had it: it knows `train_with_weights` and nothing else.

    python -m original.node PORT LOAD_PROBABILITY --library thriftpy2

It reads training files itself, relative to where it was started, and serves one connection at a time. It prints a line
for each call, which is what the tests count.
"""

import argparse
import random
import time

import numpy as np

from original import network, wire

#: The number of the policy under which a loaded node refuses.
LOAD_BALANCING = 2


class Node:
    def __init__(self, types, load_probability, load_delay, rng):
        self.types = types
        self.load_probability = load_probability
        self.load_delay = load_delay
        self.rng = rng

    def train_with_weights(
        self, training_file, initial_weights, load_probability, k, h, eta, epochs, scheduling_policy
    ):
        # The caller's load_probability is ignored: the node's own counts.
        if scheduling_policy == LOAD_BALANCING and self.rng.random() < self.load_probability:
            print(f"refused {training_file}", flush=True)
            return self.types.TrainResult(
                accepted=False, training_error=-1.0, weights=self.types.Weights(V=[], W=[])
            )
        if self.rng.random() < self.load_probability:
            time.sleep(self.load_delay)
        features, labels = network.read_rows(training_file)
        V0, W0 = np.array(initial_weights.V), np.array(initial_weights.W)
        if V0.shape != (h + 1, k) or W0.shape != (features.shape[1] + 1, h):
            raise ValueError(f"V is {V0.shape} and W is {W0.shape} for h = {h}, k = {k}")
        V, W = network.train(features, labels, V0, W0, eta, epochs)
        error = network.error_rate(features, labels, V, W)
        print(f"trained {training_file} error={error:.4f}", flush=True)
        change = self.types.Weights(V=(V - V0).tolist(), W=(W - W0).tolist())
        return self.types.TrainResult(accepted=True, training_error=error, weights=change)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", type=int)
    arguments.add_argument("load_probability", type=float)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--library", choices=wire.NAMES, default="thriftpy2")
    arguments.add_argument("--load-delay", type=float, default=3.0, help="seconds")
    arguments.add_argument("--seed", type=int)
    a = arguments.parse_args()
    library = wire.library(a.library)
    types, service = library.load(wire.ORIGINAL_IDL, "compute_node")
    node = Node(types, a.load_probability, a.load_delay, random.Random(a.seed))
    library.serve(service, node, a.host, a.port)


if __name__ == "__main__":
    main()
