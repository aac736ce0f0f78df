"""Transforms: each operator's arguments, and whether the list makes a data set that can be learnt from or scored."""

from __future__ import annotations

import copy
import inspect
import re
from pathlib import Path

import pytest
import yaml
from shipped import shipped
from small_dataset import EVAL, TRAIN

from ocrslim.config.config import load_config
from ocrslim.errors import ConfigError
from ocrslim.tasks.detection.operators import OPERATORS
from ocrslim.tasks.detection.pipeline import copy_paste_faults, pipeline_faults

REPO = Path(__file__).resolve().parents[2]
MAIN = REPO / "configs/det/det_mv3_db.yml"
OF = {"Train": TRAIN, "Eval": EVAL}


def changed(mode: str, name: str, *, to: object = None, drop: bool = False, move: int | None = None) -> list[dict]:
    """The transforms of `mode` with the operator `name` replaced, taken out or moved."""
    transforms = copy.deepcopy(OF[mode])
    (index,) = [index for index, entry in enumerate(transforms) if name in entry]
    entry = transforms.pop(index)
    if not drop:
        transforms.insert(index if move is None else move, {name: to} if move is None else entry)
    return transforms


def loaded(folder: Path, mode: str, transforms: list[dict]):
    dataset = {"name": "SimpleDataSet", "data_dir": "x", "label_file_list": ["x"], "transforms": transforms}
    loader = {"batch_size_per_card": 1}
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump({mode: {"dataset": dataset, "loader": loader}}))
    config = load_config(path)
    config.require(mode)
    return config


def refusal(folder: Path, mode: str, transforms: list[dict]) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, mode, transforms)
    assert len(caught.value.problems) == 1, caught.value.problems
    return str(caught.value)


# The list as a whole


@pytest.mark.parametrize("mode", ["Train", "Eval"])
def test_the_usual_lists_are_complete(tmp_path, mode):
    assert loaded(tmp_path, mode, OF[mode]).get(f"{mode}.dataset.transforms") == OF[mode]


@pytest.mark.parametrize("path", shipped())
def test_every_shipped_list_is_complete(path):
    config, written = load_config(path), yaml.safe_load(path.read_text())
    config.require("Train", "Eval")
    for mode in OF:
        assert config.get(f"{mode}.dataset.transforms") == written[mode]["dataset"]["transforms"], "nothing is lost"


JITTER = {"ColorJitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.7, "hue": 0.1}}
EPOCHS = {"shrink_ratio": 0.4, "total_epoch": 500}


@pytest.mark.parametrize(
    ("mode", "transforms"),
    [
        pytest.param("Train", [*TRAIN[:2], {"CopyPaste": None}, *TRAIN[2:]], id="PP-OCRv3: CopyPaste"),
        pytest.param("Train", [*TRAIN[:2], {"CopyPaste": None}, JITTER, *TRAIN[2:]], id="PP-OCRv6: ColorJitter"),
        pytest.param("Train", changed("Train", "MakeBorderMap", to=EPOCHS), id="PP-OCRv4: total_epoch"),
        pytest.param("Train", changed("Train", "MakeShrinkMap", to={"shrink_ratio": 0.8}), id="PP-OCRv4: seals"),
        pytest.param("Train", changed("Train", "MakeShrinkMap", move=4), id="DB++: maps the other way round"),
        pytest.param("Train", [*TRAIN[:2], {"Resize": {"size": [640, 640]}}, *TRAIN[4:]], id="Resize, no crop"),
        pytest.param("Train", [*TRAIN[:2], *TRAIN[3:]], id="no augmentation"),
        pytest.param("Eval", changed("Eval", "DetResizeForTest"), id="PP-OCRv3: resize by default"),
        pytest.param("Eval", changed("Eval", "DetResizeForTest", to={"resize_long": 736}), id="resize_long"),
        pytest.param(
            "Eval", changed("Eval", "DetResizeForTest", to={"limit_side_len": 4000, "limit_type": "max"}), id="limit"
        ),
        pytest.param(
            "Eval", changed("Eval", "DetResizeForTest", to={"image_shape": [736, 736], "keep_ratio": True}), id="ratio"
        ),
        pytest.param("Eval", changed("Eval", "KeepKeys", drop=True), id="no KeepKeys, which scoring does not read"),
    ],
)
def test_what_paddleocrs_configurations_have_is_accepted(tmp_path, mode, transforms):
    assert loaded(tmp_path, mode, transforms).get(f"{mode}.dataset.transforms") == transforms


NEEDED = {mode: [name for entry in OF[mode] for name in entry if name != "IaaAugment"] for mode in OF}
NEEDED["Eval"].remove("KeepKeys")


@pytest.mark.parametrize(("mode", "name"), [(mode, name) for mode in NEEDED for name in NEEDED[mode]])
def test_what_is_left_out_is_named(tmp_path, mode, name):
    assert f"{name} is missing" in refusal(tmp_path, mode, changed(mode, name, drop=True))


ONCE = [(m, n) for m in NEEDED for n in [*NEEDED[m], "KeepKeys"] if n != "EastRandomCropData"]


@pytest.mark.parametrize(("mode", "name"), ONCE)
def test_what_is_there_twice_is_named(tmp_path, mode, name):
    transforms = [part for entry in OF[mode] for part in ([entry, entry] if name in entry else [entry])]
    assert f"{name} is there 2 times" in refusal(tmp_path, mode, transforms)


@pytest.mark.parametrize(
    ("mode", "name", "place", "expected"),
    [
        ("Train", "DecodeImage", 1, "DecodeImage comes after DetLabelEncode"),
        ("Train", "DetLabelEncode", 3, "DetLabelEncode comes after"),
        ("Train", "KeepKeys", 4, "MakeBorderMap comes after KeepKeys"),
        ("Train", "EastRandomCropData", 4, "EastRandomCropData comes after MakeBorderMap"),
        ("Train", "ToCHWImage", 2, "ToCHWImage, expected before it"),
        ("Train", "IaaAugment", 3, "IaaAugment changes sizes and comes after EastRandomCropData"),
        ("Eval", "NormalizeImage", 2, "DetResizeForTest comes after NormalizeImage"),
        ("Eval", "KeepKeys", 0, "DecodeImage comes after KeepKeys"),
    ],
)
def test_what_is_out_of_order_is_named(tmp_path, mode, name, place, expected):
    assert expected in refusal(tmp_path, mode, changed(mode, name, move=place))


@pytest.mark.parametrize(
    ("mode", "name", "options", "expected"),
    [
        ("Train", "KeepKeys", {"keep_keys": ["image", "shrink_map"]}, "in this order"),
        # the loss takes its maps by their places: these would train on the wrong ones without a word
        (
            "Train",
            "KeepKeys",
            {"keep_keys": ["image", "shrink_map", "shrink_mask", "threshold_map", "threshold_mask"]},
            "in this order",
        ),
        ("Train", "EastRandomCropData", {"size": [100, 96]}, "multiples of 32, such as [96, 96]"),
        ("Eval", "DetResizeForTest", {"image_shape": [96, 100]}, "multiples of 32, such as [96, 96]"),
        ("Eval", "NormalizeImage", {"order": "chw"}, "ToCHWImage comes after NormalizeImage"),
        ("Eval", "NormalizeImage", {"mean": [0.5, 0.5, 0.5]}, "since its order is chw"),  # PaddleOCR's default
    ],
)
def test_arguments_that_do_not_fit_what_follows_are_refused(tmp_path, mode, name, options, expected):
    assert expected in refusal(tmp_path, mode, changed(mode, name, to=options))


@pytest.mark.parametrize("name", ["IaaAugment", "CopyPaste", "ColorJitter", "Resize", "MakeShrinkMap"])
def test_what_is_scored_is_not_augmented(name):
    assert pipeline_faults([*EVAL[:2], {name: None}, *EVAL[2:]], "Eval") == [
        f"{name} changes images or labels that are to be scored as they are: take it out"
    ]


def test_training_does_not_resize_without_its_labels():
    faults = pipeline_faults([*TRAIN[:2], {"DetResizeForTest": None}, *TRAIN[2:]], "Train")
    assert faults and "leaves the labels as they are" in faults[0]


@pytest.mark.parametrize(("taken", "fits"), [(0, False), (1, False), (2, True), (3, False)])
def test_the_second_image_of_copypaste_is_decoded_and_labelled_first(taken, fits):
    transforms = [*TRAIN[:2], {"CopyPaste": None}, *TRAIN[2:]]
    assert (copy_paste_faults(transforms, taken) == []) is fits
    assert copy_paste_faults(TRAIN, taken) == []


# Names and arguments


def test_the_tables_have_the_arguments_that_paddleocr_reads():
    from ocrslim.ppocr import imaug

    for name, section in OPERATORS.items():
        build = getattr(imaug, name).__init__
        named = {p.name for p in inspect.signature(build).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD}
        read = re.findall(r"""kwargs(?:\.get\(|\[)\s*["'](\w+)|["'](\w+)["'] in kwargs""", inspect.getsource(build))
        assert set(section.model_fields) == named - {"self"} | {one or other for one, other in read}, name


@pytest.mark.parametrize(
    ("mode", "name", "options", "expected"),
    [
        ("Train", "MakeShrinkMap", {"shrink_ratoi": 0.4}, "nearest valid key: Train.dataset.transforms.MakeShrinkMap."),
        ("Train", "EastRandomCropData", {"zzz": 1}, "valid here: size, max_tries"),
        ("Eval", "ToCHWImage", {"order": "hwc"}, "it takes none"),
        ("Eval", "DetResizeForTest", {"limit_side": 960}, "DetResizeForTest.limit_side_len"),
        ("Eval", "DetResizeForTest", {"limit_type": "max"}, "without effect where there is no limit_side_len"),
        ("Eval", "DetResizeForTest", {"keep_ratio": True}, "without effect where there is no image_shape"),
        ("Train", "MakeBorderMap", {"thresh_min": 0.7, "thresh_max": 0.3}, "expected less than thresh_max"),
        ("Eval", "KeepKeys", {}, "KeepKeys.keep_keys: missing"),
        ("Eval", "KeepKeys", [1], "expected arguments by their names"),
    ],
)
def test_an_argument_without_effect_is_refused(tmp_path, mode, name, options, expected):
    assert expected in refusal(tmp_path, mode, changed(mode, name, to=options))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Train.dataset.transforms.DecodeImage.img_mode", "GRAY"),  # PaddleOCR's decoder gives three channels
        ("Train.dataset.transforms.DecodeImage.channel_first", "true"),
        ("Train.dataset.transforms.EastRandomCropData.size", "[0,0]"),
        ("Train.dataset.transforms.EastRandomCropData.size", "[-64,64]"),
        ("Train.dataset.transforms.EastRandomCropData.size", "[64]"),
        ("Train.dataset.transforms.EastRandomCropData.size", "[1000000,64]"),
        ("Train.dataset.transforms.EastRandomCropData.max_tries", "1000000000"),
        ("Train.dataset.transforms.EastRandomCropData.keep_ratio", "3"),
        ("Train.dataset.transforms.MakeShrinkMap.shrink_ratio", "-0.4"),
        ("Train.dataset.transforms.MakeShrinkMap.shrink_ratio", "0"),
        ("Train.dataset.transforms.MakeShrinkMap.shrink_ratio", "1e-9"),  # a thousand million tries for a box
        ("Train.dataset.transforms.MakeBorderMap.shrink_ratio", "1"),  # maps of nothing but border
        ("Train.dataset.transforms.MakeBorderMap.thresh_max", "3"),
        ("Train.dataset.transforms.MakeShrinkMap.min_text_size", "-1"),
        ("Train.dataset.transforms.IaaAugment.augmenter_args", "x"),
        ("Train.dataset.transforms.IaaAugment.augmenter_args", "[{type: Fliplr, args: {p: 2}}]"),
        ("Train.dataset.transforms.IaaAugment.augmenter_args", "[{type: Resize, args: {size: [3, 0.5]}}]"),
        ("Train.dataset.transforms.IaaAugment.augmenter_args", "[{type: Resize, args: {size: [0, 0]}}]"),
        ("Train.dataset.transforms.IaaAugment.augmenter_args", "[{type: Affine, args: {rotate: [10, -10]}}]"),
        ("Train.dataset.transforms.IaaAugment.augmenter_args", "[{typ: Affine}]"),
        ("Eval.dataset.transforms.DetResizeForTest.image_shape", "[0,1280]"),
        ("Eval.dataset.transforms.DetResizeForTest", "{limit_side_len: 0}"),
        ("Eval.dataset.transforms.DetResizeForTest", "{limit_side_len: -960}"),
        ("Eval.dataset.transforms.DetResizeForTest", "{resize_long: 100000000}"),
        ("Eval.dataset.transforms.DetResizeForTest", "{limit_side_len: 960, limit_type: most}"),
        ("Eval.dataset.transforms.NormalizeImage.scale", "0"),
        ("Eval.dataset.transforms.NormalizeImage.scale", "1/0"),
        ("Eval.dataset.transforms.NormalizeImage.scale", "255.**2"),
        ("Eval.dataset.transforms.NormalizeImage.mean", "[0.5]"),
        ("Eval.dataset.transforms.NormalizeImage.std", "[0,0,0]"),
        ("Eval.dataset.transforms.NormalizeImage.std", "[-1,1,1]"),
        ("Eval.dataset.transforms.NormalizeImage.order", "hcw"),
        ("Eval.dataset.transforms.KeepKeys.keep_keys", "image"),
    ],
)
def test_an_argument_that_means_nothing_is_refused_by_the_override_that_set_it(key, value):
    with pytest.raises(ConfigError) as caught:
        load_config(MAIN, [f"{key}={value}"])
    (line,) = caught.value.problems
    assert line.startswith(f"-o {key}={value}: ") and "expected" in line


def test_an_override_by_place_is_named_as_well():
    with pytest.raises(ConfigError, match=r"^-o Eval.dataset.transforms.2.DetResizeForTest.image_shape=\[0,1\]: "):
        load_config(MAIN, ["Eval.dataset.transforms.2.DetResizeForTest.image_shape=[0,1]"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DetLabelEncod", "did you mean DetLabelEncode?"),
        ("CTCLabelEncode", "unknown transform"),  # would open the dictionary that the configuration names
        ("Fasttext", "expected one of DecodeImage"),
    ],
)
def test_an_operator_of_other_tasks_is_refused_by_name(tmp_path, name, expected):
    assert expected in refusal(tmp_path, "Eval", [*EVAL[:1], {name: None}, *EVAL[2:]])


# What PaddleOCR itself is asked


@pytest.mark.parametrize(
    ("augmenter", "expected"),
    [
        ({"type": "Flplr"}, "did you mean Fliplr?"),
        ({"type": "os"}, "there is no augmenter 'os'"),
        ({"type": "GaussNoise", "args": {"std": 3}}, "'std' are not valid for transform GaussNoise"),
        ({"type": "Crop", "args": {"x_min": 5, "x_max": 2}}, "x_max must be greater"),
    ],
)
def test_an_augmenter_that_there_is_not_is_named_before_any_image(tmp_path, augmenter, expected):
    from ocrslim.data.transforms import build_operators

    config = loaded(tmp_path, "Train", changed("Train", "IaaAugment", to={"augmenter_args": [augmenter]}))
    with pytest.raises(ConfigError, match=r"^Train.dataset.transforms\[2\]: ") as caught:
        build_operators(config, "Train")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("augmenter", [{"type": "GaussNoise"}, {"type": "Perspective"}, ["Fliplr", {"p": 1}]])
def test_albumentations_own_augmenters_are_built(tmp_path, augmenter):
    from ocrslim.data.transforms import build_operators

    config = loaded(tmp_path, "Train", changed("Train", "IaaAugment", to={"augmenter_args": [augmenter]}))
    assert len(build_operators(config, "Train")) == len(TRAIN)
