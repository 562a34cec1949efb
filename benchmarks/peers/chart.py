#!/usr/bin/python3
"""Draws the ratios of peers.json as an SVG chart: chart.py <peers.json> <chart.svg>."""

import html
import json
import math
import pathlib
import sys

WIDTH, LABELS, RIGHT = 860, 330, 60
BAR, GAP, TOP, BOTTOM = 11, 14, 62, 34
LOW, HIGH = 0.004, 100
CLASSES = ("ours", "first", "second")

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.small { font-size: 10px } .title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d0d7de } .raw { stroke: #24292f; stroke-dasharray: 4 3 }
.ours { fill: #1f6feb } .first { fill: #bc8c3b } .second { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .grid { stroke: #373e47 } .raw { stroke: #e6edf3 }
}
"""


def across(ratio):
    part = math.log(min(max(ratio, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return LABELS + part * (WIDTH - LABELS - RIGHT)


def number(ratio):
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2g}"


def draw(report):
    names = list(report["rows"][0]["peers"])
    block = len(names) * BAR + GAP
    height = TOP + len(report["rows"]) * block + BOTTOM
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-label="Speed as a multiple of the raw C API">',
        f"<style>{STYLE}</style>",
        '<text class="title" x="8" y="20">Speed as a multiple of the raw C API (logarithmic)</text>',
    ]
    x = 8
    for name, style in zip(names, CLASSES):
        out.append(f'<rect class="{style}" x="{x}" y="32" width="12" height="12"/>')
        out.append(f'<text x="{x + 17}" y="42">{html.escape(name)}</text>')
        x += 40 + 8 * len(name)
    for tick in (0.01, 0.1, 1, 10, 100):
        style = "raw" if tick == 1 else "grid"
        at = f"{across(tick):.1f}"
        out.append(f'<line class="{style}" x1="{at}" x2="{at}" y1="{TOP - 6}" y2="{height - BOTTOM + 4}"/>')
        label = "raw C API" if tick == 1 else f"{tick:g}"
        out.append(f'<text class="small" x="{at}" y="{height - BOTTOM + 18}" text-anchor="middle">{label}</text>')
    for i, row in enumerate(report["rows"]):
        y = TOP + i * block
        label = html.escape(row["name"])
        out.append(f'<text x="{LABELS - 8}" y="{y + len(names) * BAR / 2 + 4}" text-anchor="end">{label}</text>')
        for j, (name, style) in enumerate(zip(names, CLASSES)):
            ratio = row["peers"][name]["ratio"]
            end, at = across(ratio), y + j * BAR
            out.append(
                f'<rect class="{style}" x="{LABELS}" y="{at}" width="{end - LABELS:.1f}" height="{BAR - 1}"/>'
                f'<text class="small" x="{end + 4:.1f}" y="{at + 9}">{number(ratio)}</text>'
            )
    out.append("</svg>\n")
    return "\n".join(out)


if __name__ == "__main__":
    source, target = map(pathlib.Path, sys.argv[1:])
    target.write_text(draw(json.loads(source.read_text())))
