"""What a compression ends with: one table and the verdict, made of its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from ocrslim.compression.times import AFTER, BEFORE, REWRITTEN

_HEADERS = ("", "as it came", "rewritten alone", "compressed", "change")


def summary_text(record: Mapping[str, Any]) -> str:
    """Return the table and the verdict of a record (`compress.json`)."""
    rows = [*_cost_rows(record["costs"]), *(_time_row(row) for row in record["times"]), _agreement_row(record)]
    score = record["score"]
    if score is not None:
        title = f"{score['metric']} by labels, {score['images']} images"
        rows.append((title, f"{score['before']:.4f}", "", f"{score['after']:.4f}", _points(score)))
    return verdict_text(rows, _HEADERS, record["verdict"])


def verdict_text(rows: Sequence[Sequence[str]], headers: Sequence[str], verdict: Mapping[str, Any]) -> str:
    """Return rows as a table, titles first and numbers behind them, and below it a verdict with its advice."""
    table = tabulate(rows, headers=headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1)))
    advice = [f"- {line}" for line in verdict["advice"]]
    return "\n".join([table, "", f"{verdict['kind']}: {verdict['text']}", *advice])


def _cost_rows(costs: Mapping[str, Mapping[str, int]]) -> list[tuple[str, ...]]:
    before, after, rewritten = costs[BEFORE], costs[AFTER], costs[REWRITTEN]
    titles = {"bytes": "file, bytes", "params": "parameters", "macs": "MACs"}
    return [
        (
            *(title, f"{before[kind]:,}", f"{rewritten[kind]:,}" if kind in rewritten else "", f"{after[kind]:,}"),
            f"{after[kind] / before[kind] - 1:+.1%}",
        )
        for kind, title in titles.items()
    ]


def _time_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    size = "x".join(map(str, row["size"]))
    threads = f"{row['threads']} thread{'s' * (row['threads'] != 1)}"
    shown = (f"{row[name]['median']:.1f}" for name in (BEFORE, REWRITTEN, AFTER))
    return (f"ms, {threads}, {size}, {row['runtime']}", *shown, f"{row['ratio'] - 1:+.1%}")


def _agreement_row(record: Mapping[str, Any]) -> tuple[str, ...]:
    found = record["agreement"]
    interval = f"{found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
    return (f"agreement ({found['metric']}), {found['images']} images", "1", "1", interval, "")


def _points(score: Mapping[str, float]) -> str:
    return f"{100 * (score['after'] - score['before']):+.1f} points"
