"""Random forests on one thread: roundtable against scikit-learn.

    cargo build --release --example forest
    python3 benches/peers/forest.py [letters] [covertype] [turns]

Needs the packages `numpy` and `scikit-learn`. Both sides run in processes of their own and take turns on the same core;
what counts is the best time of each. Ours includes the binning, which is done once for any number of fits. Other work
on the machine makes times longer; the ratios are to be trusted more than the times.

letters: the files in letters/, 100 trees, all other settings as they are.

covertype: 581,012 rows to learn from and 100,000 to measure with, like the forest cover types of UCI: 10 columns of
integers with up to ten thousand values, 4 columns of which one is 1 (where), 40 of which one is 1 (soil); 7 classes as
frequent as there. The columns of integers are correlated normal numbers; where and soil follow from some of them and
noise; the class is the greatest of 7 outputs of a random network of 48 tanh units over all columns, plus noise. 100
trees of depth 20.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = ROOT / "target/release/examples/forest"
WORK = {
    "letters": {"n_estimators": 100},
    "covertype": {"n_estimators": 100, "max_depth": 20},
}
ROWS, HELD = 581_012, 100_000


def covertype(directory, rows=ROWS + HELD, seed=7):
    """Writes the rows as the example reads them."""
    import numpy as np

    random = np.random.default_rng(seed)
    mix = np.eye(10) + 0.35 * random.standard_normal((10, 10))
    z = random.standard_normal((rows, 10)) @ mix
    z /= z.std(axis=0)
    centre = np.array([2959, 156, 14, 269, 46, 2350, 212, 223, 142, 1980])
    spread = np.array([280, 112, 7.5, 213, 58, 1559, 27, 20, 38, 1324])
    where = 2 * z[:, 5] + z[:, 9] + random.normal(0, 0.7, rows)
    where = np.searchsorted(np.quantile(where, [0.45, 0.5, 0.93]), where)
    soil = 6 * z[:, 0] + 5 * where + random.normal(0, 2, rows)
    soil = np.searchsorted(np.quantile(soil, np.sort(random.random(39))), soil)
    features = np.zeros((rows, 54), np.float32)
    features[:, :10] = np.rint(centre + spread * z)
    features[np.arange(rows), 10 + where] = 1
    features[np.arange(rows), 14 + soil] = 1
    inputs = np.concatenate([z, features[:, 10:]], 1).astype(np.float32)
    first = random.normal(0, 1, (54, 48)).astype(np.float32)
    first[10:] *= 0.7
    second = random.normal(0, 1, (48, 7)).astype(np.float32)
    outputs = np.tanh(inputs @ first + random.normal(0, 1, 48)) @ second
    outputs = 2 * outputs / outputs.std() + random.gumbel(0, 0.35, (rows, 7))
    shares = np.array([0.365, 0.488, 0.062, 0.005, 0.016, 0.030, 0.034])
    bias = np.log(shares)
    for _ in range(60):
        found = np.bincount((outputs + bias).argmax(1), minlength=7) / rows
        bias += 0.5 * np.log(shares / np.maximum(found, 1e-4))
    labels = (outputs + bias).argmax(1).astype(np.uint32)
    for name, part in (("train", slice(0, rows - HELD)), ("held", slice(rows - HELD, rows))):
        features[part].tofile(directory / f"{name}.f32")
        labels[part].tofile(directory / f"{name}.u32")
    (directory / "shape.json").write_text(json.dumps({"columns": 54, "classes": 7}))


def theirs(directory, settings, seed):
    """Prints what scikit-learn makes of the same rows."""
    import numpy as np
    import sklearn
    from sklearn.ensemble import RandomForestClassifier

    def read(name):
        features = np.fromfile(directory / f"{name}.f32", np.float32).reshape(-1, 54)
        return features, np.fromfile(directory / f"{name}.u32", np.uint32)

    if (directory / "shape.json").exists():
        learnt, held = read("train"), read("held")
    else:
        import work

        learnt, held = work.training(), work.validation()
    model = RandomForestClassifier(n_jobs=1, random_state=seed, **settings)
    start = time.perf_counter()
    model.fit(*learnt)
    fit_s = time.perf_counter() - start
    start = time.perf_counter()
    error = float(np.mean(model.predict(held[0]) != held[1]))
    measure_s = time.perf_counter() - start
    leaves = int(sum(tree.get_n_leaves() for tree in model.estimators_))
    told = {"fit_s": fit_s, "measure_s": measure_s, "error": error, "leaves": leaves, "version": sklearn.__version__}
    print(json.dumps(told))


def run(*arguments):
    """What a program prints, and its peak memory in bytes; this process has little, which would count as the program's."""
    child = subprocess.Popen([str(a) for a in arguments], stdout=subprocess.PIPE, text=True)
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{arguments[0]} has failed")
    return json.loads(said) | {"peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)}


def compare(name, directory, turns):
    settings = json.dumps(WORK[name])
    ours, peers = [], []
    for seed in range(1, turns + 1):
        ours.append(run(OURS, directory, settings, seed))
        peers.append(run(sys.executable, __file__, "theirs", directory, settings, seed))
    print(f"{name}, {WORK[name]}, {turns} turns")
    print(f"{'':24}{'fit s':>9}{'error':>9}{'leaves':>10}{'measure s':>11}{'peak MB':>9}")
    best = {}
    for side, runs in (("roundtable", ours), (f"scikit-learn {peers[0]['version']}", peers)):
        best[side] = min(one["fit_s"] + one.get("bin_s", 0.0) for one in runs)
        error = sum(one["error"] for one in runs) / turns
        leaves = sum(one["leaves"] for one in runs) / turns
        measure, peak = min(one["measure_s"] for one in runs), max(one["peak"] for one in runs)
        print(f"{side:24}{best[side]:9.3f}{error:9.4f}{leaves:10.0f}{measure:11.4f}{peak / 1e6:9.0f}")
    mine, other = best.values()
    data = sum(path.stat().st_size for path in directory.glob("*.?32"))
    one = ours[-1]
    print(f"ours takes {mine / other:.3f} of their time, {one['bin_s']:.3f} s of it for bins")
    if data:
        bound = data + one["model_bytes"]
        print(f"our peak is {max(one['peak'] for one in ours) / bound:.2f} of the rows and the model, {bound / 1e6:.0f} MB")
    print()


def main(arguments):
    turns = next((int(word) for word in arguments if word.isdigit()), 3)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for name in [word for word in arguments if word in WORK] or list(WORK):
        if name == "letters":
            compare(name, ROOT / "letters", turns)
            continue
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([sys.executable, __file__, "covertype", directory], check=True)
            compare(name, pathlib.Path(directory), turns)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["theirs", directory, settings, seed]:
            theirs(pathlib.Path(directory), json.loads(settings), int(seed))
        case ["covertype", directory] if pathlib.Path(directory).is_dir():
            covertype(pathlib.Path(directory))
        case arguments:
            main(arguments)
