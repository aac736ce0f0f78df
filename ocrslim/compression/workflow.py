"""`ocrslim compress` as a whole: its steps in their order, the record of what they found, the report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ocrslim.compression.agreement import Agreement
from ocrslim.compression.baseline import AHEAD, Baseline
from ocrslim.compression.choosing import TOLERANCE, trials_of
from ocrslim.compression.comparison import AGREE, EXPORT, SCORE, SHOW, TIME, Comparison
from ocrslim.compression.cutting import CHOOSE, PRUNE, Pruned
from ocrslim.compression.files import costs_of_original, require_place
from ocrslim.compression.images import image_hashes
from ocrslim.compression.journal import JOURNAL, RECORD, Journal
from ocrslim.compression.material import CHARSET, LOOK, Material
from ocrslim.compression.record import images_record, origin
from ocrslim.compression.request import Request
from ocrslim.compression.times import AFTER, BEFORE, REWRITTEN, Row, place_of, row_of
from ocrslim.compression.verdict import Measured, Verdict, verdict_of
from ocrslim.config import Config
from ocrslim.inference import RUNTIMES
from ocrslim.pruning import untrained
from ocrslim.report import write_report
from ocrslim.utils import check_writable, messages_above_bars, write_json

logger = logging.getLogger(__name__)

# of the time, as measured with a detector and 40 photographs; for the time that remains
_SHARES = {CHARSET: 2, LOOK: 6, AHEAD: 4, CHOOSE: 45, PRUNE: 18, EXPORT: 5, AGREE: 6, SCORE: 4, TIME: 15, SHOW: 3}
_CHEAP = (CHARSET, LOOK, AHEAD)
_A_MINUTE = 15.0  # share of one that is trained


def compress(request: Request, config: Config) -> dict[str, Any]:
    """Make a model smaller, and measure what that brings and costs; goes on with the run that the folder holds.

    Args:
        config: of the model, its data sets with the folder of images.

    Returns:
        the record, which is in `compress.json` as well.

    Raises:
        OcrSlimError: what is wrong with the request, its images, its model or its folder.
    """
    require_place(request.out, request.run, JOURNAL, request.model)
    RUNTIMES[config.export.runtime].require()
    config = untrained(config)
    identity = request.identity(config, image_hashes(request.images))
    check_writable(request.out)
    shares = {**_SHARES, PRUNE: _SHARES[PRUNE] + _A_MINUTE * request.minutes}
    with messages_above_bars(), Journal(request.run, identity, shares, config.overwrite, _CHEAP) as journal:
        record = _record(Material(request, config, journal))
    return conclude(request.out, journal, record)


def conclude(out: Path, journal: Journal, record: dict[str, Any]) -> dict[str, Any]:
    """Write the record of a run and its report into `out`; say so where there was nothing left to do."""
    write_json(out / RECORD, record)
    if not journal.worked:
        logger.info("%s: this command has finished before; its result:", out)
    write_report(out)
    return record


def _record(material: Material) -> dict[str, Any]:
    """Do the steps that are not done, each behind those that it builds on, so that none is done within another."""
    request, baseline = material.request, Baseline(material)
    pruned = Pruned(material, baseline)
    made = Comparison(material, baseline, pruned)
    found, target, checkpoint = material.found, pruned.target, pruned.checkpoint
    exported, agreement, score, times = made.exported, made.agreement["agreement"], made.score, made.times
    costs = {
        BEFORE: costs_of_original(request.model, material.original).to_json(),
        REWRITTEN: {"bytes": times["bytes"]},
        AFTER: {"bytes": exported["bytes"], "params": checkpoint["params"], "macs": checkpoint["macs"]},
    }
    return {
        **origin(request, material.config),
        "charset": material.cut,
        "out": {"path": exported["folder"], **{key: exported[key] for key in ("sha256", "format")}},
        "images": images_record(request, material.parts, found),
        "target": dict(request.target or {"agreement_loss": TOLERANCE}),
        "pruned": None if target is None else dict(target),
        "tried": trials_of(material.journal),
        "costs": costs,
        "times": times["rows"],
        "agreement": agreement,
        "score": score,
        "export": {key: exported[key] for key in ("formats", "max_difference", "unverified", "clients")},
        "verdict": _verdict(material, times["rows"], Agreement(**agreement), target is not None).to_json(),
        "samples": made.samples,
        "seconds": dict(material.journal.seconds),
    }


def _verdict(material: Material, rows: list[Row], agreement: Agreement, pruned: bool) -> Verdict:
    """Judge by the time with the threads that it will have."""
    request, row = material.request, row_of(rows, material.config.export.threads)
    return verdict_of(
        Measured(
            ratio=row["ratio"],
            rewritten=row[f"ratio_{REWRITTEN}"],
            agreement=agreement,
            pruned=pruned,
            target=request.target,
            place=place_of(row),
            trained=request.minutes > 0,
        )
    )
