"""What PyTorch needs to learn, in one process: letters to 5% error on one thread (`reach`), letters as well as it can
with two hidden layers (`best`), and Fashion-MNIST for 10 epochs on two threads (`fashion`).

Times are without start-up: torch is loaded, the data are tensors, and a first step is done, which may have compiled it.
The settings were chosen by training on shards 1 to 9 and looking at shards 10 and 11 (Fashion-MNIST: the first 50,000
rows and the last 10,000), not at the validation rows.
"""

import sys
import time

import torch

import fashion
import work
from torch_adam import Autograd, epoch, network, one_cycle, trainer

#: Of a run: rows of a batch, epochs, and the peak of the one-cycle learning rate.
REACH = {"batch": 256, "epochs": 8, "peak": 0.04}
BEST = {"batch": 128, "epochs": 40, "peak": 0.01}
BEST_LAYERS, BEST_DECAY, BEST_SMOOTHING = [256, 256], 0.01, 0.1
FASHION = {"batch": 128, "epochs": 10, "peak": 0.004}
FASHION_THREADS = 2


def tensors(parts):
    return [(torch.tensor(features), torch.tensor(labels)) for features, labels in parts]


def letters():
    """To train with and to validate with, standardised."""
    return tensors(work.standardised(work.training(), work.validation()))


def learn(trained, data, batch, epochs, peak):
    """Yields when all is ready to start, and after each epoch."""
    X, y = data
    first = trained.state()
    trained.step(X[:batch], y[:batch])
    trained.reset(first)
    rates = one_cycle(peak, epochs * (len(X) // batch))

    def step(rows, labels):
        trained.rate(next(rates))
        trained.step(rows, labels)

    yield
    for _ in range(epochs):
        epoch(step, X, y, batch)
        yield


def reach(how, seed):
    """Looks at the validation rows after each epoch, within the time, and stops at the target."""
    torch.set_num_threads(1)
    data, validation = letters()
    trained = trainer(how, [work.FEATURES, 256, work.CLASSES], REACH["peak"], seed)
    epochs = learn(trained, data, **REACH)
    next(epochs)
    curve = work.Curve()
    for _ in epochs:
        if curve.add(trained.error(*validation)):
            break
    curve.tell(f"torch {torch.__version__} {how}", seed=seed)


def best(seed):
    """The letters with two hidden layers, AdamW and smoothed labels."""
    torch.set_num_threads(1)
    data, validation = letters()
    model = network([work.FEATURES, *BEST_LAYERS, work.CLASSES], seed)
    adam = torch.optim.AdamW(model.parameters(), weight_decay=BEST_DECAY, fused=True)
    to_the_end(Autograd(model, adam, BEST_SMOOTHING), data, validation, BEST, work.BEST, seed, "eager")


def fashion_mnist(seed):
    """Pixels from 0 to 1, less their mean."""
    torch.set_num_threads(FASHION_THREADS)
    data, validation = tensors([fashion.read("train"), fashion.read("t10k")])
    mean = data[0].mean(0)
    data, validation = ((X - mean, y) for X, y in (data, validation))
    trained = trainer("eager", [784, 256, 10], FASHION["peak"], seed)
    to_the_end(trained, data, validation, FASHION, work.FASHION, seed, f"eager, {FASHION_THREADS} threads")


def to_the_end(trained, data, validation, settings, name, seed, how):
    """The seconds of all epochs, and the error at their end."""
    epochs = learn(trained, data, **settings)
    next(epochs)
    started = time.perf_counter()
    for _ in epochs:
        pass
    seconds = time.perf_counter() - started
    work.tell(f"torch {torch.__version__} {how}", name, learn_s=seconds, error=trained.error(*validation), seed=seed)


def main():
    match sys.argv[1:]:
        case ["reach"]:
            cases = [("reach", how, seed) for how in ("eager", "by hand, compile") for seed in work.SEEDS]
            work.each_in_its_own_process(__file__, cases, ["kept"])
        case ["best"]:
            work.each_in_its_own_process(__file__, [("best", seed) for seed in work.BEST_SEEDS], ["kept"])
        case ["fashion"]:
            fashion.fetch()
            work.each_in_its_own_process(__file__, [("fashion", 1)], ["kept"])
        case ["reach", how, seed]:
            reach(how, int(seed))
        case ["best", seed]:
            best(int(seed))
        case ["fashion", seed]:
            fashion_mnist(int(seed))
        case _:
            sys.exit("which: reach, best or fashion?")


if __name__ == "__main__":
    main()
