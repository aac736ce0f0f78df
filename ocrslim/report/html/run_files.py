"""The files of a run, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ocrslim.errors import ArtifactError
from ocrslim.report.html.compress_record import Compress
from ocrslim.report.html.records import COSTS, PLANS, SAMPLES, Costs, Plans, Samples, read_run_file
from ocrslim.report.html.run_records import BenchFile, Best, ExportProof, Latest, PlanFile, Sensitivity

COMPRESS = "compress.json"
_RUN = "run"  # in the folder that `compress` writes
_PRUNE, _SENSITIVITY, _EXPORT = "ocrslim prune", "ocrslim sensitivity", "ocrslim export"


@dataclass(frozen=True)
class RunFiles:
    """What a folder holds of a run; None for a file that is not there.

    Attributes:
        folder: where the page goes.
        run: `Global.save_model_dir`; the same, except in a folder that `ocrslim compress` wrote.
        settings: `config.yml`, where it is.
        agreement: scores are against what the unpruned network finds, not against labels.
    """

    folder: Path
    run: Path
    settings: Path | None
    agreement: bool
    compress: Compress | None
    plans: Plans | None
    costs: Costs | None
    samples: Samples | None
    best: Best | None
    latest: Latest | None
    plan: PlanFile | None
    sensitivity: Sensitivity | None
    export: ExportProof | None
    bench: BenchFile | None

    @property
    def metric(self) -> str:
        """The score that decides; "" where no file tells."""
        found = (self.best, self.costs, self.sensitivity)
        return next((one.metric for one in found if one is not None and one.metric), "")

    @property
    def task(self) -> str:
        """What the model is for: "det", "rec" or "cls"; "" where no file tells."""
        if self.compress is not None and self.compress.model.task:
            return self.compress.model.task
        if self.costs is not None and self.costs.task:
            return self.costs.task
        architecture = self.plan.architecture if self.plan is not None else {}
        if not architecture and self.sensitivity is not None:
            architecture = self.sensitivity.config.get("Architecture") or {}
        return str(architecture.get("model_type", ""))


def read_run(folder: Path) -> RunFiles:
    """Read the files of a run.

    Raises:
        ArtifactError: the folder is missing or holds no run; a file is damaged or of a newer ocrslim.
    """
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder}: {'is no folder' if folder.exists() else 'not found'}; expected the folder of a run: "
            "Global.save_model_dir of `ocrslim prune`, or --out of `ocrslim compress`"
        )
    compress, run = read_run_file(folder / COMPRESS, Compress, "ocrslim compress"), run_folder(folder)
    settings = run / "config.yml"
    found = RunFiles(
        folder=folder,
        run=run,
        settings=settings if settings.is_file() else None,
        agreement=(run / "predicted_labels" / "eval.txt").is_file(),
        compress=compress,
        plans=read_run_file(run / PLANS, Plans, _PRUNE),
        costs=read_run_file(run / COSTS, Costs, _PRUNE),
        samples=read_run_file(run / SAMPLES, Samples, "ocrslim report RUN --images DIR"),
        best=read_run_file(run / "best_accuracy.json", Best, _PRUNE),
        latest=read_run_file(run / "latest.json", Latest, _PRUNE),
        plan=read_run_file(run / "best_accuracy.plan.json", PlanFile, _PRUNE),
        sensitivity=read_run_file(run / "sen.json", Sensitivity, _SENSITIVITY),
        export=read_run_file(folder / "export.json", ExportProof, _EXPORT),
        bench=read_run_file(run / "bench.json", BenchFile, "ocrslim bench --json"),
    )
    _require_a_run(found)
    return found


def run_folder(folder: Path) -> Path:
    """Return the folder that holds a run's checkpoint: `folder` itself, or `run` in what `ocrslim compress` wrote."""
    return folder / _RUN if (folder / COMPRESS).is_file() and (folder / _RUN).is_dir() else folder


def _require_a_run(found: RunFiles) -> None:
    if not any((found.compress, found.costs, found.best, found.latest, found.sensitivity)):
        raise ArtifactError(
            f"{found.folder}: holds no run: none of {COMPRESS}, sen.json, {COSTS}, best_accuracy.json and latest.json "
            "is there; name the folder that Global.save_model_dir or --out named, or run `ocrslim prune` first"
        )
