"""The steps of `ocrslim compress`, each done once, whatever ends the program in between."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrslim import report
from ocrslim.compression.agreement import Agreement, agreement_of, score_counts, score_record
from ocrslim.compression.choosing import TOLERANCE, Chooser, trials_of
from ocrslim.compression.files import (
    costs_of_original,
    describe_export,
    export_to,
    formats_for,
    original_for,
    require_place,
    unpruned_for,
)
from ocrslim.compression.images import Lists, Split, find_labels, image_hashes, nothing_found, split, write_lists
from ocrslim.compression.journal import JOURNAL, RECORD, Advance, Journal, Result
from ocrslim.compression.labels import LabelFiles, divide_labels
from ocrslim.compression.learning import epochs_within, of_length, training_config
from ocrslim.compression.record import images_record, origin
from ocrslim.compression.request import Request, file_hash
from ocrslim.compression.samples import choose_samples, write_samples
from ocrslim.compression.settings import held_out, of_cut_model, run_config, with_target
from ocrslim.compression.times import AFTER, BEFORE, REWRITTEN, compare, place_of, row_of, usual_size
from ocrslim.compression.verdict import Measured, Verdict, verdict_of
from ocrslim.config import Config
from ocrslim.data import scan
from ocrslim.evaluation import open_engine
from ocrslim.formats import exported_files
from ocrslim.inference import RUNTIMES, Engine
from ocrslim.pruning import WEIGHTS, Network, load_base_network, load_network, untrained
from ocrslim.selection import Choice, prune_and_train
from ocrslim.utils import check_writable, hash_value, messages_above_bars, read_json, write_json
from ocrslim.vocabulary import cut_characters

logger = logging.getLogger(__name__)

_FOUND = "found.json"
_SHARES = {
    "charset": 2,
    "look": 6,
    "ahead": 4,
    "choose": 45,
    "prune": 18,
    "export": 5,
    "agree": 6,
    "score": 4,
    "time": 15,
    "show": 3,
}
_CHEAP = ("charset", "look", "ahead")
_A_MINUTE = 15.0  # share of one that is trained
_LATENCY, _LENGTH = "latency", "length"


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
    shares = {**_SHARES, "prune": _SHARES["prune"] + _A_MINUTE * request.minutes}
    with messages_above_bars(), Journal(request.run, identity, shares, config.overwrite, _CHEAP) as journal:
        record = _Compression(request, config, journal).record()
        write_json(request.out / RECORD, record)
    if not journal.worked:
        logger.info("%s: this command has finished before; its result:", request.out)
    write_report = getattr(report, "write_report", None)
    if write_report is not None:
        write_report(request.out)
    return record


class _Compression:
    """One run; what a step found is a property, and the step is done where it was not."""

    def __init__(self, request: Request, config: Config, journal: Journal):
        self._request, self._original, self._journal = request, config, journal
        self._chosen: Choice | None = None

    # the model and its images

    @functools.cached_property
    def _cut(self) -> Result | None:
        """The model with fewer characters; None where all are kept."""
        wanted, folder = self._request.wanted, self._request.run / "charset"
        if wanted is None:
            return None

        def work(_: Advance) -> Result:
            cut = cut_characters(self._original, wanted, folder)
            return {"model": str(cut.model), "classes": list(cut.classes), "unknown": list(cut.unknown)}

        return self._journal.do("charset", "characters", work, lambda found: Path(found["model"]).is_file())

    @functools.cached_property
    def _unpruned(self) -> Config:
        """Of the unpruned model: the one that came, or the one with fewer characters."""
        return self._original if self._cut is None else of_cut_model(self._request, Path(self._cut["model"]))

    @functools.cached_property
    def _labels(self) -> Mapping[str, str | None]:
        """What the unpruned model finds in the images, by name."""
        file = self._request.run / _FOUND

        def work(_: Advance) -> Result:
            load_network(self._unpruned)  # what cannot be pruned is told before all images are run
            labels = find_labels(self._unpruned, self._request.images)
            write_json(file, labels)
            return {"hash": hash_value(labels)}

        def intact(found: Result) -> bool:
            return file.is_file() and hash_value(read_json(file, "ocrslim compress")) == found["hash"]

        self._journal.do("look", "looking at the images", work, intact)
        return read_json(file, "ocrslim compress")

    @functools.cached_property
    def _parts(self) -> Split:
        labels = self._labels
        left_out = nothing_found(labels)
        if left_out:
            logger.info("%s", left_out)
        return split([name for name, label in labels.items() if label is not None], self._unpruned.seed)

    @functools.cached_property
    def _lists(self) -> Lists:
        return write_lists(self._parts, self._labels, self._request.run)

    @functools.cached_property
    def _label_files(self) -> LabelFiles | None:
        """The user's labels; None without any."""
        labels = self._request.labels
        return None if labels is None else divide_labels(self._unpruned, labels, self._parts, self._request.run)

    @functools.cached_property
    def _config(self) -> Config:
        """By which the run chooses, prunes and refits."""
        return formats_for(self._request.model, run_config(self._unpruned, self._request, self._parts, self._lists))

    @functools.cached_property
    def _held_out(self) -> Config:
        return held_out(self._config, self._lists)

    # the plan

    @functools.cached_property
    def _chooser(self) -> Chooser:
        return Chooser(self._config)

    @functools.cached_property
    def _target(self) -> Mapping[str, float] | None:
        """What is pruned; None where nothing is."""

        def work(advance: Advance) -> Result:
            if self._request.target is None:
                return {"target": self._chooser.largest(self._journal, advance)}
            target = self._remaining(self._request.target)
            if target is not None:
                assert self._choice(target)  # or it cannot be reached
            return {"target": target}

        found: Mapping[str, float] | None = self._journal.do("choose", "choosing what to prune", work)["target"]
        return found

    def _choice(self, target: Mapping[str, float]) -> Choice:
        """Return the plan for a target, chosen once."""
        if self._chosen is None:
            self._chosen = self._chooser.choose(target)
        return self._chosen

    def _remaining(self, target: Mapping[str, float]) -> Mapping[str, float] | None:
        """Return what is left to prune for a target; of a latency rewriting alone may reach a part, or all of it."""
        if _LATENCY not in target:
            return target
        ratio = row_of(self._times_ahead, self._config.export.threads)[f"ratio_{REWRITTEN}"]
        fraction = 1 - (1 - target[_LATENCY]) / ratio
        logger.info("rewriting alone takes %.0f %% of the time", 100 * ratio)
        return {_LATENCY: fraction} if fraction > 0 else None

    @functools.cached_property
    def _times_ahead(self) -> list[dict[str, Any]]:
        def work(_: Advance) -> Result:
            threads = self._config.export.threads
            return {"rows": compare(self._files_before, self._config, self._size, (threads,))}

        return list(self._journal.do("ahead", "timing the unpruned model", work)["rows"])

    @functools.cached_property
    def _pruned(self) -> Result:
        """The checkpoint, and its costs."""

        def work(_: Advance) -> Result:
            target = self._target
            if target is None:
                cost = costs_of_original(Path(str(self._unpruned.weights)), self._unpruned)
                return {"weights": self._unpruned.weights, "params": cost.params, "macs": cost.macs}
            choice = self._choice(target)
            logger.info("%s", choice.summary)
            config = with_target(self._config, target)
            result = prune_and_train(self._trained(config, choice) if self._request.minutes else config, choice)
            after = choice.after
            return {"weights": str(result.training.weights), "params": after.params, "macs": after.macs}

        return self._journal.do("prune", "pruning and refitting", work, lambda found: Path(found["weights"]).exists())

    def _trained(self, config: Config, choice: Choice) -> Config:
        """Return the configuration of a training of the minutes asked for."""
        config = training_config(config, self._label_files, self._unpruned.section("Metric"))
        length = self._journal.kept(_LENGTH)
        if length is None:
            length = epochs_within(config, choice, self._request.minutes)
            self._journal.keep(_LENGTH, length)
        return of_length(config, length)

    # the files

    @functools.cached_property
    def _exported(self) -> Result:
        request = self._request

        def work(_: Advance) -> Result:
            exported, names = export_to(request.out, self._network(), self._config, request.run / "export")
            found = {**describe_export(exported), "files": names}
            return {**found, "sha256": file_hash(request.out / found["folder"])}

        def intact(found: Result) -> bool:
            whole = all((request.out / name).is_file() for name in found["files"])
            return whole and file_hash(request.out / found["folder"]) == found["sha256"]

        return self._journal.do("export", "exporting", work, intact)

    def _network(self) -> Network:
        if self._target is None:
            return load_base_network(self._config)
        return load_network(self._config.changed({WEIGHTS: self._pruned["weights"]}))

    @functools.cached_property
    def _files_before(self) -> dict[str, Path]:
        run = self._request.run
        original = self._original.changed({"Global.save_model_dir": str(run)})
        return {
            BEFORE: original_for(self._request.model, original, run / BEFORE),
            REWRITTEN: unpruned_for(self._config, run / REWRITTEN),
        }

    @functools.cached_property
    def _file(self) -> Path:
        assert self._exported  # which wrote it
        return RUNTIMES[self._config.export.runtime].file_of(self._request.out)

    @functools.cached_property
    def _engine(self) -> Engine:
        return RUNTIMES[self._config.export.runtime].open(self._file, 1, True)

    # what it brings and costs

    @functools.cached_property
    def _agreement(self) -> Result:
        """The agreement, and which images show it."""

        def work(_: Advance) -> Result:
            counts = score_counts(self._engine, self._held_out, self._lists.held_out, "agreement")
            names = [sample.name for sample in scan(self._held_out, "Eval").samples]
            return {
                "agreement": agreement_of(counts, self._held_out).to_json(),
                "samples": choose_samples(names, counts),
            }

        return self._journal.do("agree", "comparing on images held out", work)

    @functools.cached_property
    def _score(self) -> Result | None:
        """Scores by labels of the model as it came and of the smaller one; None without labels."""
        labels = None if self._label_files is None else self._label_files.held_out
        if self._label_files is not None and labels is None:
            logger.warning("--labels %s: none of the images held out has a label: no score", self._request.labels)
        if labels is None:
            return None

        def work(_: Advance) -> Result:
            config, engines = self._original, (open_engine(self._original), self._engine)
            counts = [score_counts(engine, config, labels, "score") for engine in engines]
            return score_record(config, *counts)

        return self._journal.do("score", "scoring by labels", work)

    @functools.cached_property
    def _size(self) -> tuple[int, int]:
        return usual_size(self._held_out, [sample.size for sample in scan(self._held_out, "Eval").samples])

    @functools.cached_property
    def _times(self) -> Result:
        def work(_: Advance) -> Result:
            files = {**self._files_before, AFTER: self._file}
            rewritten = sum(path.stat().st_size for path in exported_files(files[REWRITTEN]))
            return {"rows": compare(files, self._config, self._size), "bytes": rewritten}

        return self._journal.do("time", "timing", work)

    @functools.cached_property
    def _samples(self) -> Result:
        def work(_: Advance) -> Result:
            engines = (open_engine(self._unpruned), self._engine)
            names = self._agreement["samples"]
            return {"samples": write_samples(names, self._held_out, engines, self._request.out)}

        def intact(found: Result) -> bool:
            return all((self._request.out / each["image"]).is_file() for each in found["samples"])

        return self._journal.do("show", "samples", work, intact)

    def record(self) -> dict[str, Any]:
        """Do all steps that are not done; return the record."""
        request, config = self._request, self._config
        if _LATENCY in (request.target or {}):
            assert self._times_ahead  # the steps are named in their order, so that none is done within another
        assert self._target is None or self._target
        pruned, exported, agreement, times = self._pruned, self._exported, self._agreement["agreement"], self._times
        score = self._score
        costs = {
            BEFORE: costs_of_original(request.model, self._original).to_json(),
            REWRITTEN: {"bytes": times["bytes"]},
            AFTER: {"bytes": exported["bytes"], "params": pruned["params"], "macs": pruned["macs"]},
        }
        return {
            **origin(request, config),
            "charset": self._cut,
            "out": {"path": exported["folder"], **{key: exported[key] for key in ("sha256", "format")}},
            "images": images_record(request, self._parts, self._labels),
            "target": dict(request.target or {"agreement_loss": TOLERANCE}),
            "pruned": None if self._target is None else dict(self._target),
            "tried": trials_of(self._journal),
            "costs": costs,
            "times": times["rows"],
            "agreement": agreement,
            "score": score,
            "export": {key: exported[key] for key in ("formats", "max_difference", "unverified", "clients")},
            "verdict": self._verdict(times["rows"], Agreement(**agreement)).to_json(),
            "samples": self._samples["samples"],
            "seconds": dict(self._journal.seconds),
        }

    def _verdict(self, rows: list[dict[str, Any]], agreement: Agreement) -> Verdict:
        export, request = self._config.export, self._request
        row = row_of(rows, export.threads)
        return verdict_of(
            Measured(
                ratio=row["ratio"],
                rewritten=row[f"ratio_{REWRITTEN}"],
                agreement=agreement,
                pruned=self._target is not None,
                target=request.target,
                place=place_of(row),
                trained=request.minutes > 0,
            )
        )
