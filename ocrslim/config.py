"""PaddleOCR's YAML files and `-o` overrides -> one validated configuration.

All faults are collected and raised together, one line each. Nothing here imports Paddle, so that a typing
error is answered at once.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ocrslim.artifacts import write_text
from ocrslim.errors import ConfigError
from ocrslim.overrides import Override, apply_override, lookup, parse_overrides
from ocrslim.schema import ALIASES, SCHEMA, Node, PruneOptions, Rule, Section, Variants, known_keys
from ocrslim.yamlfile import read_yaml

__all__ = ["Config", "PruneOptions", "load_config"]

_MISSING = object()


@dataclass(frozen=True)
class Config:
    """A configuration that has passed every check.

    `tree` holds plain dictionaries, lists and scalars, no object twice; aliases are resolved to
    `Global.pretrained_model` and `Eval.loader.batch_size_per_card`, defaults filled in.
    """

    path: Path
    tree: dict[str, Any]

    def section(self, name: str) -> dict[str, Any]:
        """Return a copy of the section `name` (dotted names reach deeper); {} where it is absent."""
        return self.get(name) or {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return a copy of the value at the dotted `key`, as `Global.epoch_num`; `default` where absent."""
        value = lookup(self.tree, key, _MISSING)
        return default if value is _MISSING else copy.deepcopy(value)

    @property
    def prune(self) -> PruneOptions:
        """The section `Prune` with its defaults."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in self.tree["Prune"].items()}
        return PruneOptions(**values)

    @property
    def weights(self) -> str | None:
        """`Global.pretrain_weights`, alias `Global.pretrained_model`; None when not set."""
        return self.get("Global.pretrained_model")

    @property
    def save_model_dir(self) -> Path:
        return Path(self.tree["Global"]["save_model_dir"])

    @property
    def seed(self) -> int:
        return self.tree["Global"]["seed"]

    @property
    def overwrite(self) -> bool:
        return self.tree["Global"]["overwrite"]

    def require(self, *keys: str) -> None:
        """Demand that every one of `keys` (`"Architecture"`, `"Eval.dataset"`, ...) is set.

        Raises:
            ConfigError: some are not; one line for each.
        """
        absent = [key for key in keys if lookup(self.tree, key, None) in (None, {}, [])]
        if absent:
            raise ConfigError(
                [f"{self.path}: {key}: missing, and needed here; {_HOW_TO_SET}" for key in absent]
            )

    def save(self, path: Path | str) -> None:
        """Write the resolved tree as YAML, atomically; `load_config` reads the same tree back.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_text(path, yaml.safe_dump(self.tree, sort_keys=False, allow_unicode=True))


_HOW_TO_SET = "copy it from the file of that name in configs/det"


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read the YAML file at `path`, apply `Section.key=value` overrides, resolve aliases and check it all.

    Raises:
        ConfigError: with every fault found, one line each.
    """
    path = Path(path)
    tree, problems = read_yaml(path)
    parsed, faults = parse_overrides(overrides)
    problems += faults
    if tree is None:
        raise ConfigError(problems)
    check = _Checker(path, parsed, problems)
    check.resolve_aliases(tree)
    for override in parsed:
        problems += apply_override(tree, override)
    tree = check.section(SCHEMA, tree, "")
    check.relations(tree)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return Config(path, tree)


@dataclass
class _Checker:
    """Walks a tree beside the schema; returns it as the program reads it, and collects what is wrong."""

    path: Path
    overrides: Sequence[Override]
    problems: list[str]
    renamed: dict[str, str] = field(default_factory=dict)  # canonical key -> the alias the file used

    def fault(self, key: str, message: str) -> None:
        self.problems.append(f"{self.origin(key)}: {message}")

    def origin(self, key: str) -> str:
        """Where the value at `key` comes from: the override that set it, else the file."""
        for override in reversed(self.overrides):
            if (key + ".").startswith(override.key + "."):
                return f"-o {override.text}"
        return f"{self.path}: {self.renamed.get(key, key)}"

    def resolve_aliases(self, tree: dict[str, Any]) -> None:
        """Move what the file says under an alias to the canonical key; an override of either ends a dispute."""
        overridden = {override.key for override in self.overrides}
        for alias, canonical in ALIASES.items():
            section, name = alias.split(".")
            holder = tree.get(section)
            if not isinstance(holder, dict) or name not in holder:
                continue
            value, other = holder.pop(name), lookup(tree, canonical, None)
            if value is None or canonical in overridden:
                continue
            if other is not None and other != value:
                self.fault(
                    alias,
                    f"found {value!r}, but {canonical} is {other!r}; both name the same thing: keep one of them",
                )
                continue
            self.renamed[canonical] = alias
            self.problems += apply_override(tree, Override(canonical, value, f"{alias}={value}"))

    def node(self, node: Node, value: Any, key: str) -> Any:
        if isinstance(node, Rule):
            return self.rule(node, value, key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fault(key, f"found {_short(value)}, expected a section with keys of its own")
            return value
        if isinstance(node, Variants):
            return self.variant(node, value, key)
        return self.section(node, value, key)

    def rule(self, rule: Rule, value: Any, key: str) -> Any:
        if value is None and rule.optional:
            return None
        try:
            return rule.convert(value)
        except ValueError as error:
            detail = f" ({error})" if str(error) else ""
            self.fault(key, f"found {_short(value)}{detail}, expected {rule.expected}")
            return value

    def variant(self, variants: Variants, value: dict[str, Any], key: str) -> Any:
        name = value.get("name") or variants.default
        if not isinstance(name, str) or name not in variants.options:
            found = f"found {_short(name)}" if name is not None else "missing"
            options = ", ".join(variants.options)
            self.fault(
                f"{key}.name", f"{found}, expected {'' if len(variants.options) == 1 else 'one of '}{options}"
            )
            return value
        return self.section(variants.options[name], value, key)

    def section(self, section: Section, value: Mapping[str, Any], key: str) -> dict[str, Any]:
        prefix = f"{key}." if key else ""
        result: dict[str, Any] = {}
        for name, child in value.items():
            node = section.keys.get(name) if isinstance(name, str) else None
            if node is None:
                self.unknown(section, f"{prefix}{name}", str(name), prefix, child)
            elif child is not None or (name not in section.defaults and name not in section.required):
                result[name] = self.node(node, child, prefix + name)
        for name in section.required:
            if result.get(name) is None:
                self.fault(prefix + name, f"missing, expected {_expectation(section.keys[name])}")
        for name, default in section.defaults.items():
            result.setdefault(name, copy.deepcopy(default))
        return result

    def unknown(self, section: Section, key: str, name: str, prefix: str, value: Any) -> None:
        kind = "key" if prefix else "section"
        self.fault(
            key,
            f"unknown {kind} (with the value {_short(value)}); nearest valid {kind}: {_nearest(section, name, prefix)}",
        )

    def relations(self, tree: Mapping[str, Any]) -> None:
        """Check what concerns two keys at once."""
        for mode in ("Train", "Eval"):
            files = lookup(tree, f"{mode}.dataset.label_file_list", None)
            key = f"{mode}.dataset.ratio_list"
            shares = lookup(tree, key, None)
            if isinstance(files, list) and isinstance(shares, list) and len(files) != len(shares):
                self.fault(
                    key,
                    f"found {len(shares)} fractions for {len(files)} label files, expected one for each; "
                    f"set -o {key}={[1.0] * len(files)}",
                )
        rate = lookup(tree, "Optimizer.lr", None)
        if isinstance(rate, dict) and rate.get("name") == "Piecewise":
            values, epochs = rate.get("values"), rate.get("decay_epochs")
            if isinstance(values, list) and isinstance(epochs, list) and len(values) != len(epochs) + 1:
                self.fault(
                    "Optimizer.lr.values",
                    f"found {len(values)} learning rates, expected {len(epochs) + 1}: "
                    f"one before, between and after the {len(epochs)} of decay_epochs",
                )


def _expectation(node: Node) -> str:
    if isinstance(node, Rule):
        return node.expected
    return "a section"


def _nearest(section: Section, name: str, prefix: str) -> str:
    """The valid key most like `name`: one of the same section, or one of that very name elsewhere."""
    siblings = [prefix + key for key in section.keys]
    siblings += [alias for alias in ALIASES if prefix and alias.startswith(prefix)]
    elsewhere = [key for key in known_keys() if key.rpartition(".")[2] == name]
    if elsewhere:
        return elsewhere[0]

    def likeness(key: str) -> float:
        return difflib.SequenceMatcher(None, key.rpartition(".")[2].lower(), name.lower()).ratio()

    return max(siblings, key=likeness)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
