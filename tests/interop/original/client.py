"""A client as the original had it.

    python -m original.client HOST PORT DIR ROUNDS EPOCHS H ETA --library thriftpy2
"""

import argparse

from original import wire

#: The letters of the alphabet; the original's client knew no other data.
CLASSES = 26


def train(library, host, port, dir, rounds, epochs, h, eta, timeout=60.0):
    service = library.load(wire.ORIGINAL_IDL, "coordinator")[1]
    with library.client(service, host, port, timeout) as coordinator:
        return coordinator.train(dir, rounds, epochs, h, CLASSES, eta)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("host")
    arguments.add_argument("port", type=int)
    arguments.add_argument("dir")
    arguments.add_argument("rounds", type=int)
    arguments.add_argument("epochs", type=int)
    arguments.add_argument("h", type=int)
    arguments.add_argument("eta", type=float)
    arguments.add_argument("--library", choices=wire.NAMES, default="thriftpy2")
    a = arguments.parse_args()
    print(f"validation error: {train(wire.library(a.library), a.host, a.port, a.dir, a.rounds, a.epochs, a.h, a.eta)}")


if __name__ == "__main__":
    main()
