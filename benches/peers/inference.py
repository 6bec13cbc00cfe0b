"""Images a second on one thread: roundtable against onnxruntime, and rten and tract if they are built.

    cargo build --release --example graph_speed
    cargo build --release --manifest-path benches/peers/runtimes/Cargo.toml
    python3 benches/peers/inference.py model.onnx [batch ...]

Needs the packages `numpy` and `onnxruntime`. All runtimes get the same core and take turns; what counts is the best run
of each. Other work on the machine makes the numbers smaller; the ratios are to be trusted more than the numbers.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = ROOT / "target/release/examples/graph_speed"
OTHERS = ROOT / "benches/peers/runtimes/target/release/runtimes"
TURNS, SECONDS = 5, 2


class Onnxruntime:
    def __init__(self, model, batch):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options)
        given = self.session.get_inputs()[0]
        # A file may fix the batch.
        sizes = [batch if i == 0 and not isinstance(size, int) else size for i, size in enumerate(given.shape)]
        self.images = {given.name: np.random.default_rng(1).random(sizes, "f")}
        self.sizes = sizes

    def speed(self):
        start, best = time.perf_counter(), float("inf")
        while time.perf_counter() - start < SECONDS:
            one = time.perf_counter()
            self.session.run(None, self.images)
            best = min(best, time.perf_counter() - one)
        return self.sizes[0] / best


def program(*arguments):
    """What a program says of its speed; nothing if it cannot run the model."""
    said = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    found = re.match(r"([\d.]+) images/s", said.stdout)
    return float(found[1]) if found else None


def main():
    model, batches = sys.argv[1], [int(batch) for batch in sys.argv[2:]] or [1, 8]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for batch in batches:
        theirs = Onnxruntime(model, batch)
        runtimes = {"roundtable": lambda: program(OURS, model, batch, SECONDS), "onnxruntime": theirs.speed}
        if OTHERS.exists() and theirs.sizes[0] == batch:
            for name in ("rten", "tract"):
                runtimes[name] = lambda name=name: program(OTHERS, name, model, *theirs.sizes[1:], batch, SECONDS)
        best = dict.fromkeys(runtimes, 0.0)
        for _ in range(TURNS):
            for name, speed in runtimes.items():
                best[name] = max(best[name], speed() or 0.0)
        for name, speed in best.items():
            ratio = best["roundtable"] / speed if speed else float("nan")
            print(f"batch {batch}: {name:12} {speed:8.1f} images/s; roundtable is {ratio:.2f} times as fast")


main()
