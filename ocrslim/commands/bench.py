"""The command `bench`."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ocrslim.config import Config
from ocrslim.data import LabelledSet, network_sizes, scan_evaluation
from ocrslim.errors import OcrSlimError
from ocrslim.evaluation import export_scores
from ocrslim.formats import exported_files, named_network
from ocrslim.inference import RUNTIMES, Bench, BenchRow, BenchSettings, bench
from ocrslim.report import bench_table
from ocrslim.tasks import Shape, Size
from ocrslim.utils import processor

logger = logging.getLogger(__name__)

_MOST_SIZES = 3  # by default
_DENORMALS = "onnxruntime"  # which alone computes with them where it is not told otherwise


def run_bench(
    config: Config,
    exports: Sequence[Path],
    runtimes: Sequence[str] = (),
    threads: Sequence[int] = (),
    sizes: Sequence[Size] = (),
    rounds: int = 20,
    score: bool = False,
) -> dict[str, Any]:
    """Print the times of exports, and of each the ratio to the first.

    Args:
        config: of the first export: its task, and the transforms that give the sizes.
        runtimes: keys of `RUNTIMES`; without any, those that are installed.
        threads: numbers of threads; without any, one and as many as there are processors.
        sizes: height and width of images; without any, what the costs are counted at, and what usual images become.
        rounds: timed passes of each export.
        score: also score each in each runtime, on the images of `Eval`.

    Raises:
        OcrSlimError: an export is missing, a runtime is not installed, or nothing runs.
        ConfigError, DataError: there are no images to score on.
    """
    for export in exports:
        exported_files(named_network(export))
    labelled = _labelled(config) if score else None
    settings = BenchSettings(
        tuple(dict.fromkeys(runtimes)) or _installed(),
        tuple(dict.fromkeys(threads)) or tuple(dict.fromkeys((1, _processors()))),
        _shapes(config, sizes),
        rounds,
    )
    found = bench(exports, config.task, settings)
    if not found.rows:
        raise OcrSlimError("\n".join(dict.fromkeys(found.not_run.values())))
    scores = export_scores(config, labelled, found.rows) if labelled else {}
    _print(found, settings, scores)
    if scores:
        print(_verdict(found.rows, scores, config.export.int8_tolerance))
    return {
        "task": config.task.model_type,
        "machine": {"processor": processor(), "processors": _processors(), "system": platform.system()},
        "runtimes": {name: RUNTIMES[name].version for name in settings.runtimes},
        "rounds": rounds,
        "rows": [
            {
                **dataclasses.asdict(row),
                "file": str(row.file),
                "bytes": sum(path.stat().st_size for path in exported_files(row.file)),
                "score": scores.get((row.runtime, row.file)),
            }
            for row in found.rows
        ],
        "not_run": [
            {"export": export, "runtime": runtime, "reason": reason}
            for (export, runtime), reason in found.not_run.items()
        ],
    }


def _print(found: Bench, settings: BenchSettings, scores: Mapping[tuple[str, Path], float]) -> None:
    print(bench_table(found.rows, scores))
    print(
        f"\nmilliseconds of a pass, median of {settings.rounds} in turns; ratio: to the first export in the same round"
    )
    if _DENORMALS in settings.runtimes:
        print(
            "ONNX Runtime: denormal numbers are taken as zero, as the other runtimes do by themselves; have your "
            'program do so too: options.add_session_config_entry("session.set_denormal_as_zero", "1")'
        )
    for reason in dict.fromkeys(found.not_run.values()):
        print(f"not run: {reason}")


def _labelled(config: Config) -> LabelledSet:
    """Return the images to score on, before any time is spent on the rest."""
    config.require("Eval", "PostProcess")
    return scan_evaluation(config)


def _verdict(rows: Sequence[BenchRow], scores: Mapping[tuple[str, Path], float], tolerance: float) -> str:
    """Say of each runtime, number of threads and size which export pays: the fastest one that scores well enough."""
    lines = []
    for (runtime, threads, size), group in itertools.groupby(rows, lambda row: (row.runtime, row.threads, row.size)):
        found = list(group)
        least = scores[runtime, found[0].file] - tolerance
        best = min((row for row in found if scores[runtime, row.file] >= least), key=lambda row: row.wall_ms.median)
        lines.append(f"{runtime}, threads: {threads}, {size[0]}x{size[1]}: {best.export}")
    return (
        f"\nfastest of those that score at most {tolerance:g} (Export.int8_tolerance) less than the first that runs "
        "there:\n" + "\n".join(lines)
    )


def _installed() -> tuple[str, ...]:
    """Return the runtimes that are installed; name the others, with the command that installs them."""
    for runtime in RUNTIMES.values():
        if not runtime.installed:
            logger.info("%s is not installed, and left out: pip install %s", runtime.title, runtime.package)
    return tuple(name for name, runtime in RUNTIMES.items() if runtime.installed)


def _processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shapes(config: Config, sizes: Sequence[Size]) -> list[Shape]:
    batch, channels, height, width = config.task.nominal_shape
    if not sizes:
        usual = network_sizes(config, config.task.usual_images) if config.get("Eval.dataset.transforms") else []
        sizes = [*dict.fromkeys([(height, width), *usual])][:_MOST_SIZES]
    return [(batch, channels, *size) for size in sizes]
