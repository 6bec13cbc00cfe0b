"""The original's network in numpy: one hidden layer, full-batch gradient descent in double precision.

V is (h+1) x k and W is (d+1) x h; row 0 of each is the bias.
"""

import numpy as np

#: Training stops when the error changes by no more than this from one epoch to the next.
EARLY_STOP = 0.2


def read_rows(path):
    """The features [n,d] and the labels [n] of a comma-separated file; the label comes last."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
    return table[:, :-1], table[:, -1].astype(np.int64)


def with_bias(rows):
    return np.hstack([np.ones((len(rows), 1)), rows])


def forward(features, V, W):
    """[1 X], [1 X] W, [1 Z] and Y."""
    inputs = with_bias(features)
    sums = inputs @ W
    hidden = with_bias(np.maximum(sums, 0.0))
    outputs = hidden @ V
    # Y_ij = 1 / (sum_m exp(O_im - O_ij) + 1e-6), which is not quite a softmax; both halves multiplied by exp(O_ij).
    E = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    Y = E / (E.sum(axis=1, keepdims=True) + 1e-6 * E)
    return inputs, sums, hidden, Y


def train(features, labels, V, W, eta, epochs):
    """The weights after at most `epochs` steps."""
    answers = np.arange(len(labels)), labels
    R = np.zeros((len(labels), V.shape[1]))
    R[answers] = 1.0
    previous = np.inf
    for _ in range(epochs):
        inputs, sums, hidden, Y = forward(features, V, W)
        error = -np.log(Y[answers] + 1e-6).sum()
        if abs(previous - error) <= EARLY_STOP:
            break  # before this epoch's step, not after it
        previous = error
        dV = eta * hidden.T @ (R - Y)
        dW = eta * inputs.T @ (((R - Y) @ V[1:].T) * (sums >= 0.0))
        V, W = V + dV, W + dW
    return V, W


def error_rate(features, labels, V, W):
    """The share of rows whose most likely class is not their label."""
    Y = forward(features, V, W)[-1]
    return float(np.mean(Y.argmax(axis=1) != labels))


def initial_weights(d, h, k, rng, scale=0.01):
    """Small random numbers; where a round starts from does not belong to the contract."""
    return rng.uniform(-scale, scale, (h + 1, k)), rng.uniform(-scale, scale, (d + 1, h))
