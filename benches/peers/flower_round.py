"""The job in Flower: a server and two clients, each with half of the shards, FedAvg after each round.

Uses start_server and start_client: Flower calls them deprecated, but they are its shortest path: no process for each
task and no packaged app, as its SuperLink would have. So these figures are, if anything, kind to it.
"""

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # before flwr is loaded

import socket
import subprocess
import sys
import time

import flwr
import numpy as np
import torch

import work
from torch_step import network, stepper

CLIENTS = 2


def arrays(model):
    return [tensor.numpy().copy() for tensor in model.state_dict().values()]


def load(model, values):
    model.load_state_dict({name: torch.tensor(value) for name, value in zip(model.state_dict(), values)})


class Client(flwr.client.NumPyClient):
    def __init__(self, number):
        self.shards = []
        for shard in range(1 + number, work.SHARDS + 1, CLIENTS):
            features, labels = work.shard(shard)
            self.shards.append((torch.tensor(features, dtype=torch.float32), torch.tensor(labels)))
        self.model = network(work.HIDDEN, torch.float32)
        stepper(self.model, *self.shards[0])[1]()  # the first step loads much of torch: start-up

    def get_parameters(self, config):
        return arrays(network(work.HIDDEN, torch.float32))

    def fit(self, parameters, config):
        trained = []
        for X, y in self.shards:
            load(self.model, parameters)
            _, step = stepper(self.model, X, y)
            for _ in range(work.EPOCHS):
                step()
            trained.append(arrays(self.model))
        mean = [np.mean(layers, axis=0) for layers in zip(*trained)]
        return mean, sum(len(y) for _, y in self.shards), {}


def serve(port, model, validation, rounds):
    """Runs the server; answers when each round ended, and the error then. Round 0 is the start: the clients are
    connected, nothing is trained."""
    X, y = validation
    ends = {}

    def evaluate(round, parameters, config):
        load(model, parameters)
        with torch.no_grad():
            error = (model(X).argmax(1) != y).double().mean().item()
        ends[round] = time.time(), error
        return error, {}

    flwr.server.start_server(
        server_address=f"127.0.0.1:{port}",
        config=flwr.server.ServerConfig(num_rounds=rounds),
        strategy=flwr.server.strategy.FedAvg(
            min_fit_clients=CLIENTS,
            min_available_clients=CLIENTS,
            fraction_evaluate=0.0,
            evaluate_fn=evaluate,
            accept_failures=False,
        ),
    )
    if sorted(ends) != list(range(rounds + 1)):
        sys.exit(f"rounds {sorted(ends)} were evaluated, not 0 to {rounds}")
    return [ends[round] for round in range(rounds + 1)]


def server(port, began):
    features, labels = work.validation()
    validation = torch.tensor(features, dtype=torch.float32), torch.tensor(labels)
    ends = serve(port, network(work.HIDDEN, torch.float32), validation, work.ROUNDS)
    work.tell(
        f"flwr {flwr.__version__}, torch {torch.__version__}",
        "job letters 3 75 24 0.0001",
        wall_s=ends[-1][0] - ends[0][0],
        with_start_up_s=ends[-1][0] - began,
        error=ends[-1][1],
    )


def together(script, make_client, run_server):
    """A server and its clients, each `script` in a process of its own that calls the one or the other."""
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["server", port, began]:
            run_server(int(port), float(began))
        case ["client", port, number]:
            client = make_client(int(number)).to_client()
            flwr.client.start_client(server_address=f"127.0.0.1:{port}", client=client, insecure=True, max_wait_time=60)
        case _:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = str(free.getsockname()[1])
            began = repr(time.time())
            roles = [["server", port, began], *(["client", port, str(number)] for number in range(CLIENTS))]
            # The words of Flower's log go to stderr; the figures to stdout.
            children = [subprocess.Popen([sys.executable, script, *role]) for role in roles]
            try:
                sys.exit(children[0].wait(timeout=120))
            finally:
                for child in children:
                    child.kill()


if __name__ == "__main__":
    together(__file__, Client, server)
