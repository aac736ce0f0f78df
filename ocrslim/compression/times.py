"""Milliseconds of the files that are compared, in turns, on images of the size that the user's have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.data import network_sizes
from ocrslim.errors import OcrSlimError
from ocrslim.inference import RUNTIMES, Bench, BenchRow, BenchSettings, bench
from ocrslim.tasks import Size

BEFORE, REWRITTEN, AFTER = "before", "rewritten", "after"
_THREADS = (1, 2)
_ROUNDS = 20
Row = dict[str, Any]


def usual_size(config: Config, sizes: Sequence[Size]) -> Size:
    """Return the height and width of the median image, by pixels, as the network gets it."""
    given = sorted(network_sizes(config, sizes), key=lambda size: (size[0] * size[1], size))
    return given[len(given) // 2]


def compare(files: Mapping[str, Path], config: Config, size: Size, threads: Sequence[int] = _THREADS) -> list[Row]:
    """Time files in `Export.runtime`, one pass of each in turn; return a row for each number of threads.

    A row has of each file the median and the quartiles, and `ratio` and `ratio_rewritten`: the median over the rounds
    of the time relative to the first file's. With one thread it is time of the CPU, which other programs disturb
    little, else by the clock.

    Args:
        files: by the names in a row, the first of which the others are compared with.
        size: height and width of the image.
        threads: numbers of threads; that of `Export.threads` is added.

    Raises:
        OcrSlimError: the runtime is not installed, or does not run one of them.
    """
    batch, channels, *_ = config.task.nominal_shape
    wanted = tuple(dict.fromkeys((*threads, config.export.threads)))
    settings = BenchSettings((config.export.runtime,), wanted, [(batch, channels, *size)], _ROUNDS)
    found = bench([*files.values()], config.task, settings)
    if found.not_run or not found.rows:
        raise OcrSlimError("\n".join(dict.fromkeys(found.not_run.values())))
    return [_row(found, list(files), count) for count in wanted]


def _row(found: Bench, names: Sequence[str], threads: int) -> Row:
    rows = dict(zip(names, (row for row in found.rows if row.threads == threads)))
    first, on_cpu = rows[names[0]], threads == 1
    ratios = {("ratio" if name == AFTER else f"ratio_{name}"): _ratio(row, on_cpu) for name, row in rows.items()}
    ratios.pop(f"ratio_{names[0]}", None)
    return {
        "runtime": first.runtime,
        "threads": threads,
        "size": list(first.size),
        "clock": "cpu" if on_cpu else "wall",
        **{name: asdict(row.cpu_ms if on_cpu else row.wall_ms) for name, row in rows.items()},
        **ratios,
    }


def _ratio(row: BenchRow, on_cpu: bool) -> float:
    ratio = row.cpu_ratio if on_cpu else row.ratio
    assert ratio is not None  # the first file ran
    return ratio


def row_of(rows: Sequence[Row], threads: int) -> Row:
    """Return the row of a number of threads."""
    return next(row for row in rows if row["threads"] == threads)


def place_of(row: Row) -> str:
    """Say where a row was timed."""
    return f"{RUNTIMES[row['runtime']].title} with {row['threads']} thread{'s' * (row['threads'] != 1)}"
