"""Letters to 5% error with two PyTorch processes on this machine, one thread each, half of the rows each: gradients
averaged at every step (`ddp`: DistributedDataParallel over gloo), and weights averaged after every epoch (`averaging`).

Times are without start-up, and settings chosen, as in torch_learning.py; DDP's are those of one process.
"""

import socket
import subprocess
import sys

import torch
import torch.distributed as distributed

import work
from torch_adam import Autograd, network
from torch_learning import REACH, learn, letters

PROCESSES = 2
#: Rows of a batch in each process, epochs, and the peak of the learning rate. Averages of weights need more epochs.
DDP = {**REACH, "batch": REACH["batch"] // PROCESSES}
AVERAGING = {"batch": 128, "epochs": 13, "peak": 0.04}
NAMES = {"ddp": "2 processes, DDP with gloo", "averaging": "2 processes that average each epoch"}


def average(model):
    """The mean of all processes' weights in each."""
    weights = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    distributed.all_reduce(weights)
    torch.nn.utils.vector_to_parameters(weights / PROCESSES, model.parameters())


def one(how, seed, rank, port):
    """The work of one process; the first looks at the validation rows and tells the others whether to go on."""
    torch.set_num_threads(1)
    store = distributed.TCPStore("127.0.0.1", port, PROCESSES, is_master=rank == 0)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    (X, y), validation = letters()
    own = X[rank::PROCESSES], y[rank::PROCESSES]
    model = network([work.FEATURES, 256, work.CLASSES], seed)
    trained_model = torch.nn.parallel.DistributedDataParallel(model) if how == "ddp" else model
    settings = DDP if how == "ddp" else AVERAGING
    adam = torch.optim.Adam(model.parameters(), lr=settings["peak"], fused=True)
    trained = Autograd(trained_model, adam)
    torch.manual_seed(1000 * seed + rank)
    epochs = learn(trained, own, **settings)
    next(epochs)
    distributed.barrier()
    curve = work.Curve()
    for _ in epochs:
        if how == "averaging":
            average(model)
        # Of the bare model: a forward pass of DDP would synchronise.
        enough = rank == 0 and curve.add(Autograd(model, adam).error(*validation))
        told = torch.tensor([float(enough)])
        distributed.broadcast(told, 0)
        if told.item():
            break
    if rank == 0:
        curve.tell(f"torch {torch.__version__} {NAMES[how]}", seed=seed)
    distributed.barrier()
    distributed.destroy_process_group()


def together(how, seed):
    """Starts the processes, and ends them all if one fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, __file__, how, seed]
    children = [subprocess.Popen([*words, str(rank), str(port)]) for rank in range(PROCESSES)]
    try:
        if any(child.wait(timeout=120) for child in children):
            sys.exit("a process failed")
    finally:
        for child in children:
            child.kill()


def main():
    match sys.argv[1:]:
        case []:
            work.each_in_its_own_process(__file__, [(how, seed) for how in NAMES for seed in work.SEEDS], ["kept"])
        case [how, seed]:
            together(how, seed)
        case [how, seed, rank, port]:
            one(how, int(seed), int(rank), int(port))


if __name__ == "__main__":
    main()
