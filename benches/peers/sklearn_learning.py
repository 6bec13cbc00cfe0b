"""scikit-learn on the same work, one thread (the trees two): an epoch of MLPClassifier's mini-batch Adam (`step`), letters
to 5% error (`reach`), and what two other kinds of model make of the letters (`best`): an SVM and extremely random trees.

The settings of the MLP and the SVM were chosen as in torch_learning.py; the trees have scikit-learn's own.
"""

import os
import sys

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is loaded

import time
import warnings

import numpy as np
import sklearn
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import work

NAME = f"scikit-learn {sklearn.__version__}"
REACH = {"batch_size": 128, "learning_rate_init": 0.008}
EPOCHS = 40  # at most, to the target


def perceptron(**settings):
    """With float32 data it computes in float32."""
    return MLPClassifier((256,), solver="adam", alpha=0.0, **settings)


def wrong(model, data):
    return float(np.mean(model.predict(data[0]) != data[1]))


def step():
    """`partial_fit` is one epoch: shuffled batches of 64, and the short one at the end."""
    [(X, y)] = work.standardised(work.shard(1))
    made = {}

    def reset():
        made["model"] = perceptron(batch_size=64, random_state=1)
        made["model"].partial_fit(X[:64], y[:64], classes=np.arange(work.CLASSES))

    reset()
    best, median = work.samples_per_second(reset, lambda: made["model"].partial_fit(X, y), len(X), seconds=2.0, steps=3)
    figures = {"samples_per_s": best, "median": median, "error": wrong(made["model"], (X, y))}
    work.tell(f"{NAME} MLPClassifier", "step 16-256-26 float32 batch 64 adam", **figures)


def reach(seed):
    data, validation = work.standardised(work.training(), work.validation())
    model = perceptron(**REACH, random_state=seed)
    curve = work.Curve()
    for _ in range(EPOCHS):
        model.partial_fit(*data, classes=np.arange(work.CLASSES))
        if curve.add(wrong(model, validation)):
            break
    curve.tell(f"{NAME} MLPClassifier", seed=seed)


def best(which):
    """The seconds of the fit, and the error after it."""
    data, validation = work.standardised(work.training(), work.validation())
    models = {"RBF SVM": SVC(C=10, gamma=0.1), "ExtraTrees-300": ExtraTreesClassifier(300, n_jobs=2, random_state=1)}
    model = models[which]
    started = time.perf_counter()
    model.fit(*data)
    seconds = time.perf_counter() - started
    work.tell(f"{NAME} {which}", work.BEST, learn_s=seconds, error=wrong(model, validation))


def main():
    warnings.simplefilter("ignore")  # of batches that are larger than the rows, as in `reset`
    match sys.argv[1:]:
        case ["step"]:
            work.each_in_its_own_process(__file__, [("step", 1)], ["kept"])
        case ["reach"]:
            work.each_in_its_own_process(__file__, [("reach", seed) for seed in work.SEEDS], ["kept"])
        case ["best"]:
            work.each_in_its_own_process(__file__, [("best", which) for which in ("RBF SVM", "ExtraTrees-300")], ["kept"])
        case ["step", _]:
            step()
        case ["reach", seed]:
            reach(int(seed))
        case ["best", which]:
            best(which)
        case _:
            sys.exit("which: step, reach or best?")


if __name__ == "__main__":
    main()
