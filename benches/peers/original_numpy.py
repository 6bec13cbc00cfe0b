"""The original's step in numpy: the same mathematics, vectorised, one thread."""

import os
import sys

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is loaded

import numpy as np

import work


class Network:
    def __init__(self, dtype, hidden):
        self.dtype, self.hidden = dtype, hidden
        self.reset()

    def reset(self):
        rng = np.random.default_rng(1)
        self.V = rng.uniform(-0.1, 0.1, (self.hidden + 1, work.CLASSES)).astype(self.dtype)
        self.W = rng.uniform(-0.1, 0.1, (work.FEATURES + 1, self.hidden)).astype(self.dtype)

    def forward(self, X):
        sums = X @ self.W
        Z = np.empty((len(X), sums.shape[1] + 1), X.dtype)
        Z[:, 0] = 1.0
        np.maximum(sums, 0.0, out=Z[:, 1:])
        O = Z @ self.V
        E = np.exp(O - O.max(axis=1, keepdims=True))
        return sums, Z, E / (E.sum(axis=1, keepdims=True) + 1e-6 * E)

    def step(self, X, R, eta):
        sums, Z, Y = self.forward(X)
        D = R - Y
        loss = -np.log(Y[R > 0] + 1e-6).sum()  # the original looks at it after every step
        dV = Z.T @ D
        dW = X.T @ ((D @ self.V[1:].T) * (sums >= 0.0))
        self.V += eta * dV
        self.W += eta * dW
        return loss


def time_step(dtype, hidden):
    features, labels = work.shard(1)
    X = np.hstack([np.ones((len(features), 1)), features]).astype(dtype)
    R = np.eye(work.CLASSES, dtype=dtype)[labels]
    network, eta = Network(dtype, hidden), dtype(work.ETA)
    best, median = work.samples_per_second(network.reset, lambda: network.step(X, R, eta), len(X))
    error = float(np.mean(network.forward(X)[2].argmax(axis=1) != labels))
    name = f"step 16-{hidden}-26 {np.dtype(dtype).name}"
    work.tell(f"numpy {np.__version__}", name, samples_per_s=best, median=median, error=error)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        time_step(np.dtype(sys.argv[1]).type, int(sys.argv[2]))
    else:
        types = ("float32", "float64")
        work.each_in_its_own_process(__file__, [(dtype, h) for dtype in types for h in work.STEP_SIZES])
