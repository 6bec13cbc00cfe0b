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


def serve(port, began):
    features, labels = work.validation()
    X, y = torch.tensor(features, dtype=torch.float32), torch.tensor(labels)
    model = network(work.HIDDEN, torch.float32)
    ends = {}

    def evaluate(round, parameters, config):
        load(model, parameters)
        with torch.no_grad():
            error = (model(X).argmax(1) != y).double().mean().item()
        ends[round] = time.time()  # round 0 is the start: the clients are connected, nothing is trained
        return error, {}

    history = flwr.server.start_server(
        server_address=f"127.0.0.1:{port}",
        config=flwr.server.ServerConfig(num_rounds=work.ROUNDS),
        strategy=flwr.server.strategy.FedAvg(
            min_fit_clients=CLIENTS,
            min_available_clients=CLIENTS,
            fraction_evaluate=0.0,
            evaluate_fn=evaluate,
            accept_failures=False,
        ),
    )
    rounds_done = sorted(ends)
    if rounds_done != list(range(work.ROUNDS + 1)):
        sys.exit(f"rounds {rounds_done} were evaluated, not 0 to {work.ROUNDS}")
    work.tell(
        f"flwr {flwr.__version__}, torch {torch.__version__}",
        "job letters 3 75 24 0.0001",
        wall_s=ends[work.ROUNDS] - ends[0],
        with_start_up_s=ends[work.ROUNDS] - began,
        error=history.losses_centralized[-1][1],
    )


def main():
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["server", port, began]:
            serve(int(port), float(began))
        case ["client", port, number]:
            client = Client(int(number)).to_client()
            flwr.client.start_client(server_address=f"127.0.0.1:{port}", client=client, insecure=True, max_wait_time=60)
        case _:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = str(free.getsockname()[1])
            began = repr(time.time())
            roles = [["server", port, began], *(["client", port, str(number)] for number in range(CLIENTS))]
            # The words of Flower's log go to stderr; the figures to stdout.
            children = [subprocess.Popen([sys.executable, __file__, *role]) for role in roles]
            try:
                sys.exit(children[0].wait(timeout=120))
            finally:
                for child in children:
                    child.kill()


if __name__ == "__main__":
    main()
