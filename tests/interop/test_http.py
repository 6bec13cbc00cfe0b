"""Learners over HTTP, in Python without any library: examples/learner.py as it is."""

import json
import socket
import subprocess
import sys
import threading
import urllib.request

from conftest import ROOT

LEARNER = ROOT / "examples" / "learner.py"
UPDATES = 60


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def test_learners_that_need_only_http_teach_a_model(cluster):
    url = f"http://127.0.0.1:{free_port()}"
    node = cluster.node()
    coordinator = cluster.coordinator([node], "load-balancing", "--http", url.removeprefix("http://"))
    report = {}
    flags = ["--async", "--updates", UPDATES, "--batch-size", 32, "--standardize", "--activation", "relu"]
    train = threading.Thread(
        target=lambda: report.update(cluster.client(coordinator, "letters", 1, 1, 16, 0.1, *flags))
    )
    train.start()
    learners = [
        subprocess.Popen(
            [sys.executable, LEARNER, url, ROOT / "letters" / f"train_letters{shard}.txt", "--eta", "0.5"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for shard in (1, 2)
    ]
    try:
        outputs = [learner.communicate(timeout=60) for learner in learners]
    finally:
        for learner in learners:
            learner.kill()
        train.join(60)
    for learner, (out, err) in zip(learners, outputs):
        assert learner.returncode == 0, out + err
        assert "the job is over (done)" in out, out + err
    applied = [line for out, _ in outputs for line in out.splitlines() if line.startswith("version ")]
    assert len(applied) == UPDATES
    assert len({line.split(":")[0] for line in applied}) == UPDATES, "each change has a version of its own"
    newest = json.loads(get(f"{url}/"))
    assert (newest["update"], newest["state"]) == (UPDATES, "done")
    assert get(f"{url}/latest.safetensors") == get(newest["model"])
    # 25 of 26 guesses are wrong without learning.
    assert report["validation_error"] < 0.7, report
