"""Names and arguments in a configuration that the copy of PaddleOCR in use does not have, each with the nearest."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocrslim.ppocr.catalogue import PARTS, Catalogue
from ocrslim.ppocr.source import code_folder
from ocrslim.utils import shortened

Fault = tuple[str, str]  # a dotted key, what is wrong there
_MOST_NAMED = 12
_OTHERS = ("Loss", "PostProcess", "Metric")


def section_faults(tree: Mapping[str, Any], folder: Path | None = None, complete: bool = True) -> list[Fault]:
    """List what PaddleOCR's code cannot build of a configuration.

    Args:
        tree: its sections; those that are missing are not looked for.
        folder: holds the package `ppocr`; by default that of the copy in use. Without one there are no faults.
        complete: whether arguments that are missing are faults.
    """
    folder = folder or code_folder()
    if folder is None:
        return []
    architecture = tree.get("Architecture") or {}
    catalogue = Catalogue(folder, str(architecture.get("model_type")))
    sections = {f"Architecture.{part}": (part, architecture.get(part)) for part in PARTS}
    sections.update({kind: (kind, tree.get(kind)) for kind in _OTHERS})
    return [
        fault
        for key, (kind, section) in sections.items()
        if isinstance(section, Mapping)
        for fault in _faults(catalogue, folder, key, kind, section, complete)
    ]


def transform_fault(name: str, model_type: str) -> str | None:
    """Describe what is wrong with the name of a transform; None where PaddleOCR has it or is not there to say."""
    folder = code_folder()
    names = Catalogue(folder, model_type).names("transforms") if folder else []
    if not folder or not names or name in names:
        return None
    return f"unknown transform {shortened(name)!r}, expected one that {folder} has: {_nearest(name, names)}"


def _faults(
    catalogue: Catalogue, folder: Path, key: str, kind: str, section: Mapping[str, Any], complete: bool
) -> Iterator[Fault]:
    name, names = section.get("name"), catalogue.names(kind)
    if not names or name == "None":  # how PaddleOCR writes that there is no post-processing
        return
    if name not in names:
        found = "missing" if name is None else f"found {shortened(repr(name))}"
        yield f"{key}.name", f"{found}, expected a class that {folder} has: {_nearest(str(name), names)}"
        return
    signature = catalogue.signature(kind, str(name))
    # post-processing gets the section Global as well, a part of a network the channels in front of it
    missing = [each for each in signature.required if kind in PARTS and each not in (*section, "in_channels")]
    if missing and complete:
        yield key, f"{name} lacks {', '.join(missing)}, expected a value for each"
    for argument in section:
        if argument != "name" and not signature.open and argument not in signature.arguments:
            yield f"{key}.{argument}", f"{name} has no such argument: {_nearest(str(argument), signature.arguments)}"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    others = ", ".join(known[:_MOST_NAMED]) + (" and others" if len(known) > _MOST_NAMED else "")
    return f"did you mean {near[0]}?" if near else f"one of {others}" if known else "it takes none"
