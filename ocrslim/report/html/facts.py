"""What the page says in words and numbers: the gain, before and after, what was left alone, how to do it again."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ocrslim.report.html.run_files import RunFiles
from ocrslim.report.html.run_records import BenchLine

_BYTES = ("bytes", "bytes of the model's files", "bytes")
_COLLAPSED = 0.8  # remaining fraction of the score
_LOWER, _HIGHER = "lower", "higher"
_SPACE = "\u00a0"  # which does not break
_PER_CENT = f"{_SPACE}%"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_RUNTIMES = {"paddle": "Paddle Inference", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class Fact:
    """A number before and after.

    Attributes:
        key: names it for tests and scripts.
        title: for people; `short` on a tile.
        better: "lower" or "higher".
        decimals: of the numbers shown; None for whole numbers.
        share: its change is told in per cent, else as a difference.
        note: such as an interval.
    """

    key: str
    title: str
    short: str
    before: float
    after: float
    better: str = _LOWER
    decimals: int | None = None
    share: bool = True
    note: str = ""

    @property
    def change(self) -> float:
        """Relative change, or the difference of scores."""
        if self.share:
            return self.after / self.before - 1 if self.before else 0.0
        return self.after - self.before

    @property
    def left(self) -> float:
        """What is left of it, 0..1, for a bar."""
        return min(1.0, self.after / self.before) if self.before else 0.0

    @property
    def verdict(self) -> str:
        """Whether it is "good", "bad" or "even"."""
        if abs(self.change) < 5e-4:
            return "even"
        return "good" if (self.change < 0) == (self.better == _LOWER) else "bad"

    def shown(self, value: float) -> str:
        """Format one of the values; large counts with an SI prefix."""
        if self.decimals is not None:
            return f"{value:,.{self.decimals}f}"
        factor, prefix = next(((size, text) for size, text in _PREFIXES if value >= size), (1.0, ""))
        return f"{value / factor:.{2 if prefix else 0}f}" + (f"{_SPACE}{prefix}" if prefix else "")

    @property
    def shown_change(self) -> str:
        """Format the change."""
        sign = "\u2212" if self.change < 0 else "+"
        number = f"{abs(self.change):.1%}" if self.share else f"{abs(self.change):.4f}"
        return f"{sign}{number.replace('%', _PER_CENT)}"


def facts_of(files: RunFiles) -> list[Fact]:
    """List what is known before and after: score, times, costs, size."""
    found = [*_scores(files), *_times(files), *_costs(files)]
    return list({fact.key: fact for fact in found}.values())


def headline(files: RunFiles, facts: Sequence[Fact]) -> str:
    """Say in one line what was gained."""
    parts = []
    for key, less, what in (("macs", "fewer", "multiply-accumulates"), ("time", "less", "time")):
        fact = next((one for one in facts if one.key.split(" ")[0] == key), None)
        if fact is not None and fact.change:
            share = f"{abs(fact.change):.0%}".replace("%", _PER_CENT)
            parts.append(f"{share} {less if fact.change <= 0 else 'more'} {what}")
    score = next((one for one in facts if one.key == "score"), None)
    agreement = next((one for one in facts if one.key == "agreement"), None)
    if score is not None:
        parts.append(f"{score.short} {score.shown(score.before)} → {score.shown(score.after)}")
    elif agreement is not None:
        parts.append(f"agreement {agreement.shown(agreement.after)}")
    if not parts:
        return "Nothing is pruned yet: this page shows what each layer loses"
    return ", ".join(parts)


def collapsed(facts: Sequence[Fact]) -> Fact | None:
    """Return the score, if training can hardly be expected to restore what is lost of it."""
    return next((fact for fact in facts if fact.key == "score" and fact.left < _COLLAPSED), None)


def _scores(files: RunFiles) -> Iterator[Fact]:
    compress, best, metric = files.compress, files.best, files.metric
    if compress is not None:
        if compress.score is not None:
            one = compress.score
            note = f"{one.images} images with labels" if one.images else ""
            yield Fact("score", one.metric, one.metric, one.before, one.after, _HIGHER, 4, False, note)
        if compress.agreement is not None:
            yield _agreement(files)
        return
    before, after = unpruned_score(files), best.score(metric) if best is not None else None
    if before is not None and after is not None:
        note = f"{files.sensitivity.images} images" if files.sensitivity and files.sensitivity.images else ""
        if files.agreement:
            note = ", ".join(filter(None, (note, "against what the unpruned network finds, as there are no labels")))
        yield Fact("score", metric, metric, before, after, _HIGHER, 4, False, note)


def _agreement(files: RunFiles) -> Fact:
    assert files.compress is not None and files.compress.agreement is not None
    one = files.compress.agreement
    interval = f"95 % interval {one.low:.4f} to {one.high:.4f}" if one.low is not None and one.high is not None else ""
    images = f"{one.images} images held out" if one.images else ""
    note = ", ".join(filter(None, (interval, images)))
    title = f"agreement with the unpruned model ({one.metric})"
    return Fact("agreement", title, "agreement", 1.0, one.value, _HIGHER, 4, False, note)


def unpruned_score(files: RunFiles) -> float | None:
    """Return the score before pruning, where a file tells."""
    if files.sensitivity is not None and files.metric in files.sensitivity.baseline:
        return files.sensitivity.baseline[files.metric]
    return files.costs.unpruned if files.costs is not None else None


def _times(files: RunFiles) -> Iterator[Fact]:
    if files.compress is not None:
        for one in files.compress.times:
            note = f"{one.rewritten.median:.1f} rewritten, without pruning" if one.rewritten is not None else ""
            found = _time(one.runtime, one.threads, one.size, one.before.median, one.after.median)
            yield replace(found, title=f"{found.title}{', CPU time' * (one.clock == 'cpu')}", note=note)
    if files.bench is not None:
        by_place: dict[tuple[str, int, tuple[int, ...]], list[BenchLine]] = defaultdict(list)
        for row in files.bench.rows:
            by_place[row.runtime, row.threads, tuple(row.size)].append(row)
        for (runtime, threads, size), rows in by_place.items():
            if len(rows) > 1:
                yield _time(runtime, threads, size, rows[0].wall_ms.median, rows[1].wall_ms.median)
    if files.costs is not None and {"before", "measured"} <= files.costs.latency.keys():
        took, title = files.costs.latency, f"milliseconds at {_size(files.costs.size)}, {files.costs.place or 'here'}"
        yield Fact("time target", title, "time", took["before"], took["measured"], decimals=1, note="measured")


def _time(runtime: str, threads: int, size: Sequence[int], before: float, after: float) -> Fact:
    at = f"{_RUNTIMES.get(runtime, runtime)}, {threads} thread{'s' * (threads > 1)}"
    key = f"time {runtime} {threads} {'x'.join(map(str, size))}"
    return Fact(key, f"milliseconds at {_size(size)}, {at}", f"milliseconds, {at}", before, after, decimals=1)


def _costs(files: RunFiles) -> Iterator[Fact]:
    macs, params, size = "multiply-accumulates", "parameters", ""
    if files.costs is not None:
        size = f" at {_size(files.costs.size)}"
        (macs_before, macs_after), (params_before, params_after) = files.costs.macs, files.costs.params
        yield Fact("macs", f"{macs}{size}", macs, macs_before, macs_after)
        yield Fact("params", params, params, params_before, params_after)
    if files.compress is not None:
        before, after = files.compress.costs.before, files.compress.costs.after
        for key, title, short in (("macs", f"{macs}{size}", macs), ("params", params, params), _BYTES):
            old, new = getattr(before, key), getattr(after, key)
            if old is not None and new is not None:
                yield Fact(key, title, short, old, new)
    if files.bench is not None:
        rows = [row for row in files.bench.rows if row.runtime == files.bench.rows[0].runtime]
        exports = list(dict.fromkeys(row.export for row in rows))
        sizes = [next(row.bytes for row in rows if row.export == export) for export in exports[:2]]
        if len(sizes) == 2 and sizes[0] and sizes[1] is not None:
            yield Fact(*_BYTES, sizes[0], sizes[1])


def _size(size: Sequence[int]) -> str:
    return "\u00d7".join(map(str, size))


@dataclass(frozen=True)
class Reason:
    """Layers that were left alone for one kind of reason; `layers` has each with what is to be said of it alone."""

    title: str
    layers: Sequence[tuple[str, str]]


def left_alone(files: RunFiles) -> list[Reason]:
    """Group the layers that were not pruned by the kind of reason, the commonest first."""
    skipped: Mapping[str, str] = {}
    if files.plan is not None:
        skipped = files.plan.skipped
    elif files.sensitivity is not None:
        skipped = files.sensitivity.unprunable
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for layer, reason in skipped.items():
        title, words = _kind(reason)
        found[title].append((layer, words))
    return [Reason(title, layers) for title, layers in sorted(found.items(), key=lambda entry: -len(entry[1]))]


_KINDS = (  # what a reason looks like, its kind, and what it says of a layer beyond that
    (r"(Prune.target .*) is reached with less loss without it", "the target is reached with less loss without it", ""),
    (r"close to the input: .*", "close to the input (Prune.skip_first)", ""),
    (r"sensitive: (loses .*), more than (Prune.skip_loss .*)", "sensitive: loses more than {1}", "{0}"),
    (r"(ratio .* of .* channels) is less than a step of (Prune.align .*)", "less than a step of {1}", "{0}"),
    (r"Prune.skip: (.*) matches .*", "named in Prune.skip", "{0}"),
)


def _kind(reason: str) -> tuple[str, str]:
    """Return the kind of a reason, and what it says of the layer beyond that."""
    for pattern, kind, words in _KINDS:
        match = re.fullmatch(pattern, reason)
        if match is not None:
            return kind.format(*match.groups()), words.format(*match.groups())
    return reason, ""


def commands(files: RunFiles) -> list[str]:
    """List the commands that do it again."""
    if files.compress is not None and files.compress.command:
        return [files.compress.command]
    if files.settings is None:
        return []
    config = shlex.quote(str(files.settings))
    measured = [f"ocrslim sensitivity -c {config}"] if files.sensitivity is not None else []
    best = shlex.quote(f"Global.pretrain_weights={files.run / 'best_accuracy'}")
    export = f"ocrslim export -c {config} -o {best} Global.save_inference_dir=inference_model"
    return [*measured, redo_command(files), export]


def redo_command(files: RunFiles) -> str:
    """Return the command that writes what a run lacks."""
    if files.compress is not None:
        return "ocrslim compress ..."
    return "ocrslim prune" if files.settings is None else f"ocrslim prune -c {shlex.quote(str(files.settings))}"


def provenance(files: RunFiles) -> dict[str, dict[str, str]]:
    """Return versions, machine, seed and hashes: section -> name -> value."""
    found: dict[str, dict[str, str]] = {"versions": {}, "machine": {}, "hashes": {}}
    seed = None
    for source in (files.costs, files.compress):
        if source is not None:
            found["versions"] |= {key: str(value) for key, value in source.versions.items()}
            found["machine"] |= {key: str(value) for key, value in source.machine.items()}
            seed = source.seed if source.seed is not None else seed
    if seed is not None:
        found["machine"]["seed"] = str(seed)
    if files.best is not None:
        found["hashes"] |= {key: str(value) for key, value in files.best.origin.items()}
        found["hashes"] |= {"pruned weights": files.best.weights, "plan": files.best.plan or ""}
    elif files.sensitivity is not None:
        found["hashes"] |= files.sensitivity.hashes
    if files.compress is not None:
        found["hashes"] |= {"model before": files.compress.model.sha256}
        found["hashes"] |= {"model after": str(files.compress.out.get("sha256", ""))}
    return {title: {key: value for key, value in rows.items() if value} for title, rows in found.items() if rows}
