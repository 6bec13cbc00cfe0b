"""Our own calls, from another language: each with both Thrift libraries."""

import hashlib
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load, save

from original import network, wire

from conftest import ROOT

RANDOM, LOAD_BALANCING = 1, 2
CLASSES, FEATURES, HIDDEN = 3, 4, 8


def make_rows(rng, count):
    """Three heaps of points, well apart; integers from 0 to 15."""
    centres = np.array([[3, 3, 12, 8], [12, 4, 3, 8], [4, 12, 4, 8]])
    labels = rng.integers(0, CLASSES, count)
    points = centres[labels] + rng.normal(0.0, 1.5, (count, FEATURES))
    return np.clip(np.rint(points), 0, 15).astype(np.uint8), labels.astype(np.uint8)


def shard_blob(features, labels):
    return save({"features": features, "labels": labels})


def weights_blob(rng):
    layer = lambda inputs, outputs: rng.uniform(-0.3, 0.3, (outputs, inputs)).astype(np.float32)
    return save(
        {
            "layers.0.weight": layer(FEATURES, HIDDEN),
            "layers.0.bias": np.zeros(HIDDEN, np.float32),
            "layers.1.weight": layer(HIDDEN, CLASSES),
            "layers.1.bias": np.zeros(CLASSES, np.float32),
        }
    )


def matrices(tensors):
    """V and W, as the original has them: the bias on top, an input a row."""
    wide = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    stack = lambda n: np.vstack([wide[f"layers.{n}.bias"], wide[f"layers.{n}.weight"].T])
    return stack(1), stack(0)


def digest_of(blob):
    return hashlib.sha256(blob).hexdigest()


def put(connection, blob, chunk=1 << 20):
    digest = digest_of(blob)
    for offset in range(0, len(blob), chunk):
        connection.put_blob(digest, offset, len(blob), blob[offset : offset + chunk])
    return digest


def get(connection, digest, limit=1 << 20):
    blob = b""
    while True:
        part = connection.get_blob(digest, len(blob), limit)
        blob += part
        if len(part) < limit:
            return blob


class Calls:
    """A connection to one of our servers, and the types of its contract."""

    def __init__(self, library, service):
        self.library = library
        self.types, self.service = library.load(wire.OUR_IDL, service)

    def to(self, program):
        return self.library.client(self.service, *program.address)


@pytest.fixture
def node_calls(library):
    return Calls(library, "compute_node")


@pytest.fixture
def coordinator_calls(library):
    return Calls(library, "coordinator")


@pytest.fixture
def rng():
    return np.random.default_rng(1)


# The compute node.


def task(calls, inputs, attached=(), policy=RANDOM, epochs=5, kind="train"):
    return calls.types.Task(
        label="test/1/0",
        kind=kind,
        parameters=json.dumps({"epochs": epochs, "eta": 0.001, "early_stop": 0.2}),
        inputs=list(inputs),
        scheduling_policy=policy,
        attached=[calls.library.blob(digest_of(blob), blob) for blob in attached],
    )


def test_hello(cluster, node_calls):
    nodes = [cluster.node(), cluster.node()]
    hellos = []
    for node in (nodes[0], nodes[0], nodes[1]):
        with node_calls.to(node) as connection:
            hellos.append(connection.hello(1))
    assert {hello.protocol for hello in hellos} == {1}
    assert all(hello.software.startswith("roundtable ") and hello.slots >= 1 for hello in hellos)
    # One name for each process, as long as it lives.
    assert hellos[0].instance == hellos[1].instance != hellos[2].instance


def test_blobs(cluster, node_calls, rng):
    large = rng.bytes((1 << 20) + 12_345)
    small = b"\xff\x00 neither text nor empty"
    absent = digest_of(b"absent")
    with node_calls.to(cluster.node()) as connection:
        assert connection.missing_blobs([absent, digest_of(small)]) == [absent, digest_of(small)]
        put(connection, small, chunk=5)
        put(connection, large)
        put(connection, large)  # again: harmless
        assert connection.missing_blobs([digest_of(small), absent, digest_of(large)]) == [absent]
        assert connection.get_blob(digest_of(small), 0, 1 << 20) == small
        assert connection.get_blob(digest_of(small), 3, 4) == small[3:7]
        assert connection.get_blob(digest_of(large), 0, 1 << 30) == large[: 1 << 20]
        assert get(connection, digest_of(large)) == large


def test_a_blob_under_a_false_name_is_rejected(cluster, node_calls):
    false_name = digest_of(b"something else")
    with node_calls.to(cluster.node()) as connection:
        with pytest.raises(node_calls.library.rejected()) as rejected:
            connection.put_blob(false_name, 0, 5, b"12345")
        assert rejected.value.reason
        assert connection.missing_blobs([false_name]) == [false_name]
        with pytest.raises(node_calls.library.rejected()):
            connection.get_blob(false_name, 0, 10)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_task(cluster, node_calls, rng, dtype):
    """The shard is put before, the weights come along; the answer is what numpy computes."""
    features, labels = make_rows(rng, 300)
    shard, weights = shard_blob(features.astype(dtype), labels), weights_blob(rng)
    with node_calls.to(cluster.node()) as connection:
        put(connection, shard)
        answer = connection.run_task(task(node_calls, [digest_of(shard), digest_of(weights)], attached=[weights]))
    assert answer.outcome == node_calls.types.TaskOutcome.DONE, answer.reason
    assert not answer.delayed and answer.busy_s > 0.0
    before, change = load(weights), load(answer.output)
    assert {name: tensor.shape for name, tensor in change.items()} == {
        name: tensor.shape for name, tensor in before.items()
    }
    V, W = matrices(before)
    expected_V, expected_W = network.train(features.astype(np.float64), labels, V, W, 0.001, 5)
    dV, dW = matrices(change)
    np.testing.assert_allclose(V + dV, expected_V, rtol=0, atol=1e-3)
    np.testing.assert_allclose(W + dW, expected_W, rtol=0, atol=1e-3)
    metrics = json.loads(answer.metrics)
    assert metrics["rows"] == 300 and metrics["epochs"] == 5
    error = network.error_rate(features.astype(np.float64), labels, expected_V, expected_W)
    assert metrics["training_error"] == pytest.approx(error, abs=2 / 300)


def test_a_task_whose_blobs_are_missing(cluster, node_calls, rng):
    shard, weights = shard_blob(*make_rows(rng, 30)), weights_blob(rng)
    inputs = [digest_of(shard), digest_of(weights)]
    with node_calls.to(cluster.node()) as connection:
        answer = connection.run_task(task(node_calls, inputs))
        assert answer.outcome == node_calls.types.TaskOutcome.MISSING
        assert sorted(answer.missing) == sorted(inputs)
        # What came along is kept like any blob.
        answer = connection.run_task(task(node_calls, inputs, attached=[weights]))
        assert answer.missing == [digest_of(shard)]
        assert connection.missing_blobs(inputs) == [digest_of(shard)]


def test_a_task_that_cannot_be_done(cluster, node_calls, rng):
    """FAILED with a reason, and the node serves on."""
    shard, weights, noise = shard_blob(*make_rows(rng, 30)), weights_blob(rng), b"no tensors at all"
    digests = [digest_of(shard), digest_of(weights)]
    tasks = [
        task(node_calls, digests, [shard, weights], kind="no such kind"),
        task(node_calls, [digest_of(noise), digests[1]], [noise, weights]),
        task(node_calls, digests[:1], [shard]),
        task(node_calls, digests, [shard, weights], epochs=-1),
    ]
    with node_calls.to(cluster.node()) as connection:
        for impossible in tasks:
            answer = connection.run_task(impossible)
            assert answer.outcome == node_calls.types.TaskOutcome.FAILED
            assert answer.reason
        assert connection.run_task(task(node_calls, digests)).outcome == node_calls.types.TaskOutcome.DONE


def test_a_loaded_node_refuses_tasks(cluster, node_calls, rng):
    shard, weights = shard_blob(*make_rows(rng, 30)), weights_blob(rng)
    digests = [digest_of(shard), digest_of(weights)]
    with node_calls.to(cluster.node(load_probability=1.0)) as connection:
        refused = connection.run_task(task(node_calls, digests, [shard, weights], LOAD_BALANCING))
        assert refused.outcome == node_calls.types.TaskOutcome.REFUSED
        accepted = connection.run_task(task(node_calls, digests, [shard, weights], RANDOM))
        assert accepted.outcome == node_calls.types.TaskOutcome.DONE
        assert accepted.delayed


# The coordinator.


PARAMETERS = {"rounds": 3, "epochs": 20, "hidden": [HIDDEN], "eta": 0.001, "seed": 1}


def request(calls, connection, rng, parameters=PARAMETERS, kind="train"):
    """Puts three shards and validation rows, and asks for a job on them."""
    types = calls.types
    shards = []
    for number in range(3):
        blob = shard_blob(*make_rows(rng, 200 + number))
        shards.append(types.Shard(name=f"train_{number}.txt", digest=put(connection, blob), rows=200 + number))
    validation = shard_blob(*make_rows(rng, 150))
    return types.JobRequest(
        kind=kind,
        parameters=json.dumps(parameters),
        dataset="points",
        shards=shards,
        validation=types.Shard(name="validate.txt", digest=put(connection, validation), rows=150),
        classes=["0", "1", "2"],
        give_up_after_s=20.0,
    )


def watch_to_the_end(calls, connection, job):
    """The last status, and the rounds as they were told."""
    version, rounds = -1, []
    end = time.monotonic() + 20
    while time.monotonic() < end:
        status = connection.watch(job, version, len(rounds), 2_000)
        assert status.version > version or status.state == calls.types.JobState.RUNNING
        version = status.version
        rounds += status.closed
        if status.state != calls.types.JobState.RUNNING:
            return status, rounds
    raise AssertionError(f"not done after 20 s: {status}")


def test_a_job(cluster, coordinator_calls, rng):
    node = cluster.node()
    with coordinator_calls.to(cluster.coordinator([node], RANDOM)) as connection:
        job = connection.submit(request(coordinator_calls, connection, rng))
        status, rounds = watch_to_the_end(coordinator_calls, connection, job)
        assert status.state == coordinator_calls.types.JobState.DONE, status.notice
        model = get(connection, status.model_digest, limit=100)
    assert [round.round for round in rounds] == [1, 2, 3]
    assert digest_of(model) == status.model_digest
    assert len(status.weights_sha256) == 64
    assert [(report.address, report.tasks) for report in status.nodes] == [(f"127.0.0.1:{node.port}", 9)]
    assert status.nodes[0].software.startswith("roundtable ")
    # The model that came is the one whose error was told.
    tensors = load(model)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "layers.0.weight": (HIDDEN, FEATURES),
        "layers.0.bias": (HIDDEN,),
        "layers.1.weight": (CLASSES, HIDDEN),
        "layers.1.bias": (CLASSES,),
    }
    again = np.random.default_rng(1)
    for number in range(3):
        make_rows(again, 200 + number)
    features, labels = make_rows(again, 150)
    error = network.error_rate(features.astype(np.float64), labels, *matrices(tensors))
    assert rounds[-1].validation_error == pytest.approx(error, abs=2 / 150)
    assert error < 0.1


def test_jobs_that_are_rejected(cluster, coordinator_calls, rng):
    """Each with a reason, and the coordinator serves on."""
    with coordinator_calls.to(cluster.coordinator([cluster.node()], RANDOM)) as connection:
        good = request(coordinator_calls, connection, rng)
        wrong = []
        for parameters in ({}, {**PARAMETERS, "rounds": 0}, {**PARAMETERS, "eta": -1}, {**PARAMETERS, "unknown": 1}):
            wrong.append(request(coordinator_calls, connection, rng, parameters))
        wrong.append(request(coordinator_calls, connection, rng, kind="no such kind"))
        not_put = request(coordinator_calls, connection, rng)
        not_put.shards[0].digest = digest_of(b"never put")
        for bad in [*wrong, not_put]:
            with pytest.raises(coordinator_calls.library.rejected()) as rejected:
                connection.submit(bad)
            assert rejected.value.reason
        with pytest.raises(coordinator_calls.library.rejected()):
            connection.watch("no such job", -1, 0, 0)
        status, _ = watch_to_the_end(coordinator_calls, connection, connection.submit(good))
        assert status.state == coordinator_calls.types.JobState.DONE


def test_a_job_is_cancelled(cluster, coordinator_calls, rng):
    with coordinator_calls.to(cluster.coordinator([cluster.node()], RANDOM)) as connection:
        long = request(coordinator_calls, connection, rng, {**PARAMETERS, "rounds": 100_000, "epochs": 1_000})
        job = connection.submit(long)
        connection.cancel(job)
        connection.cancel(job)  # again: harmless
        status, _ = watch_to_the_end(coordinator_calls, connection, job)
        assert status.state == coordinator_calls.types.JobState.CANCELLED


def test_equal_jobs_make_equal_models(cluster, coordinator_calls):
    """Of one node and of three, under two policies."""
    digests = set()
    nodes = [cluster.node() for _ in range(3)]
    for some, policy in ((nodes[:1], RANDOM), (nodes, LOAD_BALANCING)):
        with coordinator_calls.to(cluster.coordinator(some, policy)) as connection:
            job = connection.submit(request(coordinator_calls, connection, np.random.default_rng(7)))
            digests.add(watch_to_the_end(coordinator_calls, connection, job)[0].weights_sha256)
    assert len(digests) == 1


def test_the_example_program(cluster):
    server = cluster.coordinator([cluster.node(), cluster.node()], RANDOM)
    command = [sys.executable, ROOT / "examples" / "clients" / "python_client.py", server.host, server.port]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
    assert "validation error" in run.stdout


def softmax(features, tensors):
    V, W = matrices(tensors)
    ones = np.ones((len(features), 1))
    hidden = np.maximum(np.hstack([ones, features]) @ W, 0)
    logits = np.hstack([ones, hidden]) @ V
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def test_an_inference_job(cluster, coordinator_calls, rng):
    """A model and rows are put as files, a job asks about them, its figures and its output are read: all by Thrift."""
    features, _ = make_rows(rng, 500)
    model = weights_blob(rng)
    rows = "".join(",".join(map(str, row)) + "\n" for row in features).encode()
    coordinator = cluster.coordinator([cluster.node(), cluster.node()], RANDOM)
    types = coordinator_calls.types
    with coordinator_calls.to(coordinator) as connection:
        for name, content in [("m.safetensors", model), ("rows.csv", rows)]:
            connection.put_file(name, put(connection, content), len(content), 1, 0)
        connection.set_batch_size("m.safetensors", 40)
        request = types.JobRequest(kind="infer", parameters=json.dumps({"model": "m.safetensors", "top": 2}),
                                   dataset="*.csv", shards=[], classes=[], give_up_after_s=0.0)
        job = connection.submit(request)
        status, _ = watch_to_the_end(coordinator_calls, connection, job)
        assert status.state == types.JobState.DONE, status.notice
        assert (status.figures.done, status.figures.total, status.figures.failed) == (500, 500, 0)
        [stats] = connection.job_stats(job)
        assert stats.model == "m.safetensors" and stats.figures.batch_size == 40 and stats.figures.p99_s > 0.0
        assert connection.assignments() == []
        output = load(get(connection, status.model_digest))
        with pytest.raises(coordinator_calls.library.rejected()):
            request.parameters = json.dumps({"model": "gone.onnx"})
            connection.submit(request)
    expected = softmax(features.astype(np.float64), load(model))
    best = np.argsort(-expected, axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(output["classes"], best)
    np.testing.assert_allclose(output["numbers"], np.take_along_axis(expected, best, 1), rtol=0, atol=1e-5)
