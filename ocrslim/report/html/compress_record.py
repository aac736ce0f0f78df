"""`compress.json` as a type: the result of `ocrslim compress`."""

from typing import Any, Optional

from pydantic import Field

from ocrslim.report.html.records import Count, Finite, Positive, Record, Sample, Share, Versioned


class CompressedModel(Record):
    """The model that came in."""

    path: str = ""
    task: str = ""
    name: str = ""
    format: str = ""
    sha256: str = ""


class ModelCost(Record):
    """Costs of a model."""

    bytes: Optional[Count] = None
    params: Optional[Count] = None
    macs: Optional[Count] = None


class CostPair(Record):
    """Costs before and after."""

    before: ModelCost = ModelCost()
    after: ModelCost = ModelCost()


class Quartiles(Record):
    """Milliseconds of a pass: median and quartiles."""

    median: Positive
    low: Optional[Positive] = None
    high: Optional[Positive] = None


class TimePair(Record):
    """Milliseconds before and after, of one runtime, number of threads, and size of the image (height, width).

    Attributes:
        clock: "cpu" for the time of the processor, else that on the wall.
        rewritten: of the unpruned model, rewritten by exact algebra.
    """

    runtime: str
    threads: int
    size: list[Count]
    clock: str = ""
    rewritten: Optional[Quartiles] = None
    before: Quartiles
    after: Quartiles


class Agreement(Record):
    """Agreement with the unpruned model, with its 95 % interval over images."""

    metric: str
    value: Finite
    low: Optional[Finite] = None
    high: Optional[Finite] = None
    images: Optional[Count] = None


class ScorePair(Record):
    """Score by labels, before and after."""

    metric: str
    before: Share
    after: Share
    images: Optional[Count] = None


class Verdict(Record):
    """What the result is worth, in words, and what to try next."""

    kind: str
    text: str
    advice: list[str] = Field(default_factory=list)


class UsedImages(Record):
    """The images: the folder, and what each served for."""

    folder: str = ""
    calibration: list[str] = Field(default_factory=list)
    choice: list[str] = Field(default_factory=list)
    held_out: list[str] = Field(default_factory=list)
    labels: Optional[str] = None


class Trial(Record):
    """A candidate on the images of the choice: fractions removed, and agreement with the unpruned model."""

    target: dict[str, Finite]
    macs: Optional[Share] = None
    params: Optional[Share] = None
    agreement: Optional[Finite] = None


class Compress(Versioned):
    """`compress.json`; `pruned` is the target of the candidate that was taken, None where nothing was pruned."""

    command: str = ""
    seed: Optional[int] = None
    versions: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    model: CompressedModel = CompressedModel()
    out: dict[str, Any] = Field(default_factory=dict)
    images: UsedImages = UsedImages()
    target: dict[str, Any] = Field(default_factory=dict)
    pruned: Optional[dict[str, Finite]] = None
    tried: list[Trial] = Field(default_factory=list)
    costs: CostPair = CostPair()
    times: list[TimePair] = Field(default_factory=list)
    agreement: Optional[Agreement] = None
    score: Optional[ScorePair] = None
    verdict: Optional[Verdict] = None
    samples: list[Sample] = Field(default_factory=list, max_length=1000)
    seconds: dict[str, Positive] = Field(default_factory=dict)
