"""Starts programs on loopback and stops every one of them, whatever becomes of the test.

ROUNDTABLE_BIN names our binary (default: target/release/roundtable), ROUNDTABLE_GOLDEN the directory of golden
numbers (default: tests/golden).
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import time

# These matrices are small: a second thread of the linear algebra only takes time from the programs under test, which
# inherit this too. Must be said before numpy is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pytest

from original import wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ROUNDTABLE_BIN", ROOT / "target" / "release" / "roundtable")).absolute()
GOLDEN = pathlib.Path(os.environ.get("ROUNDTABLE_GOLDEN", ROOT / "tests" / "golden")).absolute()

#: A server must be listening after this many seconds.
START_BOUND_S = 10.0


class Program:
    """A process whose output goes to a file, which the tests read."""

    def __init__(self, command, log, cwd):
        self.log = log
        self.command = [str(word) for word in command]
        environment = dict(os.environ, PYTHONPATH=str(ROOT / "tests" / "interop"))
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.host, self.port = None, None

    def output(self):
        return self.log.read_text(errors="replace")

    def lines(self, word):
        """The lines that start with `word`."""
        return [line for line in self.output().splitlines() if line.startswith(word)]

    def wait_listening(self):
        end = time.monotonic() + START_BOUND_S
        while time.monotonic() < end:
            found = re.search(r"listening on (\S+):(\d+)$", self.output(), re.MULTILINE)
            if found:
                self.host, self.port = found[1], int(found[2])
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(
            f"{' '.join(self.command)}: not listening (exit code {self.process.poll()}):\n{self.output()}"
        )

    @property
    def address(self):
        return self.host, self.port

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Cluster:
    """The programs of one test. Their working directory is the repository's root, where letters/ is."""

    def __init__(self, directory, stack):
        self.directory = directory
        self.stack = stack
        self.started = []

    def start(self, name, command, cwd=ROOT):
        log = self.directory / f"{len(self.started):02}-{name}.log"
        program = Program(command, log, cwd)
        self.stack.callback(program.stop)
        self.started.append(program)
        return program

    def node(self, load_probability=0.0, data_dir=None, seed=1):
        """One of our compute nodes. A loaded one is not slow here: `--load-delay 0s`."""
        command = [binary(), "compute-node", 0, load_probability, "--host", "127.0.0.1"]
        command += ["--load-delay", "0s", "--seed", seed]
        if data_dir:
            command += ["--data-dir", data_dir]
        return self.start("our-node", command).wait_listening()

    def coordinator(self, nodes, policy, *more):
        """Our coordinator."""
        command = [binary(), "coordinator", 0, policy, "--host", "127.0.0.1", "--nodes", self.node_list(nodes)]
        command += ["--store", self.directory / f"store-{len(self.started):02}", *more]
        return self.start("our-coordinator", command).wait_listening()

    def client(self, coordinator, *job):
        """What our client prints with --json."""
        words = [binary(), "client", coordinator.host, coordinator.port, *job, "--json"]
        run = subprocess.run(
            [str(word) for word in words], cwd=ROOT, capture_output=True, timeout=60
        )
        assert run.returncode == 0, run.stderr.decode(errors="replace")
        return json.loads(run.stdout)

    def original_node(self, library, load_probability=0.0, seed=1):
        command = [sys.executable, "-m", "original.node", 0, load_probability, "--library", library.name]
        command += ["--load-delay", 0, "--seed", seed]
        return self.start("original-node", command).wait_listening()

    def original_coordinator(self, library, nodes, policy):
        command = [sys.executable, "-m", "original.coordinator", 0, policy, "--library", library.name]
        command += ["--nodes", self.node_list(nodes)]
        return self.start("original-coordinator", command).wait_listening()

    def node_list(self, nodes):
        path = self.directory / f"compute_nodes_{len(self.started)}.txt"
        path.write_text("".join(f"{node.host},{node.port}\n" for node in nodes))
        return path


def binary():
    if not BINARY.is_file():
        pytest.fail(f"{BINARY} is not there: cargo build --release, or set ROUNDTABLE_BIN")
    return BINARY


@pytest.fixture
def cluster(tmp_path, request):
    with contextlib.ExitStack() as stack:
        made = Cluster(tmp_path, stack)
        yield made
        report = getattr(request.node, "report_of_call", None)
        if report is not None and report.failed:
            for program in made.started:
                print(f"---- {' '.join(program.command)}\n{program.output()[-4000:]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.report_of_call = report
    return report


@pytest.fixture(params=wire.NAMES)
def library(request):
    if request.param == "thrift" and not wire.ApacheThrift.available():
        pytest.skip("no `thrift` compiler: the library of that name needs generated code")
    return wire.library(request.param)


@dataclasses.dataclass
class Golden:
    """One run of the reference implementation: where it started, what it did, what came out."""

    shard: str
    eta: float
    max_epochs: int
    hidden: int
    training_error: float
    V0: np.ndarray
    W0: np.ndarray
    V: np.ndarray
    W: np.ndarray


@pytest.fixture(params=["mlp_h24_e1", "mlp_h24_e75", "mlp_h20_e400"])
def golden(request):
    run = json.loads((GOLDEN / f"{request.param}.json").read_text())
    h, k, scale = run["hidden"], 26, run["init_scale"]
    rows = lambda count: np.arange(count)[:, None]
    return Golden(
        shard=f"letters/{run['shard']}",
        eta=run["eta"],
        max_epochs=run["max_epochs"],
        hidden=h,
        training_error=run["training_error"],
        V0=scale * np.cos(1 + rows(h + 1) * k + np.arange(k)),
        W0=scale * np.sin(1 + rows(17) * h + np.arange(h)),
        V=np.array(run["V"]),
        W=np.array(run["W"]),
    )
