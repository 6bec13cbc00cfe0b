"""Makes one table of the lines that the scripts told: the best of the runs of each case, and how many times as slow as
ours it is.

Where ours did not run, the ratio is to the best of the others; the column `to` says which.
"""

import json
import sys

#: What counts for a case, and whether more of it is better.
FIGURES = {"samples_per_s": max, "wall_s": min, "with_start_up_s": min}


def best_of_each(lines):
    cases = {}
    for line in lines:
        case = cases.setdefault((line["work"], line["system"], line["heap"]), {"error": line["error"]})
        for figure, better in FIGURES.items():
            if figure in line:
                case[figure] = better(case.get(figure, line[figure]), line[figure])
    return cases


def rows(cases):
    yield ["work", "system", "heap", "figure", "best", "ratio", "to", "error"]
    for figure, better in FIGURES.items():
        for work in dict.fromkeys(work for work, _, _ in cases):
            here = {key: case for key, case in cases.items() if key[0] == work and figure in case}
            if not here:
                continue
            ours = [case[figure] for (_, system, _), case in here.items() if system.startswith("ours")]
            base = better(ours or [case[figure] for case in here.values()])
            for (_, system, heap), case in sorted(here.items(), key=lambda item: item[1][figure]):
                # Above 1: so many times as slow as the base.
                ratio = base / case[figure] if better is max else case[figure] / base
                told = f"{case[figure]:,.0f}" if better is max else f"{case[figure]:.3f}"
                yield [work, system, heap, figure, told, f"{ratio:.2f}", "ours" if ours else "best", f"{case['error']:.3f}"]


def main():
    table = list(rows(best_of_each([json.loads(line) for line in sys.stdin if line.startswith("{")])))
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    numbers = {4, 5, 7}
    for row in table:
        cells = [cell.rjust(w) if n in numbers else cell.ljust(w) for n, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main()
