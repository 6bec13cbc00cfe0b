"""The stand-ins for the original's programs, against the golden numbers and each other; our binary is not needed.

What fails here is wrong in the stand-ins, and the other tests' word is worth nothing until it is mended.
"""

import numpy as np

from original import client, coordinator, network, wire

from conftest import ROOT


def test_numpy_network_matches_golden(golden):
    features, labels = network.read_rows(ROOT / golden.shard)
    V, W = network.train(features, labels, golden.V0, golden.W0, golden.eta, golden.max_epochs)
    np.testing.assert_allclose(V, golden.V, rtol=0, atol=1e-8)
    np.testing.assert_allclose(W, golden.W, rtol=0, atol=1e-8)
    assert network.error_rate(features, labels, V, W) == golden.training_error


def test_programs_train_together(cluster, library):
    nodes = [cluster.original_node(library, load) for load in (0.0, 0.3)]
    server = cluster.original_coordinator(library, nodes, coordinator.LOAD_BALANCING)
    error = client.train(library, *server.address, "letters", 2, 20, 24, 0.0001)
    assert 0.0 < error < 1.0
    assert sum(len(node.lines("trained")) for node in nodes) == 2 * 11


def test_node_knows_no_newer_call(cluster, library):
    """It answers ours as a Thrift server answers any unknown method; that answer is what our fallback rests on."""
    node = cluster.original_node(library)
    service = library.load(wire.OUR_IDL, "compute_node")[1]
    with library.client(service, *node.address) as connection:
        for _ in range(2):  # and it keeps the connection
            try:
                connection.hello(1)
            except library.application_error() as error:
                assert error.type == error.UNKNOWN_METHOD
            else:
                raise AssertionError("an original node answered hello")
