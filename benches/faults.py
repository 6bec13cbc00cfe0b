"""Measures what reports/faults.md shows, with real processes and a release build: python3 benches/faults.py

    --runs N            runs of each scenario (20)
    --only NAME,NAME    only these scenarios; --list names them
    --json FILE         all numbers of all runs
    --logs DIR          what all processes of a run said is kept there if the run fails (target/faults)
    --all-logs          also if it does not

ROUNDTABLE_BIN names another binary; otherwise `cargo build --release` makes it. Standard library only. Servers listen on
loopback, or in network namespaces of this program (which needs root and `ip`; without them these scenarios are left out).
They end with this program, and so do the namespaces. Each run has a cluster of its own, in a directory that is removed.

Times are those at which this program reads a line that a process has written, by the monotonic clock. In each run the
weights' SHA-256 is compared with that of the same job undisturbed, and rounds must be told once each, in order.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys

from baseline import BINARY, ROOT
from faults import scenarios
from faults.network import Network
from faults.processes import Cluster, Trouble

# Each scenario with the bars of its values; those without are told as they are. Seconds, unless said otherwise.
SCENARIOS = {
    "node-killed": (scenarios.node_killed, {"added beyond the redone work": 1.0}),
    "leader-killed": (scenarios.leader_killed, {"standby leads": 2.0, "first task": 2.0, "next round is told": 2.0}),
    "leader-restarted": (
        scenarios.leader_restarted,
        {"first task after it listens": 1.0, "next round is told after it listens": 1.0, "redone, answered 50 ms before": 0},
    ),
    "three-of-six": (scenarios.three_of_six, {"all are noticed by all": 2.0}),
    "copies-restored": (scenarios.copies_restored, {"4 copies again": 5.0}),
    "leader-paused": (scenarios.leader_paused, {}),
    "nodes-cut-both-ways": (scenarios.nodes_cut_both_ways, {"next round is told after it heals": 1.0}),
    "nodes-cut-one-way": (scenarios.nodes_cut_one_way, {"next round is told after it heals": 1.0}),
    "nodes-muted-one-way": (scenarios.nodes_muted_one_way, {"next round is told after it heals": 1.0}),
    "leader-cut-both-ways": (scenarios.leader_cut_both_ways, {}),
    "leader-cut-one-way": (scenarios.leader_cut_one_way, {}),
    "join": (scenarios.join, {"first task after it listens": 0.3}),
    "commit": (scenarios.commit, {"a commit": 0.010}),
    "commit-beside-one-node": (scenarios.commit_beside_one_node, {"a commit": 0.010}),
    "put-get": (scenarios.put_get, {"put of 500 MB": 100.0, "get of 500 MB": 400.0, "seconds to put 25 MB": 2.2}),
}
COUNTS = ["lost attempts", "nodes without a task to the end", "tasks in flight", "tasks redone", "redone, answered 50 ms before"]
RATES = re.compile("^(put|get)")
IN_A_NETWORK = re.compile("^(nodes|leader)-(cut|muted)")


def tell(scenario, values, bars):
    """A line for each value: the mean, the median, the 99th of a hundred (the worst if there are fewer), the worst."""
    print(f"{scenario:39} {'n':>5} {'mean':>9} {'p50':>9} {'p99':>9} {'worst':>9}  bar")
    for name, found in values.items():
        more_is_better = bool(RATES.match(name)) or "of the usual" in name
        ordered = sorted(found, reverse=more_is_better)
        p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
        numbers = [statistics.mean(found), statistics.median(found), p99, ordered[-1]]
        unit = "" if name in COUNTS or "of the usual" in name else "MB/s" if RATES.match(name) else "s"
        bar = bars.get(name)
        held = None if bar is None else p99 >= bar if more_is_better else p99 <= bar
        verdict = "" if bar is None else f"{'>=' if more_is_better else '<='} {bar} {unit} {'ok' if held else 'MISSED'}"
        print(f"  {name:37} {len(found):5}" + "".join(f" {number:9.4g}" for number in numbers) + f"  {verdict or unit}")
    sys.stdout.flush()


def measure(name, runs, logs, all_logs):
    """The values of all runs, and what went wrong in those that failed."""
    scenario, values, troubles = SCENARIOS[name][0], {}, []
    for number in range(runs):
        log = logs / f"{name}-{number}.log"
        try:
            with contextlib.ExitStack() as stack:
                network = stack.enter_context(Network()) if IN_A_NETWORK.match(name) else None
                found = scenario(stack.enter_context(Cluster(log, network, all_logs)))
        except Trouble as trouble:
            troubles.append(str(trouble))
            print(f"{name}, run {number}: {trouble} ({log})", flush=True)
            continue
        for what, value in found.items():
            values.setdefault(what, []).extend(value if isinstance(value, list) else [value])
    tell(name, values, SCENARIOS[name][1])
    print(f"  {runs - len(troubles)} of {runs} runs went as they must, with the same weights", flush=True)
    return {"values": values, "troubles": troubles, "bars": SCENARIOS[name][1]}


def surroundings():
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    digest = hashlib.sha256(pathlib.Path(BINARY).read_bytes()).hexdigest()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "roundtable": f"{version}, sha256 {digest[:16]} ({BINARY})",
        "benches": f"at commit {commit}",
        "system": f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def interrupted(number, _):
    """Ends the program, and what it has started; a second signal must not break off that."""
    for each in [signal.SIGTERM, signal.SIGINT]:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--logs", type=pathlib.Path, default=ROOT / "target/faults")
    parser.add_argument("--all-logs", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        return print("\n".join(f"{name:21} {row[0].__doc__.splitlines()[0]}" for name, row in SCENARIOS.items()))
    names = options.only.split(",")
    if unknown := set(names) - SCENARIOS.keys():
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    for number in [signal.SIGTERM, signal.SIGINT]:
        signal.signal(number, interrupted)
    if "ROUNDTABLE_BIN" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    report = {**surroundings(), "runs": options.runs, "scenarios": {}}
    print("\n".join(f"{what}: {value}" for what, value in report.items() if isinstance(value, str)), flush=True)
    for name in names:
        if IN_A_NETWORK.match(name) and (os.geteuid() != 0 or not shutil.which("ip")):
            print(f"{name}: left out; it needs root and ip")
            continue
        report["scenarios"][name] = measure(name, options.runs, options.logs, options.all_logs)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1))
    print(f"load average after: {os.getloadavg()[0]:.2f}")
    return any(scenario["troubles"] for scenario in report["scenarios"].values())


if __name__ == "__main__":
    sys.exit(main())
