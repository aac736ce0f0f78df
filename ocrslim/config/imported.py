"""Configurations of networks that come from an exported file: their `Architecture` is the file's name.

    Architecture: {model_type: det, program: ch_PP-OCRv4_det_infer}

It is filled in where a configuration has no `Architecture` and the weights that it names are such a file, or a
checkpoint of such a network, beside which the plan says what it was.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocrslim.config.overrides import lookup
from ocrslim.errors import ArtifactError, ConfigError, WeightsError
from ocrslim.formats import PLAN_SUFFIX, exported_files, input_sizes, is_exported, named_network, resolve_checkpoint
from ocrslim.schema import ABSENT, PathText, Section, Text
from ocrslim.tasks import Task, TaskSchema, task_types
from ocrslim.utils import read_json

PROGRAM, CHECKSUM = "Architecture.program", "Architecture.checksum"
_SECTION = "Architecture"
_WEIGHTS = ("Global.pretrained_model", "Global.pretrain_weights")


class ImportedArchitecture(Section):
    """A network from a file."""

    model_type: Text
    algorithm: Text = ABSENT
    program: PathText
    checksum: Text = ABSENT


def is_imported(tree: Mapping[str, Any]) -> bool:
    """Tell whether a configuration's network comes from a file."""
    return isinstance(lookup(tree, PROGRAM), str)


@functools.cache
def imported_schema(schema: TaskSchema) -> TaskSchema:
    """Return the schema of a task for networks from files, whose classes nobody needs."""
    return replace(schema, architecture=ImportedArchitecture, needs_source="", built_in=())


def imported_architecture(tree: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the section `Architecture` of a network from a file; None where the network is described otherwise.

    Args:
        tree: a configuration that is not checked yet, its overrides applied.

    Raises:
        ConfigError: the file is missing, cannot be read or has changed; or nothing says what kind of model it is.
    """
    architecture = tree.get(_SECTION) or {}
    if not isinstance(architecture, Mapping) or not set(architecture) <= set(ImportedArchitecture.model_fields):
        return None
    program, known = architecture.get("program"), architecture
    if program is None:
        program, known = _program_of_weights(tree)
    if not isinstance(program, str):
        return None
    kind = architecture.get("model_type") or known.get("model_type") or kind_of(tree)
    if kind is None:
        raise ConfigError(
            f"{PROGRAM}: {program}: nothing says what kind of model it is, expected PostProcess.name, or "
            f"Architecture.model_type with one of {', '.join(task_types())}"
        )
    checksum = _checksum(program)
    before = known.get("checksum")
    if before not in (None, checksum):
        raise ConfigError(
            f"{PROGRAM}: {program} is not the file it was ({CHECKSUM}: found {checksum}, expected {before}): name the "
            f"file that the network was made from, with -o {PROGRAM}=PATH"
        )
    return {**architecture, "model_type": kind, "program": program, "checksum": checksum}


def sized_task(task: Task, architecture: Mapping[str, Any]) -> Task:
    """Return the task with inputs of the size that a network from a file has, where the file fixes it.

    Raises:
        WeightsError: the file is missing or damaged, or holds what is not run here.
    """
    program = architecture.get("program")
    return task.sized(_fixed_sizes(program, architecture.get("checksum"))) if isinstance(program, str) else task


@functools.cache
def _fixed_sizes(program: str, _: str | None) -> tuple[int, ...]:
    """Return batch, height and width of what the network in a file takes; -1 for what may vary."""
    batch, _channels, *sides = input_sizes(program)
    return (batch, *sides)


def _program_of_weights(tree: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """Return the file that the weights are, or were made from, and the `Architecture` beside a checkpoint."""
    key, weights = next(((key, found) for key in _WEIGHTS if isinstance(found := lookup(tree, key), str)), ("", ""))
    if not key:
        return None, {}
    try:
        named = named_network(weights)
        if is_exported(named):
            return (weights if named == Path(weights) else str(named)), {}
        checkpoint = resolve_checkpoint(weights)
        plan = read_json(checkpoint.with_name(checkpoint.name.removesuffix(".pdparams") + PLAN_SUFFIX), "ocrslim prune")
    except (ArtifactError, WeightsError, OSError) as error:
        if isinstance(error, WeightsError) and tree.get(_SECTION):  # which leaves the network to the missing file
            raise ConfigError(f"{key}: {error}") from None
        return None, {}  # what reads the weights reports the fault
    known = plan.get("architecture") if isinstance(plan, Mapping) else None
    return (known.get("program"), known) if isinstance(known, Mapping) else (None, {})


def kind_of(tree: Mapping[str, Any]) -> str | None:
    """Return the `model_type` of a model by its post-processing; None where that does not say."""
    name = str(lookup(tree, "PostProcess.name") or "")
    if "LabelDecode" in name:
        return "rec"
    return "cls" if name.startswith("Cls") else "det" if name.endswith("PostProcess") else None


def _checksum(program: str) -> str:
    """Return the SHA-256 of a network's files, shortened."""
    digest = hashlib.sha256()
    try:
        for path in exported_files(Path(program)):
            digest.update(path.read_bytes())
    except (WeightsError, OSError) as error:
        raise ConfigError(f"{PROGRAM}: {error}") from None
    return digest.hexdigest()[:16]
