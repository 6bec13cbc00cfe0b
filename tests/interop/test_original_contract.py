"""The original's three programs, one at a time, beside ours; each with both Thrift libraries."""

import shutil
import time

import numpy as np
import pytest

from original import client, coordinator, wire
from original.coordinator import LOAD_BALANCING, RANDOM

from conftest import ROOT

ROUND_ROBIN = 3

#: The original's example job, `letters 3 75 24 0.0001`, ends at 0.32 to 0.38, by where the weights start.
EXAMPLE = ("letters", 3, 75, 24, 0.0001)
GOOD_ERROR = 0.45
SHARDS = 11


# A client of the original.


def test_original_client(cluster, library):
    nodes = [cluster.node(load) for load in (0.0, 0.2)]
    server = cluster.coordinator(nodes, LOAD_BALANCING)
    assert 0.0 < client.train(library, *server.address, *EXAMPLE) < GOOD_ERROR


def test_original_client_hears_of_a_failed_job(cluster, library):
    """An application exception with the reason, which any Thrift library raises; and the coordinator serves on."""
    server = cluster.coordinator([cluster.node()], RANDOM)
    for directory in ("no_such_directory", "../letters"):
        with pytest.raises(library.application_error()) as failed:
            client.train(library, *server.address, directory, 1, 1, 4, 0.0001)
        assert directory in failed.value.message
    assert 0.0 < client.train(library, *server.address, "letters", 1, 1, 4, 0.0001) <= 1.0


# A compute node of the original, under our coordinator and beside our node.


def test_original_node_in_a_job_of_the_original_call(cluster, library):
    original = cluster.original_node(library)
    server = cluster.coordinator([cluster.node(), original], ROUND_ROBIN)
    assert 0.0 < client.train(library, *server.address, *EXAMPLE) < GOOD_ERROR
    assert 1 <= len(original.lines("trained")) < 3 * SHARDS


def test_original_node_in_a_job_of_our_client(cluster, library):
    original = cluster.original_node(library)
    server = cluster.coordinator([cluster.node(), original], ROUND_ROBIN)
    report = cluster.client(server, *EXAMPLE)
    assert 0.0 < report["validation_error"] < GOOD_ERROR
    assert len(report["rounds"]) == 3
    tasks = {node["address"]: node["tasks"] for node in report["nodes"]}
    assert sum(tasks.values()) == 3 * SHARDS
    assert tasks[f"127.0.0.1:{original.port}"] == len(original.lines("trained")) >= 1


def test_original_node_alone_and_loaded(cluster, library):
    """Nobody else can take what it refuses."""
    original = cluster.original_node(library, load_probability=0.3)
    server = cluster.coordinator([original], LOAD_BALANCING)
    report = cluster.client(server, "letters", 1, 10, 24, 0.0001)
    (node,) = report["nodes"]
    assert node["tasks"] == len(original.lines("trained")) == SHARDS
    assert node["refusals"] == len(original.lines("refused")) >= 1
    assert node["failures"] == 0


def test_original_node_closes_an_idle_connection(cluster):
    """thriftpy2's servers do so after 3 s. The next job is not to be held up by it, nor to lose the node."""
    original = cluster.original_node(wire.library("thriftpy2"))
    server = cluster.coordinator([original], ROUND_ROBIN)
    cluster.client(server, "letters", 1, 2, 8, 0.0001)
    time.sleep(3.5)
    report = cluster.client(server, "letters", 1, 2, 8, 0.0001)
    assert len(original.lines("trained")) == 2 * SHARDS
    assert [node["failures"] for node in report["nodes"]] == [0]


# A coordinator of the original, over our compute nodes.


@pytest.mark.parametrize("policy", [RANDOM, LOAD_BALANCING])
def test_original_coordinator(cluster, library, policy):
    nodes = [cluster.node(load) for load in (0.0, 0.5)]
    outcome = coordinator.run_job(library, [node.address for node in nodes], ROOT, *EXAMPLE[:4], 26, EXAMPLE[4], policy)
    assert 0.0 < outcome.validation_error < GOOD_ERROR
    assert sum(outcome.accepted) == 3 * SHARDS and min(outcome.accepted) >= 1
    if policy == LOAD_BALANCING:
        assert outcome.refused[0] == 0 and outcome.refused[1] >= 1
    else:
        assert outcome.refused == [0, 0]


def test_golden_numbers(cluster, library, golden):
    node = cluster.node()
    result = train_with_weights(
        library, node, golden.shard, golden.V0, golden.W0, golden.eta, golden.max_epochs, RANDOM
    )
    assert result.accepted
    assert result.training_error == pytest.approx(golden.training_error, abs=1e-12)
    np.testing.assert_allclose(golden.V0 + result.weights.V, golden.V, rtol=0, atol=1e-8)
    np.testing.assert_allclose(golden.W0 + result.weights.W, golden.W, rtol=0, atol=1e-8)


def test_refusal(cluster, library):
    """Under load-balancing only; under the other policies a loaded node is slow, not unwilling."""
    node = cluster.node(load_probability=1.0)
    V, W = np.full((9, 26), 0.01), np.full((17, 8), 0.01)
    shard = "letters/train_letters1.txt"
    for _ in range(3):
        result = train_with_weights(library, node, shard, V, W, 0.0001, 1, LOAD_BALANCING)
        assert not result.accepted
        assert result.training_error == -1.0
        assert result.weights.V == [] and result.weights.W == []
    assert train_with_weights(library, node, shard, V, W, 0.0001, 1, RANDOM).accepted
    assert train_with_weights(library, node, shard, V, W, 0.0001, 1, ROUND_ROBIN).accepted


def test_nothing_outside_the_data_directory_is_read(cluster, library, tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "letters").mkdir(parents=True)
    outside.mkdir()
    for directory in (inside / "letters", outside):
        shutil.copy(ROOT / "letters" / "train_letters1.txt", directory / "rows.txt")
    node = cluster.node(data_dir=inside)
    V, W = np.full((9, 26), 0.01), np.full((17, 8), 0.01)
    for path in ("../outside/rows.txt", "letters/../../outside/rows.txt", str(outside / "rows.txt")):
        try:
            result = train_with_weights(library, node, path, V, W, 0.0001, 1, RANDOM)
        except library.application_error():
            continue
        assert not result.accepted, path
        assert result.weights.V == [] and result.weights.W == [], path
    assert train_with_weights(library, node, "letters/rows.txt", V, W, 0.0001, 1, RANDOM).accepted


def train_with_weights(library, node, path, V, W, eta, epochs, policy):
    types, service = library.load(wire.ORIGINAL_IDL, "compute_node")
    start = types.Weights(V=V.tolist(), W=W.tolist())
    h, k = W.shape[1], V.shape[1]
    with library.client(service, *node.address) as connection:
        return connection.train_with_weights(path, start, 0.0, k, h, eta, epochs, policy)
