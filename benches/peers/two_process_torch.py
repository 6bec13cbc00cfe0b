"""The job with nothing around it: two torch processes, each with half of the shards, that average every round.

What a system for this job costs beyond this is its own overhead.
"""

import socket
import subprocess
import sys
import time

import torch
import torch.distributed as distributed

import work
from torch_step import network, stepper

PROCESSES = 2
RUNS = 3


def one(rank, port):
    torch.set_num_threads(1)
    store = distributed.TCPStore("127.0.0.1", port, PROCESSES, is_master=rank == 0)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    shards = []
    for number in range(1 + rank, work.SHARDS + 1, PROCESSES):
        features, labels = work.shard(number)
        shards.append((torch.tensor(features, dtype=torch.float32), torch.tensor(labels)))
    features, labels = work.validation()
    validation = torch.tensor(features, dtype=torch.float32), torch.tensor(labels)
    model = network(work.HIDDEN, torch.float32)  # the same seed in both
    weights = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    stepper(model, *shards[0])[1]()  # the first step loads much of torch: start-up
    distributed.barrier()
    ready = time.time()
    for _ in range(work.ROUNDS):
        change = torch.zeros_like(weights)
        for X, y in shards:
            torch.nn.utils.vector_to_parameters(weights.clone(), model.parameters())
            _, step = stepper(model, X, y)
            for _ in range(work.EPOCHS):
                step()
            change += torch.nn.utils.parameters_to_vector(model.parameters()).detach() - weights
        distributed.all_reduce(change)
        weights = weights + change / work.SHARDS
        torch.nn.utils.vector_to_parameters(weights.clone(), model.parameters())
        with torch.no_grad():
            error = (model(validation[0]).argmax(1) != validation[1]).double().mean().item()
    ended = time.time()
    distributed.barrier()
    distributed.destroy_process_group()
    return ready, ended, error


def main():
    if len(sys.argv) == 4:  # a child: rank, port, when the whole began
        rank, port, began = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
        ready, ended, error = one(rank, port)
        if rank == 0:
            work.tell(
                f"2 processes, torch {torch.__version__}",
                "job letters 3 75 24 0.0001",
                wall_s=ended - ready,
                with_start_up_s=ended - began,
                error=error,
            )
        return
    if len(sys.argv) == 1:
        work.each_in_its_own_process(__file__, [("once",)] * RUNS)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.time()
    children = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(port), repr(began)]) for rank in range(PROCESSES)
    ]
    try:
        if any(child.wait(timeout=300) for child in children):
            sys.exit("a process failed")
    finally:
        for child in children:
            child.kill()


if __name__ == "__main__":
    main()
