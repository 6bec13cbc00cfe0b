"""Networks that PyTorch trains with Adam on mini-batches: as users write it (autograd and the fused Adam), eager or with
the loss compiled; and with gradients and Adam written out and all of a step compiled into one, the fastest that we know.

Run as a program, it times their steps on one thread, over epochs of shuffled batches: at each of the plot's sizes, and at
784-256-10. A process runs one way of doing it, with memory kept (see HEAPS).
"""

import math
import sys

import torch

import work

BATCH = 64
BETAS, EPSILON = (0.9, 0.999), 1e-8
HOWS = ("eager", "compile", "by hand, compile")


def network(sizes, seed=1):
    """ReLU between linear layers, with PyTorch's own first weights."""
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


class Autograd:
    """A model, and steps of a PyTorch optimiser on it."""

    def __init__(self, model, optimiser, smoothing=0.0, compiled=False):
        self.model, self.optimiser = model, optimiser
        self.loss = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
        self.forward = torch.compile(self.loss_of, dynamic=False) if compiled else self.loss_of

    def loss_of(self, X, y):
        return self.loss(self.model(X), y)

    def step(self, X, y):
        self.optimiser.zero_grad()
        self.forward(X, y).backward()
        self.optimiser.step()

    def rate(self, eta):
        for group in self.optimiser.param_groups:
            group["lr"] = eta

    def state(self):
        return [parameter.detach().clone() for parameter in self.model.parameters()]

    @torch.no_grad()
    def reset(self, state):
        for parameter, value in zip(self.model.parameters(), state):
            parameter.copy_(value)
        self.optimiser.state.clear()

    @torch.no_grad()
    def error(self, X, y):
        self.model.eval()
        wrong = (self.model(X).argmax(1) != y).double().mean().item()
        self.model.train()
        return wrong


@torch.no_grad()
def adam_by_hand(weights, first, second, count, X, y, eta):
    """One step on `weights` in place (W and b of each layer in turn), with `count` the steps before."""
    inputs, sums = [X], []
    for W, b in zip(weights[:-2:2], weights[1:-2:2]):
        sums.append(torch.addmm(b, inputs[-1], W.T))
        inputs.append(torch.relu(sums[-1]))
    logits = torch.addmm(weights[-1], inputs[-1], weights[-2].T)
    D = (torch.softmax(logits, 1) - torch.nn.functional.one_hot(y, logits.shape[1])) / len(X)
    slopes = []
    for layer in reversed(range(len(inputs))):
        slopes = [D.T @ inputs[layer], D.sum(0)] + slopes
        if layer:
            D = (D @ weights[2 * layer]) * (sums[layer - 1] > 0)
    count += 1
    rate, root = eta / (1 - BETAS[0] ** count), torch.sqrt(1 - BETAS[1] ** count)
    for w, m, v, slope in zip(weights, first, second, slopes):
        m.lerp_(slope, 1 - BETAS[0])
        v.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
        w.sub_(rate * m / (v.sqrt() / root + EPSILON))


class ByHand:
    """The same interface as `Autograd`, with `adam_by_hand` compiled."""

    def __init__(self, model, eta):
        self.weights = [parameter.detach().clone() for parameter in model.parameters()]
        self.eta = torch.tensor(eta)  # as a number it would be compiled in, again for each value
        self.run = torch.compile(adam_by_hand, dynamic=False)
        self.first, self.second = ([torch.zeros_like(w) for w in self.weights] for _ in range(2))
        self.count = torch.zeros(())

    def step(self, X, y):
        self.run(self.weights, self.first, self.second, self.count, X, y, self.eta)

    def rate(self, eta):
        self.eta.fill_(eta)

    def state(self):
        return [w.clone() for w in self.weights]

    def reset(self, state):
        for w, value in zip(self.weights, state):
            w.copy_(value)
        for moment in [*self.first, *self.second, self.count]:
            moment.zero_()

    def error(self, X, y):
        for W, b in zip(self.weights[:-2:2], self.weights[1:-2:2]):
            X = torch.relu(torch.addmm(b, X, W.T))
        return (torch.addmm(self.weights[-1], X, self.weights[-2].T).argmax(1) != y).double().mean().item()


def trainer(how, sizes, eta, seed=1):
    """One of HOWS, with Adam."""
    model = network(sizes, seed)
    if how == "by hand, compile":
        return ByHand(model, eta)
    return Autograd(model, torch.optim.Adam(model.parameters(), lr=eta, fused=True), compiled=how == "compile")


def epoch(step, X, y, batch=BATCH):
    """Every row once, shuffled, but for those that do not fill a batch. Rows are gathered all at once: the fastest."""
    order = torch.randperm(len(X))[: len(X) // batch * batch]
    for rows, labels in zip(X[order].split(batch), y[order].split(batch)):
        step(rows, labels)


def one_cycle(peak, steps):
    """The learning rate of each step: up to `peak` in the first 30%, then down to nothing, both by cosines."""
    up = max(1, round(0.3 * steps))
    for step in range(up):
        yield peak * (0.52 - 0.48 * math.cos(math.pi * step / up))
    for step in range(steps - up):
        yield peak * (0.5 + 0.5 * math.cos(math.pi * step / (steps - up)))


def time_step(how, inputs, hidden, classes):
    """Samples per second; the letters where they fit, otherwise numbers drawn at random: they take the same time."""
    if inputs == work.FEATURES:
        [(features, labels)] = work.standardised(work.shard(1))
    else:
        features, labels = work.random_rows(4096, inputs, classes)
    X, y = torch.tensor(features), torch.tensor(labels)
    trained = trainer(how, [inputs, hidden, classes], 1e-3)
    first = trained.state()
    rows = len(X) // BATCH * BATCH
    best, median = work.samples_per_second(
        lambda: trained.reset(first), lambda: epoch(trained.step, X, y), rows, seconds=1.0, steps=3
    )
    work.tell(
        f"torch {torch.__version__} {how}",
        f"step {inputs}-{hidden}-{classes} float32 batch {BATCH} adam",
        samples_per_s=best,
        median=median,
        error=trained.error(X, y),
    )


def main():
    match sys.argv[1:]:
        case [how, inputs, classes, *sizes]:
            torch.set_num_threads(1)
            for hidden in sizes:
                torch.compiler.reset()  # as in a process of its own, without the seconds to load torch
                time_step(how, int(inputs), int(hidden), int(classes))
        case []:
            plotted = [(how, work.FEATURES, work.CLASSES, *work.PLOT_SIZES) for how in ("eager", "by hand, compile")]
            compiled = [("compile", work.FEATURES, work.CLASSES, 256)]
            work.each_in_its_own_process(__file__, plotted + compiled + [(how, 784, 10, 256) for how in HOWS], ["kept"])


if __name__ == "__main__":
    main()
