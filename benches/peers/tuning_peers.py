"""The searches of benches/tuning.py as users of scikit-learn, joblib and Ray Tune write them; one in a process of its own.

    tuning_peers.py NAME          prints a line of JSON: seconds, trials, best and more

Seconds count from the moment when the data are read and the libraries are imported, as ours count from the client's start;
those that Ray takes to start its own processes are told apart as `start_s`.
"""

import json
import os
import pathlib
import resource
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORESTS = {"n_estimators": [50, 100, 150], "max_depth": [10, 20, None], "ccp_alpha": [0.0, 0.0001, 0.001]}
FOLDS = 3
WIDTHS, RATES, EPOCHS, BATCH = [16, 32, 64, 128, 192, 256], [1e-3, 3e-3, 1e-2], 10, 64
SLOTS = 2


def letters():
    """Features and labels of the training rows, and of the validation rows."""
    def read(path):
        rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
        return rows[:, :-1].astype(np.float32), rows[:, -1]
    parts = [read(ROOT / f"letters/train_letters{number}.txt") for number in range(1, 12)]
    train = tuple(np.concatenate(some) for some in zip(*parts))
    return train, read(ROOT / "letters/validate_letters.txt")


def forests():
    """All 27, as keyword arguments."""
    return [dict(zip(FORESTS, (n, d, a))) for n in FORESTS["n_estimators"] for d in FORESTS["max_depth"] for a in FORESTS["ccp_alpha"]]


def grid_search_cv():
    """scikit-learn's own, a process for each core."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    (x, y), _ = letters()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=1)
    search = GridSearchCV(RandomForestClassifier(random_state=1), FORESTS, cv=folds, n_jobs=SLOTS, refit=False)
    start = time.perf_counter()
    search.fit(x, y)
    return {"seconds": time.perf_counter() - start, "trials": 27, "best": search.best_score_, "configuration": search.best_params_}


def ray_start():
    import ray
    start = time.perf_counter()
    ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level="ERROR", configure_logging=True)
    return time.perf_counter() - start


def ray_run(trainable, space, more=None):
    """Ray Tune over a space of grids; its results, and the seconds that it took."""
    from ray import tune
    start = time.perf_counter()
    tuner = tune.Tuner(trainable, param_space=space, tune_config=tune.TuneConfig(metric="accuracy", mode="max", **(more or {})),
                       run_config=tune.RunConfig(verbose=0, storage_path=str(ROOT / "target/ray-results")))
    results = tuner.fit()
    return results, time.perf_counter() - start


def ray_forests():
    """Ray Tune, a trial being a cross-validated forest; the data lie in the object store."""
    import ray
    from ray import tune
    started = ray_start()
    (x, y), _ = letters()
    data = ray.put((x, y))

    def trial(configuration):
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import StratifiedKFold, cross_val_score
        x, y = ray.get(data)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=1)
        forest = RandomForestClassifier(random_state=1, **configuration)
        return {"accuracy": float(cross_val_score(forest, x, y, cv=folds).mean())}

    results, seconds = ray_run(tune.with_resources(trial, {"cpu": 1}), {name: tune.grid_search(values) for name, values in FORESTS.items()})
    best = results.get_best_result()
    return {"seconds": seconds, "start_s": started, "trials": len(results), "best": best.metrics["accuracy"], "configuration": best.config}


def ray_nothing(trials=100):
    """Ray Tune with trials that do nothing."""
    from ray import tune
    started = ray_start()

    def trial(configuration):
        return {"accuracy": configuration["x"]}

    results, seconds = ray_run(tune.with_resources(trial, {"cpu": 1}), {"x": tune.uniform(0, 1)}, {"num_samples": trials})
    return {"seconds": seconds, "start_s": started, "trials": len(results), "best": results.get_best_result().metrics["accuracy"]}


def networks():
    return [{"h": h, "eta": eta} for h in WIDTHS for eta in RATES]


def train_network(train, validation, h, eta):
    """The network of our grid in PyTorch on one thread; its accuracy on the validation rows."""
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(1)
    x, y = torch.from_numpy(train[0]), torch.from_numpy(train[1])
    model = torch.nn.Sequential(torch.nn.Linear(16, h), torch.nn.ReLU(), torch.nn.Linear(h, 26))
    optimizer = torch.optim.Adam(model.parameters(), lr=eta)
    loss = torch.nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start:start + BATCH]
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        said = model(torch.from_numpy(validation[0])).argmax(1)
    return float((said == torch.from_numpy(validation[1])).double().mean())


def joblib_networks():
    """joblib's processes, which have imported PyTorch before the clock starts."""
    from joblib import Parallel, delayed
    train, validation = letters()
    with Parallel(n_jobs=SLOTS) as pool:
        pool(delayed(train_network)(tuple(a[:640] for a in train), validation, 8, 1e-3) for _ in range(2 * SLOTS))
        start = time.perf_counter()
        scores = pool(delayed(train_network)(train, validation, one["h"], one["eta"]) for one in networks())
        seconds = time.perf_counter() - start
    best = int(np.argmax(scores))
    return {"seconds": seconds, "trials": len(scores), "best": scores[best], "configuration": networks()[best]}


def ray_networks(reuse=False):
    """Ray Tune with PyTorch, an actor for each trial, or actors that are used again."""
    import ray
    from ray import tune
    started = ray_start()
    data = ray.put(letters())
    space = {"h": tune.grid_search(WIDTHS), "eta": tune.grid_search(RATES)}

    class Trial(tune.Trainable):
        def setup(self, configuration):
            self.configuration = configuration

        def reset_config(self, configuration):
            self.configuration = configuration
            return True

        def step(self):
            train, validation = ray.get(data)
            return {"accuracy": train_network(train, validation, **self.configuration), "done": True}

    def trial(configuration):
        train, validation = ray.get(data)
        return {"accuracy": train_network(train, validation, **configuration)}

    what = tune.with_resources(Trial if reuse else trial, {"cpu": 1})
    results, seconds = ray_run(what, space, {"reuse_actors": True} if reuse else {})
    best = results.get_best_result()
    return {"seconds": seconds, "start_s": started, "trials": len(results), "best": best.metrics["accuracy"], "configuration": best.config}


ALL = {
    "GridSearchCV": grid_search_cv,
    "Ray Tune forests": ray_forests,
    "Ray Tune nothing": ray_nothing,
    "joblib + torch": joblib_networks,
    "Ray Tune + torch": ray_networks,
    "Ray Tune + torch, actors used again": lambda: ray_networks(True),
}


def main():
    import tuning_venv
    tuning_venv.enter()
    told = ALL[sys.argv[1]]()
    told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({key: value if isinstance(value, (int, float, str)) else str(value) for key, value in told.items()}))


if __name__ == "__main__":
    main()
