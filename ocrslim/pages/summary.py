"""What a compression of two models ends with: one table and the verdict, made of its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocrslim.compression import AFTER, BEFORE, REWRITTEN, verdict_text
from ocrslim.pages.results import METRIC

_HEADERS = ("", "as they came", "rewritten alone", "compressed", "change")
_NAMES = {"det": "detector", "rec": "recogniser"}


def pair_summary(record: Mapping[str, Any]) -> str:
    """Return the table and the verdict of a record (`compress.json`)."""
    rows = [*_cost_rows(record), *(row for times in record["times"] for row in _time_rows(times)), _agreement(record)]
    score = record["score"]
    if score is not None:
        change = f"{100 * (score[AFTER] - score[BEFORE]):+.1f} points"
        shown = (f"{score[name]:.4f}" for name in (BEFORE, REWRITTEN, AFTER))
        rows.append((f"{METRIC} by labels, {score['images']} pages", *shown, change))
    return verdict_text(rows, _HEADERS, record["verdict"])


def _cost_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for task, name in _NAMES.items():
        before, after = (record[task]["costs"][when] for when in (BEFORE, AFTER))
        for kind, title in (("bytes", "file, bytes"), ("macs", "MACs of a pass")):
            change = f"{after[kind] / before[kind] - 1:+.1%}"
            yield (f"{name}: {title}", f"{before[kind]:,}", "", f"{after[kind]:,}", change)


def _time_rows(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    threads = f"{row['threads']} thread{'s' * (row['threads'] != 1)}"
    low, high = row["ratio_95"]
    change = f"{row['ratio'] - 1:+.1%} [{low - 1:+.1%}, {high - 1:+.1%}]"
    titles = {
        "mean": f"ms a page, {row['runtime']}, {threads}",
        "detection": "  detection",
        "recognition": "  recognition",
    }
    for part, title in titles.items():
        shown = [row[name][part] for name in (BEFORE, REWRITTEN, AFTER)]
        own = change if part == "mean" else f"{shown[2] / max(shown[0], 1e-9) - 1:+.1%}"
        yield (title, *(f"{value:.1f}" for value in shown), own)


def _agreement(record: Mapping[str, Any]) -> tuple[str, ...]:
    found = record["agreement"]
    interval = f"{found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
    return (f"agreement ({METRIC}), {found['images']} pages", "1", "", interval, "")
