"""A tree of settings beside the schema: read as the program takes it, and everything that is wrong collected."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrslim.config.overrides import Override, apply_override, lookup, quoted
from ocrslim.config.schema import ALIASES, REPLACED, TARGETS, known_keys
from ocrslim.tasks.detection.operators import OPERATORS, argument_faults
from ocrslim.utils import shortened
from ocrslim.utils.validators import Node, Rule, Section, Variants

MOST_PROBLEMS = 20  # that are printed
_FEW = 6  # keys of a section, so few that a message can name them
_MANY = 12  # more than these are not named


@dataclass
class Checker:
    """Walks a tree beside the schema; returns it as the program reads it, and collects what is wrong."""

    path: Path
    filed: Mapping[str, Any]  # the tree as the file has it
    overrides: Sequence[Override]
    problems: list[str]

    def fault(self, key: str, message: str) -> None:
        self.problems.append(f"{self.origin(key)}: {message}")

    def unexpected(self, key: str, found: str, expected: str, *, misread: bool = False) -> None:
        """Report a value; `misread`: YAML took a text for something else."""
        setter = self.setter(key)
        remedy = "" if setter else f"; set it there or with -o {key}=..."
        if misread:
            how = f": {quoted(setter.spelling, setter.raw)}" if setter and setter.key == key else ""
            remedy = f"; put text in quotes{how}"
        self.problems.append(f"{self.origin(key)}: {found}, expected {expected}{remedy}")

    def setter(self, key: str) -> Override | None:
        """The override that the value at `key` comes from."""
        for override in reversed(self.overrides):
            place, setting = _without_places(key), _without_places(override.key)
            if (place + ".").startswith(setting + "."):
                return override
            if setting.startswith(place + ".") and lookup(self.filed, key) is None:
                return override
        return None

    def origin(self, key: str) -> str:
        """Where the value at `key` comes from: the override that set it, else the file and the key in it."""
        override = self.setter(key)
        if override:
            whole = _without_places(key) == _without_places(override.key)
            return override.source if whole else f"{override.source}: {key}"
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

    def section(self, section: Section, value: Mapping[str, Any], key: str, owner: str = "") -> dict[str, Any]:
        """The keys of a section as the program reads them; `owner`: whose they are, where they have no name."""
        prefix = f"{key}." if key else ""
        result: dict[str, Any] = {}
        for name, child in value.items():
            node = section.keys.get(name)
            if node is None:
                self.unknown(
                    section, owner or (value.get("name") if "name" in section.keys else ""), prefix + name, child
                )
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
            misread = rule.textual and isinstance(value, (bool, int, float, dict))
            self.unexpected(key, f"found {_short(value)}{detail}", rule.expected, misread=misread)
            return value

    def variant(self, variants: Variants, value: dict[str, Any], key: str) -> Any:
        name = value.get("name") or variants.default
        if isinstance(name, str) and name in variants.options:
            return self.section(variants.options[name], value, key)
        found = "missing" if name is None else f"found {_short(name)}"
        self.unexpected(f"{key}.name", found, _one_of(list(variants.options)))
        return value

    def unknown(self, section: Section, owner: Any, key: str, value: Any) -> None:
        """Say what is meant in its place: what replaced it, the same name elsewhere, or the most similar one here."""
        parent, _, name = key.rpartition(".")
        kind = f"key of {_short(owner, str)}" if owner else "key" if parent else "section"
        if key in REPLACED:
            self.fault(key, f"unknown {kind} (with the value {_short(value)}): {REPLACED[key]}")
        elif len(self.problems) <= MOST_PROBLEMS:  # the others are not printed, and likeness takes its time
            hint = self.nearest(section, parent, name, owner)
            self.fault(key, f"unknown {kind} (with the value {_short(value)}); {hint}")
        else:
            self.fault(key, f"unknown {kind}")

    def nearest(self, section: Section, parent: str, name: str, owner: Any) -> str:
        """A key that is really near, else those that there are."""
        prefix, key = f"{parent}." if parent else "", f"{parent}.{name}" if parent else name
        elsewhere = [known for known in known_keys() if known.rpartition(".")[2] == name and known != key]
        if elsewhere and owner not in OPERATORS:
            return f"nearest valid key: {_most_like(key, elsewhere)}"
        here = [known for known in section.keys if known != "name"]
        here += [alias.removeprefix(prefix) for alias in ALIASES if alias.rpartition(".")[0] == parent]
        spelled = {known.lower(): known for known in here}
        near = difflib.get_close_matches(name.lower(), spelled, n=1)
        if near:
            return f"nearest valid key: {prefix}{spelled[near[0]]}"
        if not here:
            return "it takes none"
        return f"valid here: {', '.join(here[:_MANY])}{' and others' if len(here) > _MANY else ''}"

    def relations(self, tree: dict[str, Any]) -> None:
        """Check what concerns two keys at once."""
        self.target(tree)
        for mode in ("Train", "Eval"):
            self.transforms(tree, mode)
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

    def transforms(self, tree: dict[str, Any], mode: str) -> None:
        """Check every transform by itself: its name and its arguments."""
        entries = lookup(tree, f"{mode}.dataset.transforms")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) and len(entry) == 1 for entry in entries):
            return  # which was said already
        names = [name for entry in entries for name in entry]
        for index, (entry, name) in enumerate(zip(entries, names)):
            place = name if names.count(name) == 1 else f"{index}.{name}"
            options, key = entry[name], f"{mode}.dataset.transforms.{place}"
            if name not in OPERATORS:
                near = difflib.get_close_matches(name, OPERATORS, n=1)
                known = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(OPERATORS)}"
                self.fault(f"{mode}.dataset.transforms.{index}", f"unknown transform {shortened(name)!r}: {known}")
            elif options is not None and not isinstance(options, dict):
                self.unexpected(key, f"found {_short(options)}", "arguments by their names, or nothing")
            else:
                checked = self.section(OPERATORS[name], options or {}, key, name)
                entry[name] = options if options is None else checked
                for argument, fault in argument_faults(name, checked):
                    self.fault(f"{key}.{argument}", fault)

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


def _without_places(key: str) -> str:
    """A key without the places of transforms, which may be left out, as 2 in `transforms.2.KeepKeys`."""
    return re.sub(r"(?<=\.transforms)\.[0-9]+(?=\.)", "", key)


def _short(value: Any, show: Callable[[Any], str] = repr) -> str:
    return shortened(show(value))
