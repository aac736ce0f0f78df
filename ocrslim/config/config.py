"""PaddleOCR's YAML files and `-o` overrides -> one validated configuration.

All faults are collected and raised together, one line each. Nothing here imports Paddle, so that a typing
error is answered at once.
"""

from __future__ import annotations

import copy
import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ocrslim.config.checker import MODEL_TYPE, MOST_PROBLEMS, Checker
from ocrslim.config.data_schema import READ_DATA_SETS
from ocrslim.config.export_schema import ExportOptions
from ocrslim.config.imported import imported_architecture, imported_schema, sized_task
from ocrslim.config.origins import Origins, leaves
from ocrslim.config.overrides import Override, apply_override, lookup, parse_overrides
from ocrslim.config.schema import PruneOptions
from ocrslim.config.translation import other_purpose, translate
from ocrslim.config.yaml_reader import read_yaml
from ocrslim.errors import ConfigError
from ocrslim.ppocr import KEY, Source, find_source, section_faults, use_source
from ocrslim.tasks import DEFAULT, Task, TaskSchema, is_registered, task_of, task_types
from ocrslim.utils import shortened, write_text

__all__ = ["Config", "PruneOptions", "load_config"]

logger = logging.getLogger(__name__)
_PARTS = {"Train": ("Train.dataset", "Train.loader"), "Eval": ("Eval.dataset",)}


@dataclass(frozen=True)
class Config:
    """A configuration that has passed every check.

    `tree` holds plain dictionaries, lists and scalars that JSON can say, no object twice; aliases are
    resolved to `Global.pretrained_model` and `Eval.loader.batch_size_per_card`, defaults filled in. `given` are the
    keys that `-o` set, `origins` tell where every value comes from, by its dotted key. `source` is the copy of
    PaddleOCR whose networks and losses it needs, if it does; it comes into use wherever the configuration is unpickled.
    """

    path: Path
    tree: dict[str, Any]
    given: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    source: Source | None = field(default=None, compare=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was pickled, in a worker process, whose imports of `ppocr` are to find the same files."""
        self.__dict__.update(state)
        use_source(self.source)

    def section(self, name: str) -> dict[str, Any]:
        """Return a copy of the section `name` (dotted names reach deeper); {} where it is absent."""
        return self.get(name) or {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return a copy of the value at the dotted `key`, as `Global.epoch_num`; `default` where absent."""
        return copy.deepcopy(lookup(self.tree, key, default))

    @property
    def prune(self) -> PruneOptions:
        """The section `Prune`, complete."""
        return PruneOptions.model_construct(**_constructed(self.tree["Prune"]))

    @property
    def export(self) -> ExportOptions:
        """The section `Export`, complete."""
        return ExportOptions.model_construct(**_constructed(self.tree["Export"]))

    @property
    def weights(self) -> str | None:
        """`Global.pretrain_weights`, alias `Global.pretrained_model`; None when not set."""
        return self.get("Global.pretrained_model")

    @property
    def save_model_dir(self) -> Path:
        """The folder that takes what a stage makes."""
        return Path(self.tree["Global"]["save_model_dir"])

    @property
    def task(self) -> Task:
        """The task of the model, by `Architecture.model_type`, as this configuration has it."""
        task = task_of(self.get("Architecture.model_type", DEFAULT)).configured(self.tree)
        return sized_task(task, self.tree.get("Architecture") or {})

    @property
    def main_indicator(self) -> str:
        """The score that decides: `Metric.main_indicator`, or the task's own."""
        return str(self.get("Metric.main_indicator") or self.task.main_indicator)

    @property
    def seed(self) -> int:
        """`Global.seed`, from which all randomness follows."""
        return self.tree["Global"]["seed"]

    @property
    def overwrite(self) -> bool:
        """`Global.overwrite`: whether results of an earlier, other run may be replaced."""
        return self.tree["Global"]["overwrite"]

    def changed(self, values: Mapping[str, Any]) -> Config:
        """Return a copy with other values, by sections or dotted keys of sections that exist; they are not checked."""
        tree = copy.deepcopy(self.tree)
        for key, value in values.items():
            *sections, name = key.split(".")
            (lookup(tree, ".".join(sections)) if sections else tree)[name] = copy.deepcopy(value)
        return replace(self, tree=tree)

    def require(self, *keys: str) -> None:
        """Demand that every one of `keys` is set; `"Train"` and `"Eval"` stand for the parts they need.

        Raises:
            ConfigError: some are not, or the transforms of `"Train"` or `"Eval"` do not make a data set; one line
                for each fault.
        """
        parts = [part for key in keys for part in _PARTS.get(key, (key,))]
        absent = [part for part in parts if lookup(self.tree, part) in (None, {}, [])]
        if absent:
            folder = f"configs/{self.get(MODEL_TYPE, DEFAULT)}"
            remedy = f"missing, and this command needs it; copy it from a file in {folder}, or set it with -o"
            raise ConfigError([f"{self.path}: {key}: {self._instead(key)}{remedy}" for key in absent])
        self.require_transforms(*(key for key in keys if key in _PARTS))

    def _instead(self, key: str) -> str:
        """Say what else would have told a section that is missing."""
        if key != "Architecture" or not self.weights:
            return ""
        return f"Global.pretrained_model is {self.weights}, no exported model nor a checkpoint of one that is there; "

    def require_transforms(self, *modes: str) -> None:
        """Demand that the transforms of `modes`, "Train" or "Eval", are complete and in order.

        Raises:
            ConfigError: they are not; one line for each fault.
        """
        schema, problems = _task(lookup(self.tree, MODEL_TYPE)).schema_of(self.tree), []
        for mode in modes:
            name = self.get(f"{mode}.dataset.name")
            if name not in (None, *READ_DATA_SETS):
                problems.append(
                    f"{self.path}: {mode}.dataset.name: found {name!r}, which is not read here, expected "
                    f"{' or '.join(READ_DATA_SETS)}: name label files and their images"
                )
                continue
            faults = schema.dataset_faults(self.section(f"{mode}.dataset"), mode)
            problems += [f"{self.path}: {mode}.dataset.{key}: {fault}" for key, fault in faults]
        if problems:
            raise ConfigError(problems)

    def save(self, path: Path | str) -> None:
        """Write the resolved tree as YAML, atomically; `load_config` reads the same tree back.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_text(path, yaml.safe_dump(self.tree, sort_keys=False, allow_unicode=True))


def _constructed(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section's values as its model holds them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read the YAML file at `path`, resolve aliases, apply `Section.key=value` overrides, check it all.

    Raises:
        ConfigError: with every fault found, one line each.
    """
    path = Path(path)
    tree, problems = read_yaml(path)
    parsed, faults = parse_overrides(overrides)
    problems += faults
    if tree is None:
        raise ConfigError(_few(problems))
    purpose = other_purpose(tree)
    if purpose:
        raise ConfigError(f"{path}: {purpose}")
    notes = translate(tree)
    preview = _preview(tree, parsed)
    architecture = imported_architecture(preview)
    if architecture is not None:
        tree["Architecture"] = preview["Architecture"] = architecture
        parsed = [override for override in parsed if override.key != "Architecture"]  # which cleared it
    task = _task(lookup(preview, MODEL_TYPE))
    schema = task.schema_of(preview)
    schema = schema if architecture is None else imported_schema(schema)
    check = Checker(Origins(path, copy.deepcopy(tree), parsed), schema, problems)
    source = _use_source(preview, schema, check)
    tree = check.configuration(tree)
    if not problems:
        incomplete = task.complete(tree)
        problems += [f"{path}: {fault}" for fault in incomplete]
        unknown = section_faults(_from_source(tree, source), complete=not incomplete) if source else []
        problems += [f"{check.origins.place(key)}: {fault}" for key, fault in unknown]
    if problems:
        raise ConfigError(_few(problems))
    for note in notes:
        logger.info("%s: %s", path, note)
    origins = {key: check.origins.of(key) for key in leaves(tree)}
    return Config(path, tree, frozenset(override.key for override in parsed), origins, source)


def _preview(tree: Mapping[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """Return the tree with its overrides, not checked, to choose by what it is to be checked."""
    preview = copy.deepcopy(dict(tree))
    for override in overrides:
        apply_override(preview, override)
    return preview


def _use_source(tree: Mapping[str, Any], schema: TaskSchema, check: Checker) -> Source | None:
    """Find and use the copy of PaddleOCR that a configuration needs or names; None where it does without."""
    named = lookup(tree, KEY)
    source = None
    try:
        if named or schema.needs_source or schema.open:
            source = find_source(named if isinstance(named, str) else None)
        use_source(source)
    except ConfigError as error:
        if named:
            check.problems.append(f"{check.origins.place(KEY)}: {str(error).removeprefix(f'{KEY}: ')}")
        elif schema.needs_source:
            check.problems.append(_not_built_in(tree, schema, check.origins, error))
    return source


def _from_source(tree: Mapping[str, Any], source: Source) -> Mapping[str, Any]:
    """Return the sections that PaddleOCR's code is to build, which are all but those of a registered network."""
    architecture = tree.get("Architecture") or {}
    if source.named or not is_registered(architecture):
        return tree
    nameless = {key: part for key, part in architecture.items() if not (isinstance(part, Mapping) and "name" in part)}
    return {**tree, "Architecture": nameless}


def _not_built_in(tree: Mapping[str, Any], schema: TaskSchema, origins: Origins, error: ConfigError) -> str:
    """Say that a name needs a copy of PaddleOCR, of which there is none, or may be misspelt."""
    key, found = schema.needs_source, str(lookup(tree, schema.needs_source))
    near = difflib.get_close_matches(found, schema.built_in, n=1)
    expected = " or ".join(near or schema.built_in) or "nothing"
    return f"{origins.place(key)}: found {shortened(repr(found))}, which is not built in, expected {expected}; {error}"


def _task(model_type: Any) -> Task:
    """Return a task; the first one if none or an unknown one is named."""
    return task_of(model_type if model_type in task_types() else task_types()[0])


def _few(problems: Sequence[str]) -> list[str]:
    """Each fault once, and of very many the first ones."""
    lines = list(dict.fromkeys(problems))
    if len(lines) <= MOST_PROBLEMS:
        return lines
    return [*lines[:MOST_PROBLEMS], f"and {len(lines) - MOST_PROBLEMS} more faults of the configuration"]
