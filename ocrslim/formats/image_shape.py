"""The size of the image that an exported network takes."""

from __future__ import annotations

from pathlib import Path

from ocrslim.errors import WeightsError
from ocrslim.formats.onnx.model import open_onnx
from ocrslim.formats.programs.program_check import check_program
from ocrslim.formats.programs.tensor_shapes import Shape
from ocrslim.formats.weights.exported import ONNX_SUFFIX
from ocrslim.formats.weights.inference_model import find_program
from ocrslim.formats.weights.paths import unreadable


def input_sizes(source: str | Path) -> Shape:
    """Return [N, C, H, W] of the image that an exported network takes, -1 for a size that its file leaves open.

    Raises:
        WeightsError: it is missing or damaged, or holds what is not run here.
    """
    if Path(source).suffix == ONNX_SUFFIX:
        return open_onnx(source, quantised=True).input_sizes
    program = find_program(source)
    try:
        return check_program(program)
    except OSError as error:
        raise unreadable(program, error) from None


def require_image(source: str | Path, sizes: Shape, image: Shape) -> None:
    """Require that a network takes images of the shape `image`.

    Args:
        sizes: what `input_sizes` says of it.

    Raises:
        WeightsError: it does not.
    """
    if len(image) != len(sizes) or any(fixed not in (-1, size) for fixed, size in zip(sizes, image)):
        raise WeightsError(
            f"{source}: its input is fixed to {list(sizes)} (-1: free) and the images are {list(image)}: bring them to "
            "that size with Eval.dataset.transforms"
        )
