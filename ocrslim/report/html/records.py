"""The JSON files that the stages write beside the checkpoint for the page, as types.

Unknown keys are ignored, so that a stage may record more.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Optional, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ocrslim.errors import ArtifactError
from ocrslim.utils import read_json, shown

PLANS, COSTS, SAMPLES = "plans.json", "costs.json", "samples.json"
BEST, LATEST, SENSITIVITIES = "best_accuracy.json", "latest.json", "sen.json"
EXPORT, BENCH, COMPRESS = "export.json", "bench.json", "compress.json"
SCHEMA = 1  # of the files that have no older schema

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Found = TypeVar("Found", bound="Record")


class Record(BaseModel):
    """Part of a file."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=(), populate_by_name=True)


class Versioned(Record):
    """A whole file with a schema."""

    version: Annotated[int, Field(alias="schema")] = SCHEMA


class PlanPoint(Record):
    """A plan.

    Attributes:
        removed: channels that each layer loses, in the order of `Plans.layers`.
        loss: sum of the layers' losses alone; with `Plans.errors`, of their reconstruction errors.
        joint: expected joint loss; None for reconstruction errors.
        macs, params: of the whole network.
        ms: predicted milliseconds of the whole network; None without a latency model of this machine.
    """

    removed: list[Count]
    loss: Finite
    joint: Optional[Finite] = None
    macs: Count
    params: Count
    ms: Optional[Positive] = None


class PlanStep(Record):
    """The candidate plans at one tolerance or target `at`; the first is taken where candidates are not scored."""

    at: Finite
    plans: Annotated[list[PlanPoint], Field(min_length=1)]


class PlanCurve(Record):
    """Plans by tolerance or target.

    Attributes:
        by: "loss_tolerance", or what a target removes a fraction of: "macs", "params", "latency".
        run: the run's own tolerance or target; None where it used the other.
        align: channels are kept in multiples of it; None: any number.
        steps: ascending; the end of a target's is the last one that can be reached.
    """

    by: str
    run: Optional[Finite] = None
    align: Optional[int] = None
    steps: list[PlanStep]


class PlannedLayer(Record):
    """A layer that names a group of channels, and their number."""

    name: str
    channels: Count


class NetworkCost(Record):
    """Costs of a whole network; milliseconds where a latency model of this machine tells."""

    macs: Count
    params: Count
    ms: Optional[Positive] = None


class Candidate(Record):
    """A plan that competed (`ocrslim.selection.competition.Candidate`); one of them was used."""

    recipe: str
    layers: Count
    macs: Finite
    score: Finite
    trained: list[Finite] = []
    used: bool = False


class Plans(Versioned):
    """`plans.json`: the plans that `ocrslim prune` would choose at each tolerance and target.

    Attributes:
        request: hash of what the plans depend on.
        errors: the losses are reconstruction errors (`ocrslim.pruning.refit.reconstruction`).
        recipe: of the run's plan, and of all of these.
        candidates: that the run's plan competed with; none in runs of earlier versions.
        refitted: layers are refitted before training, so that losses measured without a refit are too large.
        rounds: number of rounds; the plans are those of the last one.
        size: height and width in pixels that costs are counted at.
        place: where milliseconds are predicted for; None without a latency model.
    """

    request: str
    errors: bool
    recipe: str = ""
    candidates: list[Candidate] = []
    refitted: bool
    rounds: int = 1
    size: list[Count]
    layers: list[PlannedLayer]
    before: NetworkCost
    place: Optional[str] = None
    curves: list[PlanCurve]


class LayerCost(Record):
    """A layer before and after pruning: shape of its weight, multiply-accumulates, predicted milliseconds."""

    name: str
    kind: str = ""
    shapes: list[list[Count]]
    macs: Annotated[list[Count], Field(min_length=2, max_length=2)]
    ms: Optional[Annotated[list[Positive], Field(min_length=2, max_length=2)]] = None


class Costs(Versioned):
    """`costs.json`: where the costs of a network are, before and after pruning, and what the run depends on.

    Attributes:
        size: height and width in pixels that costs are counted at.
        macs, params: of the whole network, before and after.
        layers: in the order of the network.
        rest_ms: predicted milliseconds outside the layers, such as of reading the image.
        place: where milliseconds are predicted for; None without a latency model.
        rounds: number of rounds; layers and milliseconds are those of the last one.
        latency: milliseconds of the target `latency`: `before`, `predicted`, `measured`.
        metric, unpruned: the main indicator, and the unpruned network's score where no `sen.json` tells.
        criterion: that chose the channels.
        versions: by distribution.
        machine: processor and operating system.
        seed: `Global.seed`.
        task: "det", "rec" or "cls".
    """

    size: list[Count]
    macs: Annotated[list[Count], Field(min_length=2, max_length=2)]
    params: Annotated[list[Count], Field(min_length=2, max_length=2)]
    layers: list[LayerCost]
    rest_ms: Optional[Positive] = None
    place: Optional[str] = None
    rounds: int = 1
    latency: dict[str, Positive] = Field(default_factory=dict)
    metric: str
    unpruned: Optional[Share] = None
    criterion: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    seed: Optional[int] = None
    task: str = ""


class Item(Record):
    """Something found: a region of text, a text, or a class."""

    points: Optional[list[Annotated[list[Finite], Field(min_length=2, max_length=2)]]] = None
    text: Optional[str] = None
    label: Optional[str] = None
    score: Optional[Finite] = None


class Sample(Record):
    """What the networks before and after pruning find in an image.

    Attributes:
        image: path, relative to the file that names it.
        name: of the image as it was given; that of `image` where it is empty.
        size: height and width in pixels that the points refer to.
    """

    image: str
    name: str = ""
    size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]
    before: list[Item]
    after: list[Item]


class Samples(Versioned):
    """`samples.json`: what both networks find in images.

    Attributes:
        task: "det", "rec" or "cls".
        images: folder that the images came from.
        compared, equal: number of images that both networks ran on, and in how many they find the same.
        samples: some of them, those that differ most first.
    """

    task: str
    images: str
    compared: Count
    equal: Count
    samples: list[Sample]


def read_run_file(path: Path, kind: type[Found], made_by: str) -> Optional[Found]:
    """Read a file of a run; None where it is missing.

    Raises:
        ArtifactError: damaged, or written by a newer ocrslim.
    """
    if not os.path.lexists(path):
        return None
    content = read_json(path, made_by)
    known = kind.model_fields["version"].default if "version" in kind.model_fields else None
    require_known(path, content, known)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise damaged(path, error, made_by) from None


def require_known(path: Path, content: dict[str, Any], known: Optional[int]) -> None:
    """Refuse a file of a newer schema.

    Args:
        known: the newest schema that is known; None where the file has none.

    Raises:
        ArtifactError: with what to do.
    """
    found = content.get("schema", known)
    if known is not None and (not isinstance(found, int) or found > known):
        raise ArtifactError(
            f"{path}: schema {shown(found)}, and this ocrslim reads up to {known}: the run is of a newer ocrslim; "
            "install that one (pip install --upgrade ocrslim) and write the report again"
        )


def damaged(path: Path, error: ValidationError, made_by: str) -> ArtifactError:
    """Make the error for a file with a value of a wrong type, which is named."""
    first = error.errors()[0]
    place, why = ".".join(map(str, first["loc"])) or "it", first["msg"].lower()
    return ArtifactError(
        f"{path}: damaged: {place} is {shown(first['input'])}: {why}; delete it and run {made_by} again"
    )
