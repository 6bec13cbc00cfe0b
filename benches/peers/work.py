"""The work that every peer does, and how it is timed.

The data is letters/: 11 shards of 1,500 rows with 16 features, 3,500 rows to validate, 26 classes. A step is full-batch
gradient descent on one shard. The job is the original's example: 3 rounds of 75 steps on every shard, h 24, eta 1e-4,
the shards' changes averaged after each round.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

LETTERS = pathlib.Path(__file__).resolve().parents[2] / "letters"
FEATURES, CLASSES = 16, 26
ROUNDS, EPOCHS, HIDDEN, ETA = 3, 75, 24, 1e-4
#: The hidden units of the step's two sizes.
STEP_SIZES = [24, 256]
SHARDS = 11


def read(path):
    table = np.loadtxt(path, delimiter=",", dtype=np.int64)
    return table[:, :-1].astype(np.float64), table[:, -1]


def shard(number):
    """From 1."""
    return read(LETTERS / f"train_letters{number}.txt")


def validation():
    return read(LETTERS / "validate_letters.txt")


def samples_per_second(reset, step, rows, seconds=4.0):
    """The best and the median over runs of `EPOCHS` steps, each from the first weights, as a task does them.

    The best is what the machine can do undisturbed. A longer run would drift to weights that no task sees.
    """
    for _ in range(3):  # warm up: first calls allocate, and may compile
        step()
    rates = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        reset()
        started = time.perf_counter()
        for _ in range(EPOCHS):
            step()
        rates.append(EPOCHS * rows / (time.perf_counter() - started))
    return max(rates), statistics.median(rates)


#: glibc maps and unmaps temporaries of this size at every step, until the process happens to have a large heap, and
#: the page faults can cost more than the arithmetic. So a case is timed in a process of its own, once as installed and
#: once with memory kept; the second is the fair one to compare with.
HEAPS = {
    "default": {},
    "kept": {
        "MALLOC_MMAP_THRESHOLD_": "1000000000",
        "MALLOC_TRIM_THRESHOLD_": "4000000000",
        "MALLOC_TOP_PAD_": "67108864",
    },
}


def each_in_its_own_process(script, cases):
    """Runs `script` with the words of each case, under each of HEAPS; goes on after one that fails."""
    for case in cases:
        for heap, settings in HEAPS.items():
            environment = {**os.environ, **settings, "PEER_HEAP": heap}
            command = [sys.executable, script, *map(str, case)]
            try:
                code = subprocess.run(command, env=environment, timeout=300).returncode
            except subprocess.TimeoutExpired:
                code = "none: it took more than 300 s"
            if code != 0:
                print(f"{' '.join(command[1:])}, heap {heap}: exit code {code}", file=sys.stderr)


def tell(system, work, **figures):
    """One line of JSON, which table.py reads."""
    heap = os.environ.get("PEER_HEAP", "default")
    print(json.dumps({"system": system, "work": work, "heap": heap, **figures}), flush=True)
