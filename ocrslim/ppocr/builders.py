"""Networks, losses and metrics by PaddleOCR's own classes, from the sections of a configuration."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocrslim.errors import ConfigError
from ocrslim.ppocr.catalogue import PARTS, Catalogue
from ocrslim.ppocr.faults import section_faults
from ocrslim.ppocr.lent_names import lend_names
from ocrslim.ppocr.quiet import quietly
from ocrslim.ppocr.source import code_folder, find_source, import_fault, use_source, used_source
from ocrslim.utils import cause_of

if TYPE_CHECKING:
    from paddle import nn

_COMPILED = {"PSEPostProcess": "postprocess/pse_postprocess/pse"}  # modules that PaddleOCR compiles when imported
_COMPILING = "Failed to run command"  # Paddle says so where the build of an extension fails


def base_model() -> type[nn.Layer]:
    """Return PaddleOCR's class of networks, `BaseModel`.

    Raises:
        ConfigError: there is no training side, or it cannot be imported.
    """
    kind: type[nn.Layer] = _imported("modeling.architectures.base_model").BaseModel
    return kind


def network_arguments(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return an `Architecture` section as `BaseModel` takes it: a copy, which it changes, without pretrained weights.

    Raises:
        ConfigError: a name or an argument that this PaddleOCR does not have; the message has the nearest.
    """
    folder = _folder()
    faults = section_faults({"Architecture": architecture}, folder)
    if faults:
        raise ConfigError([f"{key}: {fault}" for key, fault in faults])
    arguments = copy.deepcopy(dict(architecture))
    catalogue = Catalogue(folder, str(architecture.get("model_type")))
    for part in PARTS:
        section = arguments.get(part)
        if section and "pretrained" in (*section, *catalogue.signature(part, section["name"]).arguments):
            section["pretrained"] = False  # else some are downloaded
    return arguments


@contextmanager
def building(what: str) -> Iterator[None]:
    """Report what PaddleOCR's classes say against their arguments, and let them name parameters as often as they like.

    They name some of them, and Paddle demands that no two networks of a process use one name.

    Args:
        what: is built, for messages, such as "Architecture".

    Raises:
        ConfigError: they refuse; one line.
    """
    from paddle.utils import unique_name

    generator, checker = unique_name.switch()
    unique_name.switch(generator)  # the numbers go on, the names start anew
    try:
        with quietly():  # some modules are imported when they are first used
            yield
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError(f"{what}: {import_fault(error)}") from error
    except Exception as error:  # some raise just that
        raise ConfigError(f"{what}: PaddleOCR's code in {_folder()} refuses it: {_reason(error)}") from error
    finally:
        unique_name.switch(generator, checker)


def build_loss(section: Mapping[str, Any]) -> Any:
    """Build the loss of a section `Loss`: a function of predictions and a batch.

    Raises:
        ConfigError: PaddleOCR has none of that name, or refuses the arguments.
    """
    return _built("losses", "build_loss", "Loss", section)


def build_metric(section: Mapping[str, Any]) -> Any:
    """Build the metric of a section `Metric`.

    Raises:
        ConfigError: PaddleOCR has none of that name, or refuses the arguments.
    """
    return _built("metrics", "build_metric", "Metric", section)


def build_decoder(section: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Build the post-processing of a section `PostProcess`.

    Args:
        settings: the section `Global`.

    Raises:
        ConfigError: PaddleOCR has none of that name, refuses the arguments, or lacks a compiled part.
    """
    from ocrslim.ppocr.imported import build_post_process

    faults = [f"{key}: {fault}" for key, fault in section_faults({"PostProcess": section})]
    if faults:
        raise ConfigError(faults)
    try:
        with building("PostProcess"):
            return build_post_process(dict(section), dict(settings))
    except ConfigError as error:
        part = _COMPILED.get(str(section.get("name")))
        if part is None:
            raise
        raise ConfigError(
            f"PostProcess.name: {section['name']} needs a module that PaddleOCR compiles, in "
            f"{code_folder()}/ppocr/{part}: install Cython and a C++ compiler and run the command inside a checkout "
            f"({error})"
        ) from error


def _built(package: str, builder: str, key: str, section: Mapping[str, Any]) -> Any:
    build: Callable[[dict[str, Any]], Any] = getattr(_imported(package), builder)
    faults = [f"{place}: {fault}" for place, fault in section_faults({key: section}, _folder())]
    if faults:
        raise ConfigError(faults)
    with building(key):
        return build(dict(section))


def _imported(module: str) -> Any:
    """Import a part of PaddleOCR's training side."""
    _folder()
    try:
        with quietly():
            found = importlib.import_module(f"ppocr.{module}")
            lend_names(module.partition(".")[0])
            return found
    except ImportError as error:
        raise ConfigError(import_fault(error)) from error


def _folder() -> Path:
    folder = used_source()
    if folder is None:
        use_source(find_source(None))
        folder = used_source()
    assert folder is not None  # `find_source` has seen it
    return folder


def _reason(error: BaseException) -> str:
    reason = f"{type(error).__name__}: {cause_of(error)}"
    if _COMPILING in reason:
        reason += "; it compiles C++ that it looks for in the working directory: run the command inside the checkout"
    return reason
