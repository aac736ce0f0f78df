"""The JSON files of a run that are older than the page, as far as the page reads them."""

from typing import Annotated, Any, Optional

from pydantic import ConfigDict, Field

from ocrslim.report.html.compress_record import Quartiles
from ocrslim.report.html.records import Count, Finite, Positive, Record, Share, Versioned

_Pair = Annotated[list[Finite], Field(min_length=2, max_length=2)]


class Evaluation(Record):
    """An evaluation; the scores are further keys, by the name of the metric."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    step: Count
    epoch: Count
    loss: Optional[Finite] = None

    def score(self, metric: str) -> Optional[float]:
        """Return a score; None where it is not one of the evaluation's."""
        value = (self.model_extra or {}).get(metric)
        return float(value) if isinstance(value, (int, float)) else None


class Best(Evaluation):
    """`best_accuracy.json`: the evaluation of the weights, that before training, and hashes."""

    metric: str
    start: Optional[Evaluation] = None
    weights: str = ""
    plan: Optional[str] = None
    origin: dict[str, Any] = Field(default_factory=dict)


class Latest(Versioned):
    """`latest.json`: the training so far; `curve` has step, mean loss and learning rate."""

    global_step: Count
    steps: Optional[Count] = None
    seconds: Positive = 0.0
    rollbacks: Count = 0
    history: list[Evaluation] = Field(default_factory=list)
    curve: list[Annotated[list[Finite], Field(min_length=3, max_length=3)]] = Field(default_factory=list)


class LossPoint(Record):
    """Loss at a ratio, and how it is known."""

    loss: Finite
    how: str = ""


class MeasuredLayer(Record):
    """A layer of `sen.json`."""

    points: dict[Share, LossPoint] = Field(default_factory=dict)


class Sensitivity(Record):
    """`sen.json`."""

    version: Annotated[int, Field(alias="schema")] = 2
    metric: str = ""
    baseline: dict[str, Share] = Field(default_factory=dict)
    images: Optional[Count] = None
    tolerance: Optional[Share] = None
    mode: str = ""
    criterion: str = ""
    engine: str = ""
    seconds: Positive = 0.0
    hashes: dict[str, str] = Field(default_factory=dict)
    unprunable: dict[str, str] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    layers: dict[str, MeasuredLayer] = Field(default_factory=dict)


class PlanFile(Versioned):
    """`best_accuracy.plan.json`, without the indices."""

    criterion: str = ""
    architecture: dict[str, Any] = Field(default_factory=dict)
    origin: dict[str, str] = Field(default_factory=dict)
    ratios: dict[str, Share] = Field(default_factory=dict)
    skipped: dict[str, str] = Field(default_factory=dict)


class ExportProof(Record):
    """`export.json`: an export and its proof."""

    source: str = ""
    format: str = ""
    bytes: Optional[Count] = None
    verified: Optional[bool] = None
    max_difference: dict[str, Finite] = Field(default_factory=dict)
    formats: dict[str, dict[str, Any]] = Field(default_factory=dict)


class BenchLine(Record):
    """A row of `ocrslim bench --json`."""

    runtime: str
    threads: int
    size: list[Count]
    export: str
    wall_ms: Quartiles
    bytes: Optional[Count] = None


class BenchFile(Record):
    """`bench.json`: the result of `ocrslim bench --json`; the first export is that of the unpruned network."""

    rows: list[BenchLine]
    machine: dict[str, Any] = Field(default_factory=dict)
    runtimes: dict[str, str] = Field(default_factory=dict)
