"""Measures what reports/tuning.md shows of tuning: roundtable with two nodes beside scikit-learn, joblib and Ray Tune.

    cargo build --release && python3 benches/tuning.py [--only forests,nothing,memory,networks] [--turns N] [--json FILE]

Everything runs on this machine, two tasks at a time, in turn; what counts is the best of each one's runs. Ours counts from the
client's start, with reading the data and sending them to nodes that have none; the others count from when data are read, libraries
imported and processes started. `Ray starts` is what Ray takes for the latter.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import tuning_venv

tuning_venv.enter()

import argparse
import json
import os
import subprocess
import time

import tuning_peers as peers
from baseline import BINARY, ROOT
from faults.processes import Cluster, Process


class Fleet:
    """Two nodes and a coordinator, which have seen nothing yet."""

    def __enter__(self):
        self.cluster = Cluster()
        try:
            for _ in range(peers.SLOTS):
                self.cluster.node("--load-delay", "0ms")
            self.leader = self.cluster.coordinator("--no-gossip")
            self.cluster.ready(self.leader)
        except BaseException:
            self.cluster.close()
            raise
        return self

    def __exit__(self, *reason):
        self.cluster.__exit__(*reason)

    def tune(self, *words):
        command = [BINARY, "tune", self.leader.address, ROOT / "letters", *words, "--json"]
        start = time.perf_counter()
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=900)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(done.stderr)
        report = json.loads(done.stdout)
        best = report["best_trial"]
        return {"seconds": seconds, "trials": len(report["trials"]), "best": best["metric"], "configuration": str(best["configuration"]),
                "work_s": sum(trial["seconds"] for trial in report["trials"])}


def grid(name, values):
    return ["--grid", f"{name}=" + ",".join("none" if value is None else str(value) for value in values)]


def our_forests():
    words = [word for name, values in peers.FORESTS.items() for word in grid(name, values)]
    with Fleet() as fleet:
        return fleet.tune("--model", "forest", *words, "--folds", peers.FOLDS, "--metric", "accuracy")


def our_nothing():
    with Fleet() as fleet:
        words = ["--model", "nothing", "--uniform", "x=0..1", "--trials", 100]
        first = fleet.tune(*words)
        return min((first, fleet.tune(*words)), key=lambda told: told["seconds"])


def our_networks():
    words = [*grid("h", peers.WIDTHS), *grid("eta", peers.RATES)]
    with Fleet() as fleet:
        return fleet.tune(*words, "--set", f"epochs={peers.EPOCHS}", "--set", f"batch_size={peers.BATCH}", "--set", "optimizer=adam",
                          "--metric", "accuracy")


def theirs(name):
    command = [sys.executable, str(ROOT / "benches/peers/tuning_peers.py"), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return json.loads(lines[-1])


def rss_mib(process):
    status = pathlib.Path(f"/proc/{process.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def memory(model, trials=1000):
    """Resident memory of each process when trial 50 has ended and when all have."""
    words = {"nothing": ["--model", "nothing", "--uniform", "x=0..1"],
             "mlp": ["--set", "epochs=1", "--set", "h=8", "--log-uniform", "eta=1e-4..1e-2"],
             "forest": ["--model", "forest", "--set", "n_estimators=2", "--integer", "max_depth=4..12"]}[model]
    with Fleet() as fleet:
        servers = {"coordinator": fleet.leader, **{f"node {n + 1}": node for n, node in enumerate(fleet.cluster.nodes)}}
        client = Process([BINARY, "tune", fleet.leader.address, ROOT / "letters", *words, "--trials", trials])
        seen = {}
        while True:
            ended = len(client.all(r"^trial \d+/"))
            for mark in (50, trials):
                if ended >= mark and mark not in seen:
                    seen[mark] = {name: rss_mib(server) for name, server in servers.items()}
            if trials in seen:
                break
            time.sleep(0.002)
        client.process.wait(60)
    return {name: {"after_50": seen[50][name], "at_the_end": seen[trials][name], "ratio": seen[trials][name] / seen[50][name]} for name in servers}


RACES = {
    "forests": {"roundtable": our_forests, "GridSearchCV": None, "Ray Tune forests": None},
    "nothing": {"roundtable": our_nothing, "Ray Tune nothing": None},
    "networks": {"roundtable": our_networks, "joblib + torch": None, "Ray Tune + torch, actors used again": None, "Ray Tune + torch": None},
}


def race(name, turns):
    runs = {who: [] for who in RACES[name]}
    for turn in range(turns):
        for who, run in RACES[name].items():
            # The slowest needs no more than one.
            if turn == 0 or who != "Ray Tune + torch":
                runs[who].append(run() if run else theirs(who))
                print(f"{name}: {who}: {runs[who][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    return {who: {**min(some, key=lambda told: told["seconds"]), "all_seconds": [told["seconds"] for told in some]}
            for who, some in runs.items()}


def table(results):
    for name, result in results.items():
        print(f"\n{name}")
        if name.startswith("memory"):
            for who, told in result.items():
                print(f"  {who:38} {told['after_50']:8.1f} MiB after 50 trials, {told['at_the_end']:8.1f} MiB after 1,000: x {told['ratio']:.3f}")
            continue
        for who, told in result.items():
            ratio = told["seconds"] / result["roundtable"]["seconds"]
            starts = f", Ray starts in {told['start_s']:.1f} s" if "start_s" in told else ""
            print(f"  {who:38} {told['seconds']:8.3f} s  x {ratio:6.2f}  best {told['best']:.4f}  {told.get('configuration', '')}{starts}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="forests,nothing,memory,networks")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    wanted = options.only.split(",")
    results = {name: race(name, options.turns) for name in RACES if name in wanted}
    if "memory" in wanted:
        results.update({f"memory, {model}": memory(model) for model in ("nothing", "mlp", "forest")})
    print(f"load average: {os.getloadavg()}, cores: {os.cpu_count()}")
    table(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
