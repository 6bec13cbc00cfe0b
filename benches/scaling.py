"""Measures how learning scales, with a release build: python3 benches/scaling.py

Two jobs on letters/, a short one and a longer, each taken in turn, several times: in one process without any cluster
(examples/replay.rs), by one node, by two nodes. Then Fashion-MNIST's memory, if target/fashion-mnist is there. Standard library only.
"""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile

from baseline import ROOT, client, cluster, resident

JOBS = [
    "12 4 256 0.01 --optimizer adam --batch-size 64 --schedule one-cycle --standardize --replicas-per-round 2".split(),
    ["--recipe", "letters-best"],
]
RUNS = 7
FASHION = ROOT / "target/fashion-mnist"


def in_one_process(report, directory):
    """Seconds of the same job in this process alone, and whether its weights are the same."""
    run = pathlib.Path(directory) / "run.json"
    run.write_text(json.dumps(report))
    replay = ROOT / "target/release/examples/replay"
    return json.loads(subprocess.run([replay, run], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def letters(job):
    walls = {"in one process": [], "1 node": [], "2 nodes": []}
    digests = set()
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(RUNS):
            for count in [1, 2]:
                with cluster("load-balancing", ["0"] * count) as (_, (_, address, _)):
                    client(address, "1", "1", "8", "0.0001")  # The data are there before the clock starts.
                    report = client(address, *job)
                walls[f"{count} node{'s'[:count > 1]}"].append(report["wall_s"])
                digests.add(report["weights_sha256"])
            again = in_one_process(report, directory)
            assert again["same_weights"]
            walls["in one process"].append(again["wall_s"])
    print(f"letters {' '.join(job)}; {len(digests)} digest of {2 * RUNS} runs")
    for name, seconds in walls.items():
        print(f"  {name:15} {min(seconds):.3f} s at best, {statistics.median(seconds):.3f} s in the median of {RUNS} runs")
    for name, other, bar in [("2 nodes", "1 node", 1.85), ("1 node", "in one process", 0.95)]:
        best = min(walls[other]) / min(walls[name])
        median = statistics.median(walls[other]) / statistics.median(walls[name])
        print(f"  speed of {name} / {other}: {best:.2f} at best, {median:.2f} in the median (bar {bar})")


def memory():
    if not FASHION.is_dir():
        return print("target/fashion-mnist is not there: benches/peers/fashion.py fetches it")
    job = "2 1 256 0.003 --optimizer adam --batch-size 64 --standardize --replicas-per-round 2".split()
    size, all_rows = 60_000 * 785 / 2**20, 70_000 * 785 / 2**20
    with cluster("load-balancing", ["0"] * 2) as (nodes, (coordinator, address, _)):
        report = client(address, *job, data=str(FASHION))
        of_nodes = [(resident(node), resident(node, "VmRSS:")) for node in nodes]
        peak = resident(coordinator)
    print(f"Fashion-MNIST, {size:.1f} MiB of training data, {report['wall_s']:.2f} s for 2 rounds; MiB:")
    for high, now in of_nodes:
        print(f"  node: {high:.1f} at its peak ({high / size:.2f} x), {now:.1f} after the job ({now / size:.2f} x)")
    print(f"  coordinator, with the validation rows: {peak:.1f} at its peak ({peak / all_rows:.2f} x)")


if __name__ == "__main__":
    print(f"load average before: {os.getloadavg()[0]:.2f}")
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bins", "--example", "replay"], cwd=ROOT, check=True)
    for job in JOBS:
        letters(job)
    memory()
