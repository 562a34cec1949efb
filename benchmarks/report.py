#!/usr/bin/python3
"""Puts the figures of the last `./dev bench` into docs/performance.md, between its markers, and draws the chart.

    report.py [<folder of JSON files> [<page>]]        default: build/bench docs/performance.md

A table stands between `<!-- figures: NAME -->` and `<!-- end -->`. NAME is `machine`, `peers`, or the names of
benchmark programs whose tables are joined. A program that has not been run keeps the figures that it has."""

import json
import pathlib
import re
import sys

import peers.chart

ROOT = pathlib.Path(__file__).resolve().parents[1]


def compact(value):
    for least, size, suffix in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if value >= least:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(head, align, rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(head), "|" + "|".join(align) + "|", *map(line, rows)])


def verdict(row):
    if not row["floor"]:
        return ""
    return f"{row['floor']:g}" if row["ratio"] >= row["floor"] else f"{row['floor']:g}: missed"


def comparison(rows):
    cells = (
        (
            r["name"] if r["unit"] == "calls" else f"{r['name']} ({r['unit']})",
            compact(r["raw_rate"]),
            compact(r["our_rate"]),
            f"**{r['ratio']:.2f}**",
            f"{r['ratio_min']:.2f}–{r['ratio_max']:.2f}",
            f"{r['raw_cpu_us']:.3g} / {r['our_cpu_us']:.3g}",
            verdict(r),
        )
        for r in rows
    )
    head = ("workload", "raw, a second", "cosqlite", "ratio", "spread", "CPU µs each, raw / cosqlite", "floor")
    return table(head, ("---", "--:", "--:", "--:", "---", "---", "---"), cells)


def figures(rows):
    def limit(f):
        if not f["limit"]:
            return ""
        return f"{f['limit']:g}" if f["value"] <= f["limit"] else f"{f['limit']:g}: exceeded"

    cells = ((f["name"], f"{f['value']:.3g} {f['unit']}".strip(), limit(f)) for f in rows)
    return table(("figure", "value", "limit"), ("---", "--:", "---"), cells)


def programs(reports):
    parts = []
    if rows := [row for r in reports for row in r["rows"]]:
        parts.append(comparison(rows))
    if facts := [f for r in reports for f in r["figures"]]:
        parts.append(figures(facts))
    if any(r["quick"] for r in reports):
        parts.append("Taken with `--quick`: rough.")
    return "\n\n".join(parts)


def machine(reports):
    m = reports[0]["machine"]
    loads = sorted(r["machine"]["load"] for r in reports)
    return (
        f"{m['processor']}, {m['cores']} cores, {m['system']}, Linux {m['kernel']}; SQLite {m['sqlite']}, "
        f"libuv {m['libuv']}, {m['compiler']}, -O2.\n{reports[0]['turns']} turns. Load average when the programs "
        f"started: {loads[0]:.1f} to {loads[-1]:.1f}, their own included."
    )


def peer_table(report):
    names = list(report["rows"][0]["peers"])

    def cell(figures):
        return f"{figures['ratio']:.2g} ({figures['ratio_min']:.2g}–{figures['ratio_max']:.2g}), {figures['cpu_us']:.3g} µs"

    rows = ((r["name"], compact(r["raw_rate"]), *(cell(r["peers"][n]) for n in names)) for r in report["rows"])
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    text = table(("workload", "raw, a second", *names), ("---", "--:", *["---"] * len(names)), rows)
    text += f"\n\nRatio to the raw C API (spread), and CPU time each. {report['turns']} turns.\n{versions}."
    return text + (" Taken with `--quick`: rough." if report["quick"] else "")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/bench"
    page = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs/performance.md"
    reports = {f.stem: json.loads(f.read_text()) for f in sorted(folder.glob("*.json"))}

    def replacement(match):
        names = match[1].split()
        if names == ["machine"]:
            found = [r for r in reports.values() if "machine" in r]
            text = found and machine(found)
        elif names == ["peers"]:
            text = "peers" in reports and peer_table(reports["peers"])
        else:
            text = all(n in reports for n in names) and programs([reports[n] for n in names])
        return f"<!-- figures: {match[1]} -->\n{text}\n<!-- end -->" if text else match[0]

    page.write_text(re.sub(r"<!-- figures: (.*?) -->\n.*?<!-- end -->", replacement, page.read_text(), flags=re.S))
    print(f"wrote {page}")
    if "peers" in reports:
        chart = page.with_suffix(".svg")
        chart.write_text(peers.chart.draw(reports["peers"]))
        print(f"wrote {chart}")


main()
