"""What a smaller pair brings and costs on pages held out: the record, and the table and the verdict made of it."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocrslim.compression import AFTER, BEFORE, REWRITTEN, Agreement, Measured, interval, place_of, verdict_of
from ocrslim.config import DETECTOR, RECOGNISER, Config
from ocrslim.data import Preprocessor, scan
from ocrslim.pages.division import agreement_counts
from ocrslim.pages.measuring import PageMeter, PageRow, Pair, times_of
from ocrslim.pages.request import LATENCY
from ocrslim.tasks import ImageCounts, Line, count_lines, lines_of_label

METRIC = "line F1"


class Comparison:
    """Three pairs on the same pages: as it came, rewritten alone, and smaller."""

    def __init__(
        self,
        pairs: Mapping[str, Pair],
        meters: Mapping[int, PageMeter],
        pages: Sequence[str],
        labels: Path | None,
        config: Config,
    ):
        """
        Args:
            pairs: `before`, `rewritten` and `after`.
            meters: that have read the pages, by number of threads, the one that was asked for first.
            labels: label file of some or all of the pages.
            config: of the detector, with the folder of the pages.
        """
        self.pairs, self.meters, self.pages, self._config = pairs, meters, pages, config
        self._labels = {} if labels is None else labelled_lines(labels, config)

    @property
    def threads(self) -> int:
        """The number that was asked for."""
        return next(iter(self.meters))

    def rows(self, name: str, threads: int | None = None) -> list[PageRow]:
        """Return what one of the pairs read."""
        return self.meters[self.threads if threads is None else threads].rows(self.pairs[name], self.pages)

    def agreement(self, name: str = AFTER) -> Agreement:
        """Return how far a pair reads what the pair as it came reads."""
        counts = self.counts(name)
        return Agreement(METRIC, *interval(counts, self._config.task, "hmean"), len(counts))

    def score(self) -> dict[str, Any] | None:
        """Return the scores by labels, before and after; None without labels."""
        rows = {name: [row for row in self.rows(name) if row.page in self._labels] for name in self.pairs}
        if not rows[BEFORE]:
            return None
        counts = {name: [self._counted(row) for row in found] for name, found in rows.items()}
        scores = {name: interval(found, self._config.task, "hmean")[0] for name, found in counts.items()}
        return {"metric": METRIC, **scores, "images": len(rows[BEFORE])}

    def counts(self, name: str = AFTER) -> list[ImageCounts]:
        """Compare what a pair reads with what the pair as it came reads, page by page."""
        return agreement_counts(self.rows(name), self.rows(BEFORE))

    def _counted(self, row: PageRow) -> ImageCounts:
        return count_lines(row.lines, self._labels[row.page])

    @functools.cached_property
    def _size(self) -> tuple[int, ...]:
        """Height and width of the median page, by its pixels."""
        load, folder = Preprocessor(self._config), Path(str(self._config.get("Eval.dataset.data_dir")))
        sizes = sorted(
            (load.pixels(folder / page).shape[:2] for page in self.pages), key=lambda size: size[0] * size[1]
        )
        return sizes[len(sizes) // 2]

    def times(self) -> list[dict[str, Any]]:
        """Return the milliseconds of a page, a row for each number of threads."""
        return [self._times(threads) for threads in self.meters]

    def _times(self, threads: int) -> dict[str, Any]:
        rows = {name: self.rows(name, threads) for name in (REWRITTEN, AFTER)}
        rows = {BEFORE: [replace(row, seconds=row.first) for row in rows[AFTER]], **rows}  # of the same turns
        found = {name: times_of(each) for name, each in rows.items()}
        row: dict[str, Any] = {
            "runtime": self._config.export.runtime,
            "threads": threads,
            "size": list(self._size),
            "unit": "page",
            "clock": "cpu" if threads == 1 else "wall",
        }
        for name, times in found.items():
            pages = [1000 * one.seconds.page for one in rows[name]]
            row[name] = {
                **_spread(pages),
                "mean": 1000 * times.page,
                "detection": 1000 * times.detection,
                "recognition": 1000 * times.recognition,
                "networks": 1000 * times.networks,
            }
        after = found[AFTER]
        return {
            **row,
            "ratio": after.ratio,
            "ratio_95": [after.low, after.high],
            "ratio_rewritten": found[REWRITTEN].ratio,
        }


def labelled_lines(labels: Path, config: Config) -> dict[str, list[Line]]:
    """Read a label file of pages; return the lines of each by the name of the page.

    Args:
        config: of the detector, with the folder of the pages.

    Raises:
        DataError: the file or one of its lines is missing or broken.
    """
    named = config.changed({"Eval.dataset.label_file_list": [str(labels)], "Eval.dataset.ratio_list": 1.0})
    return {sample.name: lines_of_label(sample.label) for sample in scan(named, "Eval").samples}


def record_of(
    known: Mapping[str, Any], models: Mapping[str, Any], found: Comparison, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Return the record of a run.

    Args:
        known: what the run itself knows, such as the command and the pages.
        models: of each of the two, by task.
        seconds: by step.
    """
    times, agreement = found.times(), found.agreement()
    unverified = {task: one["export"]["unverified"] for task, one in models.items() if one["export"]["unverified"]}
    return {
        **known,
        "model": _together(models, "model", ("path", "task", "name", "format", "sha256")),
        "out": {"path": ".", **_together(models, "out", ("sha256", "format"))},
        **models,
        "costs": {when: _summed(models, when) for when in (BEFORE, AFTER)},
        "times": times,
        "agreement": agreement.to_json(),
        "score": found.score(),
        "export": {"unverified": unverified},
        "verdict": _verdict(known, times[0], agreement),
        "seconds": dict(seconds),
    }


def _verdict(known: Mapping[str, Any], row: Mapping[str, Any], agreement: Agreement) -> dict[str, Any]:
    found = Measured(
        ratio=row["ratio"],
        rewritten=row["ratio_rewritten"],
        agreement=agreement,
        pruned=any(removed > 0 for removed in known["pruned"].values()),
        target=known["target"] if LATENCY in known["target"] else None,
        place=f"whole pages, {place_of(dict(row))}",
        trained=known["minutes"] > 0,
    )
    return verdict_of(found).to_json()


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [*values]
    return {"median": median, "low": low, "high": high}


def _summed(models: Mapping[str, Any], when: str) -> dict[str, int]:
    """Return what both models cost together; MACs are those of one pass of each at its usual size."""
    parts = [models[task]["costs"][when] for task in (DETECTOR, RECOGNISER)]
    return {kind: sum(part[kind] for part in parts) for kind in ("bytes", "params", "macs")}


def _together(models: Mapping[str, Any], what: str, keys: Sequence[str]) -> dict[str, str]:
    """Return what is known of both models as one text each."""
    described = [models[task][what] for task in (DETECTOR, RECOGNISER)]
    return {key: " + ".join(dict.fromkeys(str(one[key]) for one in described)) for key in keys}
