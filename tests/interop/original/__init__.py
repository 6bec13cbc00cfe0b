"""The three programs of the original system, written anew from its contract: node, coordinator and client.

They know only the original's two calls (`compute_node.thrift`, `coordinator.thrift` in this directory) and compute
in numpy. The tests put each of them beside our programs, as a user's old programs would be.
"""
