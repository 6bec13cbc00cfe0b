"""Draws the lines that the scripts told as an SVG: python3 plot.py < ../../target/peers.jsonl > ../../reports/baseline.svg"""

import json
import re
import sys

WIDTH, BAR, GAP, LEFT = 860, 20, 6, 250
OURS, THEIRS = "#1f6f8b", "#b0b7bd"
PANELS = [
    ("job letters 3 75 24 0.0001: seconds, processes started before (less is better)", "job", "wall_s", min),
    ("the same with the start of all processes: seconds (less is better)", "job", "with_start_up_s", min),
    ("step 16-24-26, f32, one thread: million samples per second (more is better)", "step 16-24-26 float32", "samples_per_s", max),
    ("step 16-24-26, f64, one thread: million samples per second (more is better)", "step 16-24-26 float64", "samples_per_s", max),
    ("step 16-256-26, f32, one thread: million samples per second (more is better)", "step 16-256-26 float32", "samples_per_s", max),
]


def main():
    lines = [json.loads(line) for line in sys.stdin if line.startswith("{")]
    parts, y = [], 10
    for title, work, figure, better in PANELS:
        best = {}
        for line in lines:
            if line["work"].startswith(work) and figure in line:
                name = re.sub(r"\+cu\d+", "", line["system"])
                best[name] = better(best.get(name, line[figure]), line[figure])
        if not best:
            continue
        scale = 1e6 if figure == "samples_per_s" else 1
        rows = sorted(best.items(), key=lambda row: row[1], reverse=better is max)
        y += 18
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{title}</text>')
        y += 8
        longest = max(best.values())
        for name, value in rows:
            length = max(1, (WIDTH - LEFT - 80) * value / longest)
            colour = OURS if name.startswith("ours") else THEIRS
            parts.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{name}</text>')
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 15}">{value / scale:.3g}</text>')
            y += BAR + GAP
        y += 14
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"')
    print('  font-family="sans-serif" font-size="13" fill="#222">')
    print(f'<rect width="{WIDTH}" height="{y}" fill="white"/>')
    print("\n".join(parts))
    print("</svg>")


if __name__ == "__main__":
    main()
