"""Sections of a configuration that several tasks share; what they leave open, PaddleOCR's own code checks."""

from typing import Annotated, Literal, Optional

from pydantic import Field

from ocrslim.schema import ABSENT, Flag, Number, Off, OpenSection, Section, Text, expected, real, whole
from ocrslim.tasks.schema import DatasetFaults, TaskSchema

_MOST = 16_384  # pixels
Side = Annotated[int, whole(1, _MOST)]
_Shape = Annotated[
    list[Side], Field(min_length=3, max_length=3), expected("channels, height and width: three whole numbers")
]


class Part(OpenSection):
    """A part that PaddleOCR's code has under a name."""

    name: Text


class DecodeImage(OpenSection):
    img_mode: Literal["BGR", "RGB"] = ABSENT
    channel_first: Annotated[Off, expected("false: what follows works on height, width, channels")] = ABSENT
    ignore_orientation: Flag = ABSENT


class ResizeImg(OpenSection):
    image_shape: _Shape


class KeepKeys(Section):
    keep_keys: Annotated[list[Text], Field(min_length=1), expected("a list of names, image first")]


class MultiScaleSampler(Section):
    """Batches of several image sizes, as PaddleOCR's class of this name makes them."""

    name: Literal["MultiScaleSampler"]
    scales: Annotated[
        list[Annotated[list[Side], Field(min_length=2, max_length=2)]],
        Field(min_length=1, max_length=100),
        expected("a list of sizes, each [width, height]"),
    ]
    first_bs: Annotated[int, whole(1, 65536)] = ABSENT
    fix_bs: Flag = ABSENT
    divided_factor: Annotated[
        list[Side], Field(min_length=2, max_length=2), expected("[width, height] that sizes are multiples of")
    ] = ABSENT
    is_training: Flag = ABSENT
    ratio_wh: Annotated[Number, real(0, 100)] = ABSENT
    max_w: Annotated[Number, real(1, _MOST)] = ABSENT
    seed: Optional[Annotated[int, whole(0)]] = ABSENT


def line_schema(
    architecture: type[Section], metric: type[Section], resize: str, dataset_faults: DatasetFaults
) -> TaskSchema:
    """Return the schema of a task on images of lines, whose networks, losses and decoders are PaddleOCR's.

    Args:
        architecture, metric: types of these sections.
        resize: name of the transform that gives images their size.
        dataset_faults: as `TaskSchema` has it.
    """
    return TaskSchema(
        architecture=architecture,
        loss=Part,
        post_process=Part,
        metric=Annotated[metric, Field(discriminator="name")],
        transforms={"DecodeImage": DecodeImage, resize: ResizeImg, "KeepKeys": KeepKeys},
        dataset_faults=dataset_faults,
        open=True,
    )
