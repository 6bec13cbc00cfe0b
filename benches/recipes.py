"""Chooses recipes: python3 benches/recipes.py FILE [SEEDS] trains what each line of FILE says and prints its worth.

A line is what `client` takes after the directory, such as `20 2 256 0.005 --optimizer adam --batch-size 64`. Each is
cross-validated inside the training files of letters/: in turn some of them are held out and the rest is trained on, by
two nodes. The validation file is never looked at. For each line: mean error of the last round over the splits and
seeds, and the round and the second in which the mean over the splits came to 5%, if it did.
"""

import itertools
import pathlib
import shutil
import statistics
import sys
import tempfile

from baseline import ROOT, cluster
import baseline

TRAINING = [ROOT / f"letters/train_letters{number}.txt" for number in range(1, 12)]
#: Which files are held out together.
SPLITS = [TRAINING[0:3], TRAINING[3:6], TRAINING[6:9], TRAINING[9:11]]
TARGET = 0.05


def split(directory, held_out):
    """A data set of the training files, in which those held out are for validation."""
    directory.mkdir()
    for path in TRAINING:
        if path not in held_out:
            shutil.copy(path, directory)
    (directory / "validate.txt").write_text("".join(path.read_text() for path in held_out))
    return directory


def reaches(runs):
    """The first round whose mean error over the runs is at most the target, and the mean seconds until then."""
    rounds = list(itertools.zip_longest(*[run["rounds"] for run in runs]))
    for place, of_runs in enumerate(rounds):
        lines = [line for line in of_runs if line]
        if statistics.mean(line["validation_error"] for line in lines) <= TARGET:
            seconds = [sum(line["wall_s"] for line in run["rounds"][: place + 1]) for run in runs]
            return f"5% in round {place + 1:3}, {statistics.mean(seconds):.3f} s"
    return "5% never"


def main(path, seeds=1):
    candidates = [line.split() for line in pathlib.Path(path).read_text().splitlines() if line.split("#")[0].strip()]
    with tempfile.TemporaryDirectory() as directory, cluster("load-balancing", ["0"] * 2) as (_, (_, address, _)):
        splits = [split(pathlib.Path(directory) / str(place), held) for place, held in enumerate(SPLITS)]
        for candidate in candidates:
            runs = [
                baseline.client(address, *candidate, "--seed", str(seed), data=str(data))
                for data in splits
                for seed in range(1, int(seeds) + 1)
            ]
            errors = [run["validation_error"] for run in runs]
            walls = [run["wall_s"] for run in runs]
            print(
                f"error {statistics.mean(errors):.4f} ({min(errors):.4f} to {max(errors):.4f})  "
                f"{statistics.mean(walls):6.3f} s  {reaches(runs)}  {' '.join(candidate)}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
