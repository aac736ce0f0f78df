"""PaddleOCR's YAML files and `-o` overrides -> one validated configuration.

All faults are collected and raised together, one line each. Nothing here imports Paddle, so that a typing
error is answered at once.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ocrslim.artifacts import write_text
from ocrslim.errors import ConfigError
from ocrslim.overrides import Override, apply_override, lookup, parse_overrides
from ocrslim.rules import Node, Rule, Section, Variants
from ocrslim.schema import ALIASES, SCHEMA, TARGETS, PruneOptions, known_keys
from ocrslim.yamlfile import read_yaml

__all__ = ["Config", "PruneOptions", "load_config"]

_ABSENT = object()
_FEW = 6  # keys of a section, so few that a message can name them
_PARTS = {"Train": ("Train.dataset", "Train.loader"), "Eval": ("Eval.dataset",)}


@dataclass(frozen=True)
class Config:
    """A configuration that has passed every check.

    `tree` holds plain dictionaries, lists and scalars that JSON can say, no object twice; aliases are
    resolved to `Global.pretrained_model` and `Eval.loader.batch_size_per_card`, defaults filled in. `given` are the
    keys that `-o` set.
    """

    path: Path
    tree: dict[str, Any]
    given: frozenset[str] = frozenset()

    def section(self, name: str) -> dict[str, Any]:
        """Return a copy of the section `name` (dotted names reach deeper); {} where it is absent."""
        return self.get(name) or {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return a copy of the value at the dotted `key`, as `Global.epoch_num`; `default` where absent."""
        return copy.deepcopy(lookup(self.tree, key, default))

    @property
    def prune(self) -> PruneOptions:
        """The section `Prune`, complete."""
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.tree["Prune"].items()
        }
        return PruneOptions(**options)

    @property
    def weights(self) -> str | None:
        """`Global.pretrain_weights`, alias `Global.pretrained_model`; None when not set."""
        return self.get("Global.pretrained_model")

    @property
    def save_model_dir(self) -> Path:
        """The folder that takes what a stage makes."""
        return Path(self.tree["Global"]["save_model_dir"])

    @property
    def seed(self) -> int:
        """`Global.seed`, from which all randomness follows."""
        return self.tree["Global"]["seed"]

    @property
    def overwrite(self) -> bool:
        """`Global.overwrite`: whether results of an earlier, other run may be replaced."""
        return self.tree["Global"]["overwrite"]

    def changed(self, values: Mapping[str, Any]) -> Config:
        """A copy with other values, by dotted keys of sections that exist; they are not checked."""
        tree = copy.deepcopy(self.tree)
        for key, value in values.items():
            *sections, name = key.split(".")
            lookup(tree, ".".join(sections))[name] = value
        return Config(self.path, tree, self.given)

    def require(self, *keys: str) -> None:
        """Demand that every one of `keys` is set; `"Train"` and `"Eval"` stand for the parts they need.

        Raises:
            ConfigError: some are not; one line for each.
        """
        parts = [part for key in keys for part in _PARTS.get(key, (key,))]
        absent = [part for part in parts if lookup(self.tree, part) in (None, {}, [])]
        if absent:
            remedy = "missing, and this command needs it; copy it from a file in configs/det, or set it with -o"
            raise ConfigError([f"{self.path}: {key}: {remedy}" for key in absent])

    def save(self, path: Path | str) -> None:
        """Write the resolved tree as YAML, atomically; `load_config` reads the same tree back.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_text(path, yaml.safe_dump(self.tree, sort_keys=False, allow_unicode=True))


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
        raise ConfigError(problems)
    check = _Checker(path, copy.deepcopy(tree), parsed, problems)
    check.resolve_aliases(tree)
    for override in parsed:
        problems += apply_override(tree, override)
    tree = check.section(SCHEMA, tree, "")
    check.relations(tree)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return Config(path, tree, frozenset(override.key for override in parsed))


@dataclass
class _Checker:
    """Walks a tree beside the schema; returns it as the program reads it, and collects what is wrong."""

    path: Path
    filed: Mapping[str, Any]  # the tree as the file has it
    overrides: Sequence[Override]
    problems: list[str]

    def fault(self, key: str, message: str) -> None:
        self.problems.append(f"{self.origin(key)}: {message}")

    def unexpected(self, key: str, found: str, expected: str) -> None:
        origin = self.origin(key)
        remedy = "" if origin.startswith("-o ") else f"; set it there or with -o {key}=..."
        self.problems.append(f"{origin}: {found}, expected {expected}{remedy}")

    def origin(self, key: str) -> str:
        """Where the value at `key` comes from: the override that set it, else the file and the key in it."""
        for override in reversed(self.overrides):
            if (key + ".").startswith(override.key + "."):
                return override.source if key == override.key else f"{override.source}: {key}"
            if override.key.startswith(key + ".") and lookup(self.filed, key) is None:
                return f"{override.source}: {key}"
        spellings = [alias for alias, canonical in ALIASES.items() if canonical == key]
        spellings = [alias for alias in spellings if lookup(self.filed, alias) is not None]
        return f"{self.path}: {spellings[0] if spellings and lookup(self.filed, key) is None else key}"

    def resolve_aliases(self, tree: dict[str, Any]) -> None:
        """Move what the file has under an alias to its canonical key; an override of either wins anyway."""
        overridden = {override.key for override in self.overrides}
        for alias, canonical in ALIASES.items():
            section, name = alias.split(".")
            holder = tree.get(section)
            if not isinstance(holder, dict) or name not in holder:
                continue
            value, other = holder.pop(name), lookup(tree, canonical)
            if value is None or canonical in overridden:
                continue
            if other is not None and other != value:
                self.problems.append(
                    f"{self.path}: {alias}: found {_short(value)}, but {canonical} is {_short(other)}; "
                    "both name the same thing: keep one of them"
                )
                continue
            self.problems += apply_override(tree, Override(canonical, value, alias, f"{self.path}: {alias}"))

    def section(self, section: Section, value: Mapping[str, Any], key: str) -> dict[str, Any]:
        prefix = f"{key}." if key else ""
        result: dict[str, Any] = {}
        for name, child in value.items():
            node = section.keys.get(name)
            if node is None:
                self.unknown(section, value.get("name"), prefix + name, child)
            elif child is None and (name in section.defaults or name in section.required):
                continue
            else:
                checked = self.node(node, child, prefix + name)
                if not (isinstance(node, Rule) and node.dropped):
                    result[name] = checked
        for name, default in section.defaults.items():
            result.setdefault(name, copy.deepcopy(default))
        for name in section.required:
            if name not in result:
                self.unexpected(prefix + name, "missing", _expectation(section.keys[name]))
        return result

    def node(self, node: Node, value: Any, key: str) -> Any:
        if isinstance(node, Rule):
            return self.rule(node, value, key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.unexpected(key, f"found {_short(value)}", _expectation(node))
            return value
        return self.variant(node, value, key) if isinstance(node, Variants) else self.section(node, value, key)

    def rule(self, rule: Rule, value: Any, key: str) -> Any:
        if value is None and rule.optional:
            return None
        try:
            return rule.convert(value)
        except ValueError as error:
            detail = f" ({error})" if str(error) else ""
            self.unexpected(key, f"found {_short(value)}{detail}", rule.expected)
            return value

    def variant(self, variants: Variants, value: dict[str, Any], key: str) -> Any:
        name = value.get("name") or variants.default
        if isinstance(name, str) and name in variants.options:
            return self.section(variants.options[name], value, key)
        found = "missing" if name is None else f"found {_short(name)}"
        self.unexpected(f"{key}.name", found, _one_of(list(variants.options)))
        return value

    def unknown(self, section: Section, owner: Any, key: str, value: Any) -> None:
        """Name the nearest valid key: that very name in another section, or the most similar one here."""
        parent, _, name = key.rpartition(".")
        prefix = f"{parent}." if parent else ""
        elsewhere = [known for known in known_keys() if known.rpartition(".")[2] == name and known != key]
        here = [known for known in section.keys if known != "name"]
        here += [alias.removeprefix(prefix) for alias in ALIASES if alias.rpartition(".")[0] == parent]
        nearest = _most_like(key, elsewhere) if elsewhere else prefix + _most_like(name, here)
        kind = f"key of {owner}" if "name" in section.keys and owner else "key" if parent else "section"
        self.fault(key, f"unknown {kind} (with the value {_short(value)}); nearest valid key: {nearest}")

    def relations(self, tree: dict[str, Any]) -> None:
        """Check what concerns two keys at once."""
        self.target(tree)
        for mode in ("Train", "Eval"):
            key = f"{mode}.dataset.ratio_list"
            files, shares = lookup(tree, f"{mode}.dataset.label_file_list"), lookup(tree, key)
            if files and isinstance(files, list) and isinstance(shares, list) and len(files) != len(shares):
                self.fault(
                    key,
                    f"found {len(shares)} fractions for {len(files)} label files, expected one for each; "
                    f"set -o {key}={str([1.0] * len(files)).replace(' ', '')}",
                )
        epochs, values = lookup(tree, "Optimizer.lr.decay_epochs"), lookup(tree, "Optimizer.lr.values")
        if isinstance(values, list) and isinstance(epochs, list) and len(values) != len(epochs) + 1:
            self.fault(
                "Optimizer.lr.values",
                f"found {len(values)} learning rates, expected {len(epochs) + 1}: one more than decay_epochs",
            )

    def target(self, tree: dict[str, Any]) -> None:
        """Demand one target where there is any, and call FLOPs by their name here."""
        target, rounds = lookup(tree, "Prune.target"), lookup(tree, "Prune.rounds")
        if not target and isinstance(rounds, int) and rounds > 1:
            self.fault(
                "Prune.rounds", f"found {rounds} without Prune.target, expected 1; set -o 'Prune.target={{macs: 0.5}}'"
            )
        if not isinstance(target, dict):
            return
        given = {key: value for key, value in target.items() if value is not None}
        if len(given) == 1:
            ((key, value),) = given.items()
            tree["Prune"]["target"] = {"macs" if key == "flops" else key: value}
        elif given:
            found, names = " and ".join(given), ", ".join(TARGETS)
            self.fault("Prune.target", f"found {found}, expected one of {names}; set -o 'Prune.target={{macs: 0.5}}'")
        else:
            tree["Prune"]["target"] = None


def _expectation(node: Node) -> str:
    if isinstance(node, Rule):
        return node.expected
    if isinstance(node, Variants):
        return f"a section with name: {_one_of(list(node.options))}"
    few = f": {', '.join(node.keys)}" if len(node.keys) <= _FEW else ""
    return f"a section with keys of its own{few}"


def _one_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _most_like(key: str, candidates: Sequence[str]) -> str:
    return max(candidates, key=lambda known: difflib.SequenceMatcher(None, known.lower(), key.lower()).ratio())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
