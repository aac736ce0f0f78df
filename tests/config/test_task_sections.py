"""Sections of a task: any registered task has its own, and every list of allowed values is that of the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
from colour import Colours
from pydantic import Field

from ocrslim.config import load_config
from ocrslim.config.optimizer_schema import Optimizer, Schedule
from ocrslim.config.schema import TARGETS, Criterion, Distill, GroupScore, Mode, Target
from ocrslim.errors import ConfigError
from ocrslim.schema import ABSENT, Flag, Section
from ocrslim.tasks import REGISTERED_PARTS, TaskSchema, register, registry
from ocrslim.tasks.detection import schema as detection

REPO = Path(__file__).resolve().parents[2]
MAIN = REPO / "configs/det/det_mv3_db.yml"


class _Architecture(Section):
    model_type: Literal["cls"]
    classes: Annotated[int, Field(strict=True, ge=2, description="two classes or more")]


class _Loss(Section):
    name: Literal["ClsLoss"]


class _Turn(Section):
    by: Literal["left", "right"] = ABSENT
    strongly: Flag = ABSENT


class _Classification(Colours):
    model_type = "cls"
    schema = TaskSchema(
        architecture=_Architecture,
        loss=Annotated[_Loss, Field(discriminator="name")],
        post_process=Any,
        metric=Any,
        transforms={"Turn": _Turn},
        dataset_faults=lambda dataset, mode: [("transforms", f"nothing fits {mode}")],
        exclusive={"Turn": (("by",), ("strongly",))},
    )


FILE = """
Architecture: {model_type: cls, classes: 4}
Loss: {name: ClsLoss}
Train:
  dataset: {name: SimpleDataSet, data_dir: x, label_file_list: x, transforms: [{Turn: {by: left}}]}
  loader: {batch_size_per_card: 4}
"""


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))
    register(_Classification())
    path = tmp_path / "config.yml"
    path.write_text(FILE)
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_a_configuration_of_another_task_is_read_by_its_schema(config):
    loaded = load_config(config, ["Train.dataset.transforms.Turn.by=right"])
    assert loaded.section("Architecture") == {"model_type": "cls", "classes": 4}
    assert loaded.get("Train.dataset.transforms") == [{"Turn": {"by": "right"}}]
    with pytest.raises(ConfigError, match=r"Train\.dataset\.transforms: nothing fits Train"):
        loaded.require_transforms("Train")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("Architecture.classes=1", "found 1, expected two classes or more"),
        ("Architecture.Backbone={name: MobileNetV3}", "unknown key"),
        ("Architecture.model_type=ocr", "found 'ocr', expected one of det, rec, cls"),
        ("Loss.name=DBLoss", "Loss.name=DBLoss: found 'DBLoss', expected ClsLoss"),
        ("Train.dataset.transforms=[{DecodeImage: }]", "unknown transform 'DecodeImage': expected one of Turn"),
        ("Train.dataset.transforms.Turn.by=up", "expected one of left, right"),
        ("Train.dataset.transforms.Turn.strongly=true", "without effect, since Turn has by=left"),
    ],
)
def test_a_fault_is_told_by_the_schema_of_the_task(config, override, expected):
    assert expected in refusal(config, override)


# Lists of allowed values beside the code that implements them


def options(section: Any, key: str) -> set[str]:
    return {*get_args(section.model_fields[key].annotation)}


def names(union: Any) -> set[str]:
    kinds = get_args(get_args(union)[0]) or (get_args(union)[0],)
    sections = [get_args(kind)[0] if get_args(kind) else kind for kind in kinds]
    return {name for section in sections for name in options(section, "name")}


def test_networks_are_those_that_can_be_built():
    import ocrslim.models  # noqa: F401  # enters the networks
    from ocrslim.models.backbones.mobilenet_v3 import STAGES

    parts = detection.Architecture.model_fields
    assert options(detection.MobileNetV3, "model_name") == {*STAGES}
    for part, known in REGISTERED_PARTS.items():
        kinds = get_args(parts[part].annotation) or (parts[part].annotation,)
        assert {name for kind in kinds for name in options(kind, "name")} == {*known}


@pytest.mark.parametrize("channels", [4, 8, 100])
def test_a_neck_that_cannot_be_built_is_refused_at_once(channels):
    line = refusal(MAIN, f"Architecture.Neck.out_channels={channels}")
    assert "expected a whole number from 16 to 4096, a multiple of 16" in line


def test_what_trains_and_prunes_has_every_value_of_the_schema():
    from ocrslim.pruning import channel_pruner, criteria
    from ocrslim.sensitivity.results import table
    from ocrslim.tasks.detection import loss
    from ocrslim.training.optimization import optimizers

    assert {*get_args(Criterion)} == {criteria.AUTO, *criteria.CRITERIA, criteria.RECONSTRUCTION, "random"}
    assert get_args(GroupScore) == channel_pruner.GROUP_SCORES
    assert get_args(Mode) == (table.EXACT, table.ADAPTIVE)
    assert names(Optimizer) == {*optimizers._OPTIMIZERS}
    assert names(Schedule) == {*optimizers._SCHEDULES}
    assert options(detection.DBLoss, "main_loss_type") == {*loss._MAIN_LOSSES}
    assert {*Target.model_fields} == {*TARGETS, "flops"}
    assert Distill().plain({}) == {"maps": 1.0, "features": 1.0, "fade": 0.5}
