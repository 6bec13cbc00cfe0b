"""Measures what reports/baseline.md shows of roundtable itself, with a release build: python3 benches/baseline.py

Standard library only. Everything listens on loopback, and ends with this program.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ.get("ROUNDTABLE_BIN", str(ROOT / "target/release/roundtable"))
POLICIES = ["random", "load-balancing", "round-robin"]


@contextlib.contextmanager
def server(*args):
    """A server, its address, and the seconds from its start to the line that says that it listens."""
    start = time.perf_counter()
    process = subprocess.Popen([BINARY, *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline()
        yield process, line.split()[-1], time.perf_counter() - start
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def cluster(policy, loads, *more):
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        nodes = [stack.enter_context(server("compute-node", "0", load, "--load-delay", "20ms", *more)) for load in loads]
        listing = pathlib.Path(directory) / "compute_nodes.txt"
        listing.write_text("".join(address.replace(":", ",") + "\n" for _, address, _ in nodes))
        coordinator = stack.enter_context(server("coordinator", "0", policy, "--nodes", str(listing), "--store", directory + "/store"))
        yield [process for process, _, _ in nodes], coordinator


def client(address, *job, wait=True, data="letters"):
    host, port = address.rsplit(":", 1)
    command = [BINARY, "client", host, port, data, *job, "--json", "--timing", os.devnull]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return json.loads(process.communicate()[0]) if wait else process


def resident(process, what="VmHWM:"):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024


def median(values):
    return f"{statistics.median(values):.3f} (from {min(values):.3f} to {max(values):.3f}, {len(values)} runs)"


def main_job():
    walls, errors, memory = [], [], 0.0
    for _ in range(7):
        with cluster("load-balancing", ["0"] * 4) as (nodes, (coordinator, address, _)):
            start = time.perf_counter()
            report = client(address, "3", "75", "24", "0.0001")
            walls.append(time.perf_counter() - start)
            errors.append(report["validation_error"])
            memory = max(memory, sum(resident(process) for process in [*nodes, coordinator]))
    print(f"3 75 24 0.0001, 4 nodes, load 0: wall s {median(walls)}; validation error {errors[-1]:.4f}")
    print(f"  peak resident memory of coordinator + 4 nodes: {memory:.1f} MiB")
    found = []
    with cluster("load-balancing", ["0"] * 2) as (_, (_, address, _)):
        for seed in range(1, 12):
            short = client(address, "3", "75", "24", "0.0001", "--seed", str(seed))["validation_error"]
            report = client(address, "15", "50", "24", "0.0001", "--seed", str(seed))
            found.append((short, report["validation_error"], report["wall_s"]))
    for place, name in enumerate(["3 x 75", "15 x 50"]):
        values = [line[place] for line in found]
        print(f"{name} error over seeds 1 to 11: median {statistics.median(values):.4f}, worst {max(values):.4f}")
    print(f"15 x 50 with 2 nodes: wall s {median([line[2] for line in found])}")


def same_weights():
    digests = {}
    job = ["15", "50", "24", "0.0001"]
    for policy in POLICIES:
        for loads in [["0"], ["0"] * 2, ["0"] * 4, ["0.2", "0.4", "0.1", "0.5"]]:
            with cluster(policy, loads) as (_, (_, address, _)):
                digests[f"{policy}, load {' '.join(loads)}"] = client(address, *job)["weights_sha256"]
        with cluster(policy, ["0"] * 3) as (nodes, (_, address, _)):
            process = client(address, *job, wait=False)
            time.sleep(0.4)
            nodes[0].kill()
            report = json.loads(process.communicate()[0])
            failures = sum(node["failures"] for node in report["nodes"])
            digests[f"{policy}, a node killed, {failures} failures"] = report["weights_sha256"]
    print(f"weights sha256 over {len(digests)} clusters: {len(set(digests.values()))} different")
    for name, digest in digests.items():
        print(f"  {digest[:16]}  {name}")


def start_up():
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listing:
        listing.write("127.0.0.1,9\n")
        listing.flush()
        for name, args in [
            ("compute-node", ["compute-node", "0", "0"]),
            ("coordinator", ["coordinator", "0", "2", "--nodes", listing.name, "--store", "memory:"]),
        ]:
            times = []
            for _ in range(30):
                with server(*args) as (_, _, seconds):
                    times.append(seconds * 1000)
            print(f"{name}: process start to listening, ms {median(times)}")


def demo():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([BINARY, "demo", "--timing", os.devnull], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    print(f"demo: wall s {median(times)}")


if __name__ == "__main__":
    binary = pathlib.Path(BINARY).read_bytes()
    print(f"{BINARY}: {len(binary) / 2**20:.1f} MiB, sha256 {hashlib.sha256(binary).hexdigest()[:16]}")
    for measure in [start_up, main_job, same_weights, demo]:
        measure()
        sys.stdout.flush()
