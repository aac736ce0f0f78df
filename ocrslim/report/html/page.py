"""The page of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ocrslim import __version__
from ocrslim.report.html.facts import (
    Fact,
    collapsed,
    commands,
    facts_of,
    headline,
    left_alone,
    provenance,
    redo_command,
)
from ocrslim.report.html.pictures import Picture, pictures_of
from ocrslim.report.html.run_files import RunFiles, read_run
from ocrslim.utils import atomic_file

PAGE = "report.html"
_SOURCE_MAP = "//# sourceMappingURL"
_TASKS = {"det": "text detector", "rec": "text recogniser", "cls": "classifier"}


def write_report(folder: Path) -> Path:
    """Write `report.html` into the folder of a run, from the files that it holds; return its path.

    Args:
        folder: `Global.save_model_dir` of a run, or what `ocrslim compress` wrote.

    Raises:
        ArtifactError: there is no run; a file of it is damaged or of a newer ocrslim; the page cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    context = _context(read_run(folder))
    environment = Environment(
        loader=PackageLoader("ocrslim.report.html", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("report.html.j2").render(context)
    path = folder / PAGE
    with atomic_file(path) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
    return path


def _context(files: RunFiles) -> dict[str, Any]:
    """Return what the template shows."""
    facts, pictures = facts_of(files), _pictures(files)
    compress = files.compress
    return {
        "title": (compress.model.name if compress is not None else "") or _name(files.folder),
        "folder": str(files.folder),
        "run": str(files.run),
        "task": _TASKS.get(files.task, "network"),
        "version": __version__,
        "redo": redo_command(files),
        "has_times": any(fact.key.startswith("time") for fact in facts),
        "headline": headline(files, facts),
        "collapsed": collapsed(facts) if compress is None else None,
        "tried": compress.tried if compress is not None else [],
        "taken": (compress.pruned or {}) if compress is not None else {},
        "verdict": compress.verdict if compress is not None else None,
        "facts": facts,
        "tiles": _tiles(facts),
        "pictures": pictures,
        "samples": files.samples,
        "plans": files.plans,
        "costs": files.costs,
        "has_sensitivities": files.sensitivity is not None and bool(files.sensitivity.layers),
        "has_training": files.latest is not None and bool(files.latest.history),
        "best": files.best,
        "metric": files.metric,
        "reasons": left_alone(files),
        "commands": commands(files),
        "provenance": provenance(files),
        "data": page_data(files),
        "chart": _asset("vendor/chart.umd.min.js").partition(_SOURCE_MAP)[0],
        "style": _asset("assets/report.css"),
        "script": _asset("assets/report.js"),
    }


def _name(folder: Path) -> str:
    return str(folder) if folder.name else folder.resolve().name


def _tiles(facts: Sequence[Fact]) -> list[Fact]:
    """Choose what stands large at the top: one of each kind."""
    found: dict[str, Fact] = {}
    for fact in facts:
        found.setdefault(fact.key.split(" ")[0], fact)
    order = ("score", "agreement", "time", "macs", "params", "bytes")
    return [found[key] for key in order if key in found][:5]


def _pictures(files: RunFiles) -> list[Picture]:
    if files.samples is not None:
        return pictures_of(files.samples.samples, files.run)
    return pictures_of(files.compress.samples, files.folder) if files.compress is not None else []


def page_data(files: RunFiles) -> dict[str, Any]:
    """Return what the charts and sliders of the page show; None for what the run does not have."""
    plans, costs = files.plans, files.costs
    return {
        "metric": files.metric,
        "plans": plans.model_dump(exclude={"request", "version"}) if plans is not None else None,
        "costs": costs.model_dump(include={"size", "layers", "rest_ms", "place"}) if costs is not None else None,
        "sensitivities": _sensitivities(files),
        "training": _training(files),
    }


def _sensitivities(files: RunFiles) -> list[Mapping[str, Any]] | None:
    if files.sensitivity is None or not files.sensitivity.layers:
        return None
    return [
        {"name": name, "points": [[ratio, layer.points[ratio].loss] for ratio in sorted(layer.points)]}
        for name, layer in files.sensitivity.layers.items()
    ]


def _training(files: RunFiles) -> Mapping[str, Any] | None:
    latest, metric = files.latest, files.metric
    if latest is None or not latest.history:
        return None
    scores = [[one.step, one.score(metric)] for one in latest.history if one.score(metric) is not None]
    best = [files.best.step, files.best.score(metric)] if files.best is not None else None
    return {"curve": latest.curve, "scores": scores, "best": best, "steps": latest.steps or latest.global_step}


def _asset(name: str) -> str:
    return resources.files("ocrslim.report.html").joinpath(name).read_text(encoding="utf-8")
