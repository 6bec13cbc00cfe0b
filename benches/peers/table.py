"""Makes one table of the lines that the scripts told: of the runs of each case the best, or where seeds differ the
median, and how many times as slow as ours it is. The error is the median's.

Where ours did not run, the ratio is to the best of the others; the column `to` says which.
"""

import json
import math
import re
import statistics
import sys

#: What counts for a case, what of its runs, and whether more of it is better.
FIGURES = {
    "gflops": (max, max),
    "samples_per_s": (max, max),
    "wall_s": (min, min),
    "with_start_up_s": (min, min),
    "reach_s": (statistics.median, min),
    "reach_with_start_up_s": (statistics.median, min),
    "learn_s": (statistics.median, min),
}
NEVER = math.inf  # of a run that ended before the target


def summary(lines):
    """The figures of each case; those of a case that `reach`es nothing are NEVER."""
    runs = {}
    for line in lines:
        runs.setdefault((line["work"], line["system"], line["heap"]), []).append(line)
    return {case: summary_of_runs(told) for case, told in runs.items()}


def summary_of_runs(lines):
    case = {}
    for figure, (of_runs, _) in FIGURES.items():
        if values := [NEVER if line[figure] is None else line[figure] for line in lines if figure in line]:
            case[figure] = of_runs(values)
    errors = [line["error"] for line in lines if "error" in line]
    return {**case, "error": statistics.median(errors) if errors else None}


def by_number(name):
    """Sorts 32 before 128."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def rows(cases):
    yield ["work", "system", "heap", "figure", "value", "ratio", "to", "error"]
    for figure, (_, better) in FIGURES.items():
        for work in sorted({work for work, _, _ in cases}, key=by_number):
            here = {key: case for key, case in cases.items() if key[0] == work and figure in case}
            if not here:
                continue
            ours = [case[figure] for (_, system, _), case in here.items() if system.startswith("ours")]
            base = better(ours or [case[figure] for case in here.values()])
            for (_, system, heap), case in sorted(here.items(), key=lambda item: item[1][figure]):
                value, error = case[figure], case["error"]
                told = "never" if value == NEVER else f"{value:,.0f}" if better is max else f"{value:.3f}"
                # Above 1: so many times as slow as the base.
                ratio = "-" if NEVER in (value, base) else f"{base / value if better is max else value / base:.2f}"
                to = "ours" if ours else "best"
                yield [work, system, heap, figure, told, ratio, to, "" if error is None else f"{error:.4f}"]


def main():
    table = list(rows(summary([json.loads(line) for line in sys.stdin if line.startswith("{")])))
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    numbers = {4, 5, 7}
    for row in table:
        cells = [cell.rjust(w) if n in numbers else cell.ljust(w) for n, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main()
