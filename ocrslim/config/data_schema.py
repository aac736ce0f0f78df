"""The sections `Train` and `Eval`: data sets, and how they are loaded."""

from typing import Annotated, Any, Literal, Optional, Union

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from ocrslim.schema import (
    ABSENT,
    ONE_OR_MORE,
    SOME,
    Characters,
    Flag,
    Number,
    OpenSection,
    PathText,
    Section,
    Text,
    expected,
    fault,
    real,
    refuse_unless,
    whole,
)
from ocrslim.utils import shortened

READ_DATA_SETS = ("SimpleDataSet", "MultiScaleDataSet", "TextDetDataset")
_MOST_TRANSFORMS = 100
_Shares = Annotated[Number, real(0, 1, above=True)]


def _to_transforms(value: Any) -> list[dict[str, Any]]:
    refuse_unless(isinstance(value, list) and len(value) > 0)
    refuse_unless(len(value) <= _MOST_TRANSFORMS, f"{len(value)} items, at most {_MOST_TRANSFORMS} make sense")
    for index, item in enumerate(value):
        detail = f"item {index}, counted from 0, is {shortened(repr(item))}"
        refuse_unless(isinstance(item, dict) and len(item) == 1, detail)
    return [dict(item) for item in value]


class SimpleDataSet(Section):
    """Images named in label files; `MultiScaleDataSet` gives them to a sampler that varies their size."""

    name: Literal["SimpleDataSet", "MultiScaleDataSet", "TextDetDataset"]  # the last is PaddleX's name of the first
    data_dir: PathText
    label_file_list: Optional[
        Annotated[list[PathText], ONE_OR_MORE, SOME, expected("a label file or a list of label files")]
    ] = ABSENT
    image_list: Optional[PathText] = ABSENT  # of a data set without labels: a file with the names of its images
    ratio_list: Annotated[
        Union[_Shares, Annotated[list[_Shares], SOME]],
        expected("the fraction of each label file to use, above 0 and at most 1"),
    ] = ABSENT
    transforms: Annotated[
        list[dict[str, Any]],
        PlainValidator(_to_transforms),
        expected("a list of transforms, each a mapping with its name as only key"),
    ]
    delimiter: Characters = ABSENT
    ext_op_transform_idx: Annotated[int, whole(0, 100)] = ABSENT
    ds_width: Flag = ABSENT

    @field_validator("ratio_list")
    @classmethod
    def _one_for_each_file(cls, shares: Any, info: ValidationInfo) -> Any:
        files = info.data.get("label_file_list")
        if files and isinstance(shares, list) and len(files) != len(shares):
            ones = str([1.0] * len(files)).replace(" ", "")
            raise fault(
                f"found {len(shares)} fractions for {len(files)} label files, expected one for each; set -o KEY={ones}"
            )
        return shares


class OtherDataSet(OpenSection):
    """A data set that PaddleOCR has and that is not read here; its configuration serves what needs no data."""

    name: Literal[
        "LMDBDataSet",
        "LMDBDataSetSR",
        "LMDBDataSetTableMaster",
        "LaTeXOCRDataSet",
        "PGDataSet",
        "PubTabDataSet",
    ]


class _Loader(Section):
    drop_last: Flag = False
    num_workers: Annotated[int, whole(0, 1024)] = 0
    use_shared_memory: Flag = ABSENT
    collate_fn: Any = ABSENT  # these two are PaddleOCR's affair
    num_sections: Any = ABSENT


class TrainLoader(_Loader):
    shuffle: Flag = True
    batch_size_per_card: Annotated[int, whole(1, 65536)]


class EvalLoader(_Loader):
    """PaddleOCR's files have all kinds of sizes here; images are evaluated one by one anyway."""

    shuffle: Flag = False
    batch_size_per_card: Annotated[int, whole(1, 65536)] = 1


class _Data(Section):
    dataset: Optional[Annotated[Union[SimpleDataSet, OtherDataSet], Field(discriminator="name")]] = ABSENT


class Sampler(OpenSection):
    """The sampler of a `MultiScaleDataSet`."""

    name: Text


class TrainData(_Data):
    sampler: Optional[Sampler] = ABSENT
    loader: Optional[TrainLoader] = ABSENT


class EvalData(_Data):
    loader: Optional[EvalLoader] = ABSENT
