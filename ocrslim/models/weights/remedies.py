"""Weights that do not fit: what they seem to be, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from ocrslim.formats import CHECKPOINT, Arrays, WeightFile
from ocrslim.models.weights.matching import BACKBONE

Shapes = Mapping[str, tuple[int, ...]]

_CONFIG = "use the configuration that these weights were trained with"
_CLASSES = 1000  # of ImageNet
_NORMS = (".w_2", "._variance")  # a batch norm's variance, by Paddle's parameter name and by a state dict's key
# marks of the networks of the shipped configurations: a key of the neck, its width, whether there is squeeze-excite
_SHIPPED = {
    ("neck.in2_conv.weight", 256, True): "configs/det/det_mv3_db.yml",
    ("neck.in2_conv.weight", 96, False): "configs/det/ch_ppocr_v2.0/ch_det_mv3_db_v2.0.yml",
    ("neck.ins_conv.0.in_conv.weight", 96, False): "configs/det/ch_PP-OCRv3/ch_PP-OCRv3_det_student.yml",
}


def remedy(file: WeightFile, arrays: Arrays, shapes: Shapes) -> str:
    """Suggest a remedy where `arrays`, the keyed arrays of `file`, are not those that `shapes` asks for."""
    if file.kind != CHECKPOINT:
        return _remedy_of_numbered(arrays, shapes)
    if _is_backbone(arrays, shapes):
        return (
            "these are a backbone's weights, not a whole network's: start a training from them with `ocrslim train` "
            f"and -o Global.pretrained_model= Global.init_backbone={file.path}"
        )
    if _is_pruned(arrays, shapes):
        return (
            "its layers are narrower, as in a pruned checkpoint: put the .plan.json that was written with it beside it"
        )
    if _has_other_widths(arrays, shapes):
        return (
            "its layers have other widths, as where the .plan.json beside it is of another checkpoint: put the one "
            f"there that was written with it; where it has none, {_CONFIG}"
        )
    config = _config_of(arrays)
    has = f"it has the layers of {config}: " if config else ""
    return f"{has}{_CONFIG}; a pruned checkpoint also needs its .plan.json beside it"


def _is_backbone(arrays: Arrays, shapes: Shapes) -> bool:
    """Tell whether the arrays are a backbone's or a classifier's: none of neck and head."""
    if not arrays or any(key.startswith(("neck.", "head.")) and key in shapes for key in arrays):
        return False
    inner = {key.removeprefix(BACKBONE) for key in shapes if key.startswith(BACKBONE)}
    ours = sum(key.removeprefix(BACKBONE) in inner for key in arrays)
    return ours > len(inner) / 4 or any(array.shape and array.shape[-1] == _CLASSES for array in arrays.values())


def _is_pruned(arrays: Arrays, shapes: Shapes) -> bool:
    """Tell whether all keys are there, and no size is larger."""
    return _has_other_widths(arrays, shapes) and all(
        a <= b for key, array in arrays.items() for a, b in zip(array.shape, shapes[key])
    )


def _has_other_widths(arrays: Arrays, shapes: Shapes) -> bool:
    """Tell whether all keys are there, with arrays of as many axes."""
    return arrays.keys() == shapes.keys() and all(len(array.shape) == len(shapes[key]) for key, array in arrays.items())


def _config_of(arrays: Arrays) -> str | None:
    """Return the shipped configuration whose network has these arrays."""
    squeezed = any(".mid_se." in key for key in arrays)
    for (key, width, with_squeeze), config in _SHIPPED.items():
        if key in arrays and arrays[key].shape[:1] == (width,) and squeezed == with_squeeze:
            return config
    return None


def _remedy_of_numbered(arrays: Arrays, shapes: Shapes) -> str:
    """Suggest a remedy for a model whose layers are matched by their order: missing batch norms were folded."""
    found, expected = (sum(name.endswith(_NORMS) for name in names) for names in (arrays, shapes))
    if found < expected / 2:
        return (
            f"batch norms are folded into its convolutions ({expected} expected, {found} found), which cannot be "
            "undone: use the checkpoint (.pdparams) that it was made from, or a model exported without that; what "
            "Paddle exported runs as it is in `ocrslim eval` and `predict`, in a folder"
        )
    return _CONFIG
