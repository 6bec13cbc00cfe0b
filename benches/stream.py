"""Measures asynchronous training, with a release build: python3 benches/stream.py [--runs N] [--quick]

One command makes all of it: the scalability table (mini-batches an update k, workers w) with its plot, time to an error, and
one slow worker of four. Up to 2 workers are real processes on this machine. More are simulated: an event for each task, with
the times that the real runs of the same k took for work, for what the coordinator does and for the way there and back; it is
as if each worker and the coordinator had a core of its own. Each run is taken in turn with the others, several times; medians
are told. Standard library only.
"""

import argparse
import concurrent.futures
import contextlib
import heapq
import json
import os
import pathlib
import random
import resource
import statistics
import subprocess
import tempfile
import time

from baseline import ROOT, client, server

PLOT = ROOT / "reports/async.svg"
PROGRAM = os.environ.get("ROUNDTABLE_BIN", str(ROOT / "target/release/roundtable"))
SIZES = [1, 4, 16, 64]
REAL = [1, 2]
SIMULATED = [3, 5, 8]
# 16,500 rows of letters/, 64 a mini-batch.
ROWS, BATCH = 16_500, 64
NET = "256,256"
PASSES = 30
JOB = f"{PASSES} 1 {NET} 0.1 --batch-size {BATCH} --standardize --async".split()
# To 5% error: what --async reaches it with, for one worker and for two alike.
TARGET = "40 1 256,256 0.1 --batch-size 64 --standardize --async --target-error 0.05".split()
GROUPS = [16, 64]


def local(*job):
    """A run in one process."""
    words = [PROGRAM, "local", "letters", *job, "--json"]
    before = children_s()
    report = json.loads(subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    report["cpu_s"] = children_s() - before
    return report


def children_s():
    """Seconds of cores that processes took which have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def cluster(policy, slowdowns):
    """A coordinator with a node for each slowdown."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        start = lambda times: stack.enter_context(server("compute-node", "0", "0", "--slowdown", times, "--nice", "0", "--no-gossip"))
        nodes = [start(times) for times in slowdowns]
        listing = pathlib.Path(directory) / "compute_nodes.txt"
        listing.write_text("".join(address.replace(":", ",") + "\n" for _, address, _ in nodes))
        of_store = ["--nodes", str(listing), "--store", directory + "/store", "--no-gossip"]
        coordinator = stack.enter_context(server("coordinator", "0", policy, *of_store))
        yield [process for process, _, _ in nodes], coordinator


def cpu_s(process):
    """Seconds of a process' own time so far."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def job_s(report):
    """Seconds from the job's coming to its last measured version, as the coordinator counts them."""
    return sum(line["wall_s"] for line in report["rounds"])


def real(workers, job, slow=(), policy="load-balancing"):
    """A run on so many workers: its report, the coordinator's seconds and those of each worker at its tasks."""
    with cluster(policy, slow or ["1"] * workers) as (nodes, (coordinator, address, _)):
        client(address, "1", "1", "8", "0.0001")  # The data are there before the clock starts.
        before, at = cpu_s(coordinator), [cpu_s(node) for node in nodes]
        report = client(address, *job)
        report["coordinator_s"] = cpu_s(coordinator) - before
        report["nodes_s"] = sum(cpu_s(node) for node in nodes) - sum(at)
        report["cpu_s"] = report["coordinator_s"] + report["nodes_s"]
    return report


def simulate(workers, tasks, work_s, around_s, coordinator_s, seed=1):
    """Seconds for so many tasks: each worker has one at work and the next at hand; the coordinator takes one answer at a time."""
    rng = random.Random(seed)
    events = [(0.0, worker) for worker in range(workers) for _ in range(2)]
    heapq.heapify(events)
    free = [0.0] * workers
    coordinator, left, end = 0.0, tasks, 0.0
    # An event is a task's arrival at its worker.
    while events and left > 0:
        at, worker = heapq.heappop(events)
        left -= 1
        free[worker] = max(at, free[worker]) + work_s * rng.uniform(0.9, 1.1)
        coordinator = max(coordinator, free[worker] + around_s / 2) + coordinator_s
        end = max(end, coordinator)
        heapq.heappush(events, (coordinator + around_s / 2, worker))
    return end


def side_by_side(runs):
    """How much faster than one serial run two are that have a core each and nothing to do with each other."""
    job = [*JOB, "--group", "16"]
    alone, together = [], []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(runs):
            alone.append(job_s(local(*job)))
            together += map(job_s, pool.map(lambda _: local(*job), range(2)))
    times = 2 * statistics.median(alone) / statistics.median(together)
    print(f"  two serial runs side by side: {times:.2f} x the rows/s of one, which is what two cores allow here")


def table(runs):
    rows = {}
    side_by_side(runs)
    serial, measured = {k: [] for k in SIZES}, {(k, w): [] for k in SIZES for w in REAL}
    for _ in range(runs):
        for k in SIZES:
            group = ["--group", str(k)]
            serial[k].append(local(*JOB, *group))
            for w in REAL:
                measured[k, w].append(real(w, [*JOB, *group]))
    median = lambda reports, of: statistics.median(of(report) for report in reports)
    seconds = lambda report: job_s(report)
    for k in SIZES:
        alone = PASSES * ROWS / median(serial[k], seconds)
        rows[k, 0] = alone
        one = measured[k, 1]
        tasks = PASSES * -(-(-(-ROWS // BATCH)) // k)
        work = median(one, lambda report: sum(node["busy_s"] for node in report["nodes"])) / tasks
        at_node = max(work, median(one, lambda report: report["nodes_s"]) / tasks)
        at_coordinator = median(one, lambda report: report["coordinator_s"]) / tasks
        for w in REAL:
            rows[k, w] = PASSES * ROWS / median(measured[k, w], seconds)
        # What one real worker took and the model does not tell is put down to its tasks: so the model says of one worker what
        # was measured.
        around, taken = 1e-4, PASSES * ROWS / rows[k, 1]
        low, high = 0.0, 10 * taken / tasks
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if simulate(1, tasks, middle, around, at_coordinator) < taken else (low, middle)
        two = PASSES * ROWS / simulate(2, tasks, high, around, at_coordinator)
        print(f"  k = {k}: a task is {work * 1e3:.3f} ms of learning, {at_node * 1e3:.3f} ms of a worker's core and "
              f"{at_coordinator * 1e3:.3f} ms of the coordinator's; calibrated, {high * 1e3:.3f} ms of a worker; simulated for 2 "
              f"workers {two:,.0f} rows/s, real {rows[k, 2]:,.0f}")
        for w in SIMULATED:
            rows[k, w] = PASSES * ROWS / simulate(w, tasks, high, around, at_coordinator)
    print("\nseconds of cores for the job, serial and by workers (tell of overhead also when the machine is busy):")
    for k in SIZES:
        cores = [median(serial[k], lambda r: r["cpu_s"]), *(median(measured[k, w], lambda r: r["cpu_s"]) for w in REAL)]
        print(f"  k = {k}: " + ", ".join(f"{seconds:.2f}" for seconds in cores))
    print(f"\n| k | workers | | s an epoch | rows/s | to serial | to 1 worker |\n|---|---|---|---|---|---|---|")
    for k in SIZES:
        for w in [0, *REAL, *SIMULATED]:
            rate, how = rows[k, w], "serial" if w == 0 else "real" if w in REAL else "simulated"
            print(f"| {k} | {w or 'local'} | {how} | {ROWS / rate:.3f} | {rate:,.0f} | {rate / rows[k, 0]:.2f} | {rate / rows[k, 1]:.2f} |")
    return rows


def plot(rows):
    """Speed relative to serial over workers, a line for each k; dashed where simulated."""
    width, height, left, bottom = 640, 400, 60, 50
    most = max(rows[k, w] / rows[k, 0] for k in SIZES for w in SIMULATED) * 1.05
    x = lambda w: left + (w - 1) * (width - left - 90) / 7
    y = lambda s: height - bottom - s / most * (height - bottom - 30)
    colours = {1: "#d95f02", 4: "#7570b3", 16: "#1b9e77", 64: "#e7298a"}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        "<title>Rows a second relative to one process, by workers</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for w in [*REAL, *SIMULATED]:
        parts.append(f'<text x="{x(w):.1f}" y="{height - bottom + 18}" text-anchor="middle">{w}</text>')
    for s in range(0, int(most) + 1):
        parts.append(f'<line x1="{left}" x2="{width - 90}" y1="{y(s):.1f}" y2="{y(s):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(s) + 4:.1f}" text-anchor="end">{s}</text>')
    for k in SIZES:
        at = {w: (x(w), y(rows[k, w] / rows[k, 0])) for w in [*REAL, *SIMULATED]}
        line = lambda ws: " ".join(f"{at[w][0]:.1f},{at[w][1]:.1f}" for w in ws)
        parts.append(f'<polyline points="{line(REAL)}" fill="none" stroke="{colours[k]}" stroke-width="2"/>')
        rest = line([REAL[-1], *SIMULATED])
        parts.append(f'<polyline points="{rest}" fill="none" stroke="{colours[k]}" stroke-width="2" stroke-dasharray="5 4"/>')
        for w, (cx, cy) in at.items():
            parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3.5" fill="{colours[k]}"><title>k = {k}, {w} workers: '
                         f'{rows[k, w] / rows[k, 0]:.2f}</title></circle>')
        parts.append(f'<text x="{at[8][0] + 10:.1f}" y="{at[8][1] + 4:.1f}" fill="{colours[k]}">k = {k}</text>')
    parts.append(f'<text x="{(width - 30) / 2}" y="{height - 10}" text-anchor="middle">workers (dashed: simulated)</text>')
    parts.append(f'<text x="14" y="18">rows a second, one process = 1</text></svg>')
    PLOT.write_text("\n".join(parts) + "\n")
    print(f"\nplot: {PLOT.relative_to(ROOT)}")


def to_target(runs):
    """Serial, one worker and two, for some sizes of groups; and two whose changes are not damped."""
    ways = [(group, [], w) for group in GROUPS for w in (0, *REAL)] + [(group, ["--staleness", "constant"], 2) for group in GROUPS]
    reports = {(group, *more, w): [] for group, more, w in ways}
    for seed in range(1, runs + 1):
        for group, more, w in ways:
            job = [*TARGET, "--group", str(group), *more, "--seed", str(seed)]
            reports[group, *more, w].append(real(w, job) if w else local(*job))
    print(f"\ntime to 5% error on letters, {' '.join(TARGET)}, seeds 1 to {runs}, medians:")
    for (group, *more, w), some in reports.items():
        seconds = statistics.median(map(job_s, some))
        ratio = seconds / statistics.median(map(job_s, reports[group, 0]))
        passes = [len(report["rounds"]) for report in some]
        stale = statistics.mean(report["stream"]["mean_staleness"] for report in some)
        worst = max(report["validation_error"] for report in some)
        print(f"  k = {group}, {f'{w} workers' if w else 'serial'}{' '.join(['', *more])}: {seconds:.3f} s, {ratio:.2f} x serial, "
              f"passes {statistics.median(passes)} {passes}, mean staleness {stale:.2f}, worst error {worst:.4f}, "
              f"{statistics.median(r['cpu_s'] for r in some):.2f} s of cores")


def slow_worker(runs):
    """Three workers and one that is ten times slower; all of them sleep for the most part, so that two cores suffice."""
    target = ["--target-error", "0.08"]
    common = f"--batch-size {BATCH} --standardize".split()
    rounds = ["100", "1", "128", "0.1", *common, "--replicas-per-round", "4", *target]
    stream = ["100", "1", "128", "0.1", *common, "--async", "--group", "16", *target]
    slow = ["5", "5", "5", "50"]
    walls = {"rounds": [], "stream": []}
    for seed in range(1, runs + 1):
        walls["rounds"].append(real(4, [*rounds, "--seed", str(seed)], slow, "round-robin"))
        walls["stream"].append(real(4, [*stream, "--seed", str(seed)], slow))
    print(f"\none worker of four 10 x slower (simulated), to 8% error, seeds 1 to {runs}:")
    medians = {name: statistics.median(map(job_s, reports)) for name, reports in walls.items()}
    for name, reports in walls.items():
        tasks = [node["tasks"] for node in reports[0]["nodes"]]
        passes = statistics.median(len(report["rounds"]) for report in reports)
        errors = max(report["validation_error"] for report in reports)
        print(f"  {name}: {medians[name]:.2f} s, {passes} passes, tasks of the workers {tasks}, worst error {errors:.4f}")
    print(f"  rounds / stream: {medians['rounds'] / medians['stream']:.2f} (bar 1.8)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["table", "target", "slow"])
    asked = parser.parse_args()
    if "ROUNDTABLE_BIN" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--quiet", "--bins"], cwd=ROOT, check=True)
    version = subprocess.run([PROGRAM, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    print(f"{version}, {os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.2f}, {time.strftime('%Y-%m-%d')}")
    print(f"letters {' '.join(JOB)}, medians of {asked.runs} runs")
    if asked.only in (None, "table"):
        plot(table(asked.runs))
    if asked.only in (None, "target"):
        to_target(asked.runs)
    if asked.only in (None, "slow"):
        slow_worker(asked.runs)
