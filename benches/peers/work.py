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
#: The hidden units of the step's two sizes, and those of the plot.
STEP_SIZES = [24, 256]
PLOT_SIZES = [16, 24, 32, 64, 128, 256, 512]
SHARDS = 11
#: Learning: until so much of the validation rows is wrong, as well as one can, and for 10 epochs.
TARGET = 0.05
REACH, BEST, FASHION = "letters to 5% error", "letters, best error", "fashion-mnist 784-256-10, 10 epochs"
SEEDS, BEST_SEEDS = [1, 2, 3], [1, 2, 3, 4, 5]


def read(path):
    table = np.loadtxt(path, delimiter=",", dtype=np.int64)
    return table[:, :-1].astype(np.float64), table[:, -1]


def shard(number):
    """From 1."""
    return read(LETTERS / f"train_letters{number}.txt")


def validation():
    return read(LETTERS / "validate_letters.txt")


def training():
    """All shards as one."""
    shards = [shard(number) for number in range(1, SHARDS + 1)]
    return tuple(np.concatenate(parts) for parts in zip(*shards))


def standardised(first, *others):
    """Each (features, labels) with the features less their mean in `first`, by their deviation in `first`; f32."""
    mean, deviation = first[0].mean(0), first[0].std(0)
    scale = np.where(deviation > 0, deviation, 1)
    return [(((features - mean) / scale).astype(np.float32), labels) for features, labels in (first, *others)]


def random_rows(rows, inputs, classes):
    rng = np.random.default_rng(1)
    return rng.standard_normal((rows, inputs), np.float32), rng.integers(0, classes, rows)


def samples_per_second(reset, step, rows, seconds=4.0, steps=EPOCHS):
    """The best and the median over runs of `steps` steps, each from the first weights, as a task does them.

    The best is what the machine can do undisturbed. A longer run would drift to weights that no task sees.
    """
    for _ in range(3):  # warm up: first calls allocate, and may compile
        step()
    rates = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        reset()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        rates.append(steps * rows / (time.perf_counter() - started))
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


def each_in_its_own_process(script, cases, heaps=tuple(HEAPS)):
    """Runs `script` with the words of each case, under each of `heaps`; goes on after one that fails."""
    for case in cases:
        for heap in heaps:
            environment = {**os.environ, **HEAPS[heap], "PEER_HEAP": heap, "PEER_BEGAN": repr(time.time())}
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


class Curve:
    """Validation error against seconds since the making, in `points`."""

    def __init__(self):
        self.started, self.points = time.perf_counter(), []

    def add(self, error, seconds=None):
        """After an epoch, now or at `seconds`; answers whether the target is reached."""
        now = time.perf_counter() - self.started
        self.points.append((now if seconds is None else seconds, error))
        return error <= TARGET

    def tell(self, system, whole_s=None, **figures):
        """The seconds to the target, and `whole_s`: with the start of the process, by default the one that
        `each_in_its_own_process` started. If the target was not reached, nothing, and the least error."""
        if whole_s is None and "PEER_BEGAN" in os.environ:
            whole_s = time.time() - float(os.environ["PEER_BEGAN"])
        seconds, error = self.points[-1]
        if error > TARGET:
            seconds, whole_s, error = None, None, min(error for _, error in self.points)
        tell(system, REACH, reach_s=seconds, reach_with_start_up_s=whole_s, error=error, **figures, points=self.points)
