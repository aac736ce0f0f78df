"""The section `Export`: what an export writes, and where it will run."""

from typing import Annotated, Literal, Optional

from pydantic import AfterValidator, Field

from ocrslim.schema import ONE_OR_MORE, Flag, PathText, Section, ZeroToOne, expected, refuse_unless, whole

Format = Literal["paddle", "pir", "onnx", "lite"]
Runtime = Literal["paddle", "onnxruntime", "openvino"]


def _each_once(formats: tuple[str, ...]) -> tuple[str, ...]:
    refuse_unless(len(set(formats)) == len(formats), "one of them twice")
    return formats


class ExportOptions(Section):
    """The section `Export`.

    Attributes:
        formats: what to write; None: the native format and ONNX, as far as the installed packages write them.
        lite_python: an interpreter with Paddle Lite, which writes the format `lite`.
        rewrite: rewrite the network by exact algebra, where that is faster; None: but for a model from a file, which is
            written back as it came.
        runtime: where the export will run.
        threads: the threads that it will have there.
        int8: also write a quantised model.
        int8_tolerance: what the score of the quantised model may lose.
    """

    formats: Annotated[
        Optional[tuple[Format, ...]],
        ONE_OR_MORE,
        Field(min_length=1),
        AfterValidator(lambda formats: formats and _each_once(formats)),
        expected("one or more of paddle, pir, onnx, lite, such as [paddle, onnx]"),
    ] = None
    lite_python: Optional[PathText] = None
    rewrite: Optional[Flag] = None
    runtime: Runtime = "paddle"
    threads: Annotated[int, whole(1, 1024)] = 1
    int8: Flag = False
    int8_tolerance: ZeroToOne = 0.01
