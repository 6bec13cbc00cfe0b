"""The same step in PyTorch on one thread: as users write it (autograd and SGD), and with its gradients written out by
hand; each eager, and through torch.compile where that works.

With the word `sizes` it times the usual one and the fastest at each of the plot's sizes instead.
"""

import sys

import torch

import work


def network(hidden, dtype):
    torch.manual_seed(1)
    layers = torch.nn.Linear(work.FEATURES, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, work.CLASSES)
    return torch.nn.Sequential(*layers).to(dtype)


def stepper(model, X, y):
    optimiser = torch.optim.SGD(model.parameters(), lr=work.ETA)
    loss = torch.nn.CrossEntropyLoss(reduction="sum")

    def forward():
        return loss(model(X), y)

    def step(forward=forward):
        optimiser.zero_grad()
        forward().backward()
        optimiser.step()

    return forward, step


@torch.no_grad()
def by_hand(V, W, X, R, eta):
    """V is (h+1) x k, W is (d+1) x h, X has a column of ones; answers the weights after the step, and the loss."""
    sums = X @ W
    hidden = torch.relu(sums)
    logits = hidden @ V[1:] + V[0]
    Y = torch.softmax(logits, 1)
    D = R - Y
    loss = -torch.log((Y * R).sum(1) + 1e-6).sum()
    dZ = (D @ V[1:].T) * (sums >= 0)
    return V + eta * torch.cat([D.sum(0, keepdim=True), hidden.T @ D]), W + eta * (X.T @ dZ), loss


def time_by_hand(how, dtype, hidden, seconds):
    torch.manual_seed(1)
    features, labels = work.shard(1)
    X = torch.tensor(features, dtype=getattr(torch, dtype))
    X = torch.cat([torch.ones(len(X), 1, dtype=X.dtype), X], 1)
    R = torch.nn.functional.one_hot(torch.tensor(labels), work.CLASSES).to(X.dtype)
    first = [(torch.rand(n + 1, m, dtype=X.dtype) - 0.5) * 0.2 for n, m in ((hidden, work.CLASSES), (work.FEATURES, hidden))]
    run = torch.compile(by_hand, dynamic=False) if how.endswith("compile") else by_hand
    weights = list(first)

    def reset():
        weights[:] = first

    def step():
        weights[0], weights[1], _ = run(weights[0], weights[1], X, R, work.ETA)

    best, median = work.samples_per_second(reset, step, len(X), seconds)
    V, W = weights
    error = ((torch.relu(X @ W) @ V[1:] + V[0]).argmax(1) != torch.tensor(labels)).double().mean().item()
    work.tell(f"torch {torch.__version__} {how}", f"step 16-{hidden}-26 {dtype}", samples_per_s=best, median=median, error=error)


def time_step(how, dtype, hidden, seconds):
    features, labels = work.shard(1)
    X, y = torch.tensor(features, dtype=getattr(torch, dtype)), torch.tensor(labels)
    model = network(hidden, X.dtype)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    forward, step = stepper(model, X, y)
    if how == "compile":
        compiled = torch.compile(forward)
        timed = lambda: step(compiled)
    else:
        timed = step
    best, median = work.samples_per_second(lambda: model.load_state_dict(first), timed, len(X), seconds)
    error = (model(X).argmax(1) != y).double().mean().item()
    name = f"step 16-{hidden}-26 {dtype}"
    work.tell(f"torch {torch.__version__} {how}", name, samples_per_s=best, median=median, error=error)


def main():
    hows = ("eager", "compile", "by hand, eager", "by hand, compile")
    match sys.argv[1:]:
        case []:
            cases = [(how, dtype, "4", h) for dtype in ("float32", "float64") for h in work.STEP_SIZES for how in hows]
            work.each_in_its_own_process(__file__, cases)
        case ["sizes"]:
            cases = [(how, "float32", "1", *work.PLOT_SIZES) for how in (hows[0], hows[-1])]
            work.each_in_its_own_process(__file__, cases, ["kept"])
        case [how, dtype, seconds, *sizes]:
            torch.set_num_threads(1)
            timer = time_by_hand if how.startswith("by hand") else time_step
            for hidden in sizes:
                torch.compiler.reset()  # as in a process of its own, without the seconds to load torch
                timer(how, dtype, int(hidden), float(seconds))


if __name__ == "__main__":
    main()
