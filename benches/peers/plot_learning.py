"""Draws lines of target/learning.jsonl as an SVG on stdout: validation error against seconds, or steps against size.

    ../../target/peers-venv/bin/python plot_learning.py error < ../../target/learning.jsonl > ../../reports/learning-error.svg
"""

import json
import math
import re
import sys
from xml.sax.saxutils import escape

import work

OURS = ["#1f6f8b", "#6fb3c8"]
#: Of others, in the order of their names: colours that differ for all eyes, and dashes that differ without colours.
COLOURS = ["#d55e00", "#e69f00", "#009e73", "#cc79a7", "#7f5fc4", "#8c6d46", "#555555"]
DASHES = ["", "7 3", "2 2", "9 3 2 3", "5 2", "4 2", "12 4"]
GRID, TEXT = "#e3e6e8", "#222"
LINE = 17  # the height of a line of text


class Panel:
    """A pair of logarithmic axes: what is at (x, y) is drawn by `line`, `marks` and `text`."""

    def __init__(self, box, x_range, y_range):
        self.left, self.top, self.right, self.bottom = box
        self.x_range, self.y_range = x_range, y_range
        self.parts = []

    def x(self, value):
        low, high = map(math.log, self.x_range)
        return self.left + (self.right - self.left) * (math.log(value) - low) / (high - low)

    def y(self, value):
        low, high = map(math.log, self.y_range)
        return self.bottom - (self.bottom - self.top) * (math.log(value) - low) / (high - low)

    def axes(self, title, x_title, x_ticks, y_title, y_ticks):
        """Ticks are pairs of value and label."""
        middle = (self.top + self.bottom) / 2
        self.text(self.left, self.top - 12, title, 'font-weight="bold"')
        self.text((self.left + self.right) / 2, self.bottom + 38, x_title, 'text-anchor="middle"')
        self.text(0, 0, y_title, f'text-anchor="middle" transform="translate({self.left - 58} {middle}) rotate(-90)"')
        for value, label in x_ticks:
            self.rule(self.x(value), self.top, self.x(value), self.bottom)
            self.text(self.x(value), self.bottom + LINE, label, 'text-anchor="middle"')
        for value, label in y_ticks:
            self.rule(self.left, self.y(value), self.right, self.y(value))
            self.text(self.left - 6, self.y(value) + 4, label, 'text-anchor="end"')

    def rule(self, x1, y1, x2, y2, style=f'stroke="{GRID}"'):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')

    def text(self, x, y, words, style=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>')

    def line(self, points, colour, dash="", width=2.0, dots=True):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        style = f'fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"'
        self.parts.append(f'<polyline points="{path}" {style}/>')
        for x, y in points if dots else []:
            self.parts.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{width + 0.6}" fill="{colour}"/>')


def ticks(low, high, steps=(1, 2, 5)):
    """1, 2 and 5 of each power of ten in the range."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high * 1.0001]


def short(number):
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g} {unit}"
    return f"{number:g}"


def name_of(line):
    return re.sub(r"\+cu\d+", "", line["system"])


def styles(names):
    """Colour, dash and width of each line; ours are thick."""
    ours = [name for name in names if name.startswith("ours")]
    others = sorted(set(names) - set(ours))
    of_ours = {name: (OURS[n % len(OURS)], "", 3.5) for n, name in enumerate(sorted(ours, reverse=True))}
    return of_ours | {
        name: (COLOURS[n % len(COLOURS)], DASHES[n % len(DASHES)], 2.0) for n, name in enumerate(others)
    }


def apart(wanted, least=LINE):
    """The places nearest to those wanted, from above to below, with `least` between."""
    placed = []
    for place in sorted(wanted):
        placed.append(max(place, placed[-1] + least) if placed else place)
    return placed


def median_run(runs):
    """The run whose time to the target is the median's, or the better of the two in the middle."""
    reach = lambda run: math.inf if run["reach_s"] is None else run["reach_s"]
    return sorted(runs, key=reach)[(len(runs) - 1) // 2]


def plot_error(lines):
    """A line for each system, of its median run; the legend tells when it crosses the target."""
    runs = {}
    for line in lines:
        if line["work"] == work.REACH and line.get("points"):
            runs.setdefault(name_of(line), []).append(line)
    if not runs:
        sys.exit(f"no lines of {work.REACH}")
    chosen = {name: median_run(told) for name, told in runs.items()}
    points = [point for run in chosen.values() for point in run["points"]]
    x_range = min(x for x, _ in points) * 0.8, max(x for x, _ in points) * 1.15
    y_range = min(work.TARGET, *(max(y, 1e-3) for _, y in points)) * 0.85, max(y for _, y in points) * 1.1
    panel = Panel((80, 40, 650, 420), x_range, y_range)
    panel.axes(
        "Letters: validation error against seconds",
        "seconds of wall clock, processes started before",
        [(x, f"{x:g}") for x in ticks(*x_range)],
        "validation error",
        [(y, f"{y:.0%}") for y in ticks(*y_range, steps=(1, 1.5, 2, 3, 5, 7))],
    )
    target = panel.y(work.TARGET)
    panel.rule(panel.left, target, panel.right, target, f'stroke="{TEXT}" stroke-dasharray="4 4"')
    panel.text(panel.left + 5, target - 5, f"target {work.TARGET:.0%}")
    look = styles(chosen)
    ordered = sorted(chosen, key=lambda name: math.inf if chosen[name]["reach_s"] is None else chosen[name]["reach_s"])
    for name in reversed(ordered):
        colour, dash, width = look[name]
        panel.line([(x, max(y, 1e-3)) for x, y in chosen[name]["points"]], colour, dash, width)
    left, y = panel.right + 24, panel.top + 12
    panel.text(left, y, "seconds to 5%, median run", 'font-weight="bold"')
    for name in ordered:
        colour, dash, width = look[name]
        y += LINE + 7
        sample = f'stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"'
        panel.rule(left, y - 4, left + 34, y - 4, sample)
        reached = chosen[name]["reach_s"]
        panel.text(left + 42, y, f"{'never' if reached is None else f'{reached:.2f}'}  {name}")
    return 1090, 480, panel.parts


def rates(lines, pattern):
    """For each system with at least three sizes, the best rate at each."""
    best = {}
    for line in lines:
        if found := re.fullmatch(pattern, line["work"]):
            sizes = best.setdefault(name_of(line), {})
            sizes[int(found[1])] = max(sizes.get(int(found[1]), 0), line["samples_per_s"])
    return {name: sorted(sizes.items()) for name, sizes in best.items() if len(sizes) >= 3}


def roofline(gflops):
    """Samples per second at the peak: of each weight a multiplication and an addition forward, as many for its slope, and
    in the second layer as many for the slope of its input; Adam's are not counted."""
    inputs, outputs = work.FEATURES, work.CLASSES
    return [(h, gflops * 1e9 / (2 * h * (2 * inputs + 3 * outputs))) for h in work.PLOT_SIZES]


def plot_steps(lines):
    """A panel for each kind of step, with a label at the end of each line."""
    kinds = {
        "full batch of 1,500 rows": r"step 16-(\d+)-26 float32",
        "batches of 64 rows, Adam": r"step 16-(\d+)-26 float32 batch 64 adam",
    }
    told = {kind: rates(lines, pattern) for kind, pattern in kinds.items()}
    if not any(told.values()):
        sys.exit("no lines of steps")
    peaks = [line["gflops"] for line in lines if "gflops" in line]
    roof = roofline(max(peaks)) if peaks else []
    everything = roof + [point for systems in told.values() for points in systems.values() for point in points]
    y_range = min(rate for _, rate in everything) * 0.7, max(rate for _, rate in everything) * 1.3
    x_range = work.PLOT_SIZES[0] / 1.08, work.PLOT_SIZES[-1] * 1.08
    look = styles({name for systems in told.values() for name in systems})
    parts, left = [], 85
    for kind, systems in told.items():
        panel = Panel((left, 40, left + 400, 440), x_range, y_range)
        x_ticks = [(h, str(h)) for h in work.PLOT_SIZES]
        y_ticks = [(y, short(y)) for y in ticks(*y_range)]
        panel.axes(f"16-h-26, f32, one thread: {kind}", "hidden units h", x_ticks, "samples per second", y_ticks)
        draw_rates(panel, systems, roof, f"{max(peaks):.0f} GFLOP/s" if peaks else "", look)
        parts += panel.parts
        left += 720
    return left - 70, 500, parts


def draw_rates(panel, systems, roof, peak, look):
    drawn = {f"roofline: FMA peak, {peak}": (roof, ("#999", "3 3", 1.5))} if roof else {}
    drawn |= {name: (points, look[name]) for name, points in systems.items()}
    for name, (points, (colour, dash, width)) in drawn.items():
        panel.line(points, colour, dash, width, dots=points is not roof)
    ordered = sorted(drawn.items(), key=lambda item: panel.y(item[1][0][-1][1]))
    places = apart([panel.y(points[-1][1]) for _, (points, _) in ordered])
    for (name, (points, (colour, _, width))), place in zip(ordered, places):
        x, y = panel.x(points[-1][0]), panel.y(points[-1][1])
        panel.rule(x + 4, y, panel.right + 18, place, f'stroke="{colour}" stroke-width="0.8"')
        bold = ' font-weight="bold"' if width > 3 else ""
        panel.text(panel.right + 22, place + 4, name, f'fill="{colour}"{bold}')


def main():
    plots = {"error": plot_error, "steps": plot_steps}
    if len(sys.argv) != 2 or sys.argv[1] not in plots:
        sys.exit(f"which: {', '.join(plots)}?")
    width, height, parts = plots[sys.argv[1]]([json.loads(line) for line in sys.stdin if line.startswith("{")])
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"')
    print(f'  font-family="sans-serif" font-size="13" fill="{TEXT}">')
    print(f'<rect width="{width}" height="{height}" fill="white"/>')
    print("\n".join(parts))
    print("</svg>")


if __name__ == "__main__":
    main()
