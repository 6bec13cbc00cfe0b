"""What ours needs to learn, from the outside: two nodes with load 0, a coordinator, and the client, on the jobs of CASES.

    ROUNDTABLE_BIN=target/release/roundtable python ours_learning.py reach|best|fashion

Seconds are those that the client reports, from its start to the result, with reading the data and giving them to the
nodes, which the peers' seconds leave out.
"""

import itertools
import sys

import fashion
import ours
import work

NODES = 2
#: What the client is asked after host and port; the seeds; and what the work is called.
CASES = {
    "reach": (["letters", "--recipe", "letters-fast", "--target-error", work.TARGET], work.SEEDS, work.REACH),
    "best": (["letters", "--recipe", "letters-best"], work.BEST_SEEDS, work.BEST),
    "fashion": (
        [fashion.DIRECTORY, 5, 2, 256, 0.003, "--optimizer", "adam", "--batch-size", 64]
        + ["--schedule", "one-cycle", "--standardize", "--replicas-per-round", 2],
        [1],
        work.FASHION,
    ),
}


def points(report):
    """Seconds and error after each round. What is outside of the rounds (reading, the model's way back) goes first."""
    walls = [line["wall_s"] for line in report["rounds"]]
    before = max(0.0, report["wall_s"] - sum(walls))
    ends = itertools.accumulate(walls, initial=before)
    next(ends)
    return [(end, line["validation_error"]) for end, line in zip(ends, report["rounds"])]


def tell(which, system, name, seed, report, seconds):
    """`seconds` are those with the start of all processes."""
    wall, error = report["wall_s"], report["validation_error"]
    figures = {"learn_s": wall}
    if which == "reach":
        reached = error <= work.TARGET
        figures = {"reach_s": wall if reached else None, "reach_with_start_up_s": seconds if reached else None}
    work.tell(system, name, **figures, error=error, seed=seed, points=points(report))


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in CASES:
        sys.exit(f"which: {', '.join(CASES)}?")
    which = sys.argv[1]
    job, seeds, name = CASES[which]
    binary, version = ours.program()
    if which == "fashion":
        fashion.fetch()
    failed = False
    for seed in seeds:
        ran = ours.run(binary, NODES, [*job, "--seed", seed])
        if ran is None:
            failed = True
        else:
            tell(which, f"ours: {version}, {NODES} nodes", name, seed, *ran)
    sys.exit(failed)


if __name__ == "__main__":
    main()
