"""A tree of settings beside its pydantic model: read as the program takes it, every fault reported in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ocrslim.config.origins import Origins
from ocrslim.config.overrides import Override, apply_override, lookup, quoted
from ocrslim.config.schema import ALIASES, REPLACED, configuration
from ocrslim.ppocr import transform_fault
from ocrslim.schema import FAULT, OpenSection, ReadAs, Section, described, one_of
from ocrslim.tasks import TaskSchema, task_types
from ocrslim.utils import shortened

MOST_PROBLEMS = 20  # that are printed
_FEW = 6  # keys of a section, so few that a message can name them
_MANY = 12  # more than these are not named
_LARGE = 100  # a bound from here on is named beside the value that exceeds it
MODEL_TYPE = "Architecture.model_type"


class Place(NamedTuple):
    """A fault's place in a model.

    Attributes:
        parts: of the dotted key.
        section: the section that the last part is a key of.
        field: of that key; None where the section has no such key.
    """

    parts: list[str]
    section: type[Section]
    field: FieldInfo | None


@dataclass
class Checker:
    """Reads trees by their models, and collects what is wrong."""

    origins: Origins
    task: TaskSchema
    problems: list[str]

    def configuration(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Return the whole tree as the program takes it; meaningless where `problems` were found."""
        self._resolve_aliases(tree)
        for override in self.origins.overrides:
            self.problems += apply_override(tree, override, self.task.exclusive)
        tree = self._read(configuration(self.task), tree)
        for mode in ("Train", "Eval"):
            self._transforms(tree, mode)
        return tree

    def _resolve_aliases(self, tree: dict[str, Any]) -> None:
        """Move what the file has under an alias to its canonical key; an override of either wins anyway."""
        overridden = {override.key for override in self.origins.overrides}
        for alias, canonical in ALIASES.items():
            section, name = alias.split(".")
            holder = tree.get(section)
            if not isinstance(holder, dict) or name not in holder:
                continue
            value, other = holder.pop(name), lookup(tree, canonical)
            source = f"{self.origins.path}: {alias}"
            if value is None or canonical in overridden:
                continue
            if other is not None and other != value:
                both = f"found {shortened(repr(value))}, but {canonical} is {shortened(repr(other))}"
                self.problems.append(f"{source}: {both}; both name the same thing: keep one of them")
                continue
            self.problems += apply_override(tree, Override(canonical, value, alias, source))

    def _read(self, kind: type[Section], given: dict[str, Any], key: str = "", owner: str = "") -> dict[str, Any]:
        """Return a section as the program takes it; `owner`: whose keys these are, where they have no name."""
        try:
            return kind.model_validate(given).plain(given)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                self._report(kind, given, key, owner, details)
            return given

    def _transforms(self, tree: dict[str, Any], mode: str) -> None:
        """Read every transform by itself: its name and its arguments."""
        entries, transforms = lookup(tree, f"{mode}.dataset.transforms"), self.task.transforms
        if not isinstance(entries, list) or not all(isinstance(entry, dict) and len(entry) == 1 for entry in entries):
            return  # reported already
        names = [name for entry in entries for name in entry]
        for index, (entry, name) in enumerate(zip(entries, names)):
            place = name if names.count(name) == 1 else f"{index}.{name}"
            options, key = entry[name], f"{mode}.dataset.transforms.{place}"
            unknown = (
                transform_fault(name, str(lookup(tree, MODEL_TYPE)))
                if name not in transforms and self.task.open
                else None
            )
            if unknown:
                self._fault(f"{mode}.dataset.transforms.{index}", unknown)
            elif name not in transforms and not self.task.open:
                near = difflib.get_close_matches(name, transforms, n=1)
                known = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(transforms)}"
                self._fault(f"{mode}.dataset.transforms.{index}", f"unknown transform {shortened(name)!r}: {known}")
            elif options is not None and not isinstance(options, dict):
                self._unexpected(key, f"found {shortened(repr(options))}", "arguments by their names, or nothing")
            else:
                checked = self._read(transforms.get(name, OpenSection), options or {}, key, name)
                entry[name] = options if options is None else checked

    def _report(self, kind: type[Section], given: Any, prefix: str, owner: str, error: ErrorDetails) -> None:
        """Report one of pydantic's errors."""
        place, context = _place(kind, error["loc"]), error.get("ctx", {})
        key = ".".join(filter(None, (prefix, *place.parts, context.get("key"))))
        if error["type"] == FAULT:
            self._fault(key, context["fault"].replace("KEY", key))
        elif place.field is None:
            self._unknown(place.section, owner or _owner(place, given), key, _at(given, place.parts), bool(owner))
        elif error["type"] == "missing":
            self._unexpected(key, "missing", _expectation(key, place.field))
        else:
            self._wrong(key, _at(given, place.parts), place.field, error)

    def _wrong(self, key: str, value: Any, field: FieldInfo, error: ErrorDetails) -> None:
        if error["type"].startswith("union_tag_") and isinstance(value, dict):
            found = "missing" if value.get("name") is None else f"found {shortened(repr(value['name']))}"
            self._unexpected(f"{key}.name", found, one_of(list(_named(field))))
            return
        detail = _detail(error)
        misread = isinstance(value, (bool, int, float, dict)) and _is_textual(field.annotation)
        self._unexpected(
            key,
            f"found {shortened(repr(value))}{f' ({detail})' if detail else ''}",
            _expectation(key, field),
            misread=misread,
        )

    def _fault(self, key: str, message: str) -> None:
        self.problems.append(f"{self.origins.place(key)}: {message}")

    def _unexpected(self, key: str, found: str, expected: str, *, misread: bool = False) -> None:
        """Report a value; `misread`: YAML took a text for something else."""
        setter = self.origins.setter(key)
        remedy = "" if setter else f"; set it there or with -o {key}=..."
        if misread:
            how = f": {quoted(setter.spelling, setter.raw)}" if setter and setter.key == key else ""
            remedy = f"; put text in quotes{how}"
        self._fault(key, f"{found}, expected {expected}{remedy}")

    def _unknown(self, section: type[Section], owner: Any, key: str, value: Any, alone: bool) -> None:
        """Say what is meant in its place: what replaced it, the same name elsewhere, or the most similar one here.

        Args:
            alone: the section's keys are looked for in no other one.
        """
        kind = f"key of {shortened(str(owner))}" if owner else "key" if "." in key else "section"
        if key in REPLACED:
            self._fault(key, f"unknown {kind} (with the value {shortened(repr(value))}): {REPLACED[key]}")
        elif len(self.problems) <= MOST_PROBLEMS:  # the others are not printed, and likeness takes its time
            hint = self._nearest(section, key, alone)
            self._fault(key, f"unknown {kind} (with the value {shortened(repr(value))}); {hint}")
        else:
            self._fault(key, f"unknown {kind}")

    def _nearest(self, section: type[Section], key: str, alone: bool) -> str:
        """Suggest the most similar key, or list the valid ones where none is similar."""
        parent, dot, name = key.rpartition(".")
        known = () if alone else _known_keys(configuration(self.task))
        elsewhere = [other for other in known if other.rpartition(".")[2] == name and other != key]
        if elsewhere:
            return f"nearest valid key: {_most_like(key, elsewhere)}"
        here = [other for other in section.model_fields if other != "name"]
        here += [alias.rpartition(".")[2] for alias in ALIASES if alias.rpartition(".")[0] == parent]
        spelled = {other.lower(): other for other in here}
        near = difflib.get_close_matches(name.lower(), spelled, n=1)
        if near:
            return f"nearest valid key: {parent}{dot}{spelled[near[0]]}"
        if not here:
            return "it takes none"
        return f"valid here: {', '.join(here[:_MANY])}{' and others' if len(here) > _MANY else ''}"


def _place(kind: type[Section], location: Sequence[int | str]) -> Place:
    """Follow the location of an error, which holds the name that chose a section too, to a key of a section."""
    parts: list[str] = []
    rest = [str(part) for part in location]
    while rest:
        parts.append(rest.pop(0))
        field = kind.model_fields.get(parts[-1])
        sections = _sections(field)
        if field is None or not sections or not rest:
            return Place(parts, kind, field)
        named = _named(field)
        kind = named[rest.pop(0)] if rest[0] in named else sections[0]
    return Place(parts, kind, None)


def _sections(kind: Any) -> tuple[type[Section], ...]:
    """Return the sections that a type allows; several where a name chooses one."""
    if isinstance(kind, ReadAs):
        return (kind.section,)
    if get_origin(kind) is None and isinstance(kind, type):
        return (kind,) if issubclass(kind, Section) else ()
    parts = (kind.annotation, *kind.metadata) if isinstance(kind, FieldInfo) else get_args(kind)
    return tuple(section for part in parts for section in _sections(part))


def _named(field: FieldInfo) -> dict[str, type[Section]]:
    """Sections by the names that choose them; empty where none has a name."""
    sections = [section for section in _sections(field) if "name" in section.model_fields]
    return {name: section for section in sections for name in get_args(section.model_fields["name"].annotation)}


def _known_keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a model, sections included; variants together, aliases left out."""
    for key, field in section.model_fields.items():
        yield prefix + key
        for inner in _sections(field):
            yield from _known_keys(inner, f"{prefix}{key}.")


def _expectation(key: str, field: FieldInfo) -> str:
    sections, named = _sections(field), _named(field)
    if key == MODEL_TYPE:
        return one_of(task_types())
    if named:
        return f"a section with name: {one_of(list(named))}"
    if sections:
        keys = list(sections[0].model_fields)
        return f"a section with keys of its own{': ' + ', '.join(keys) if len(keys) <= _FEW else ''}"
    return described(field)


def _is_textual(kind: Any) -> bool:
    """Tell whether a value is a text or a list of them, so that what YAML reads otherwise has to stand in quotes."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return all(isinstance(option, str) for option in parts)
    return kind is str or (
        not (isinstance(origin, type) and issubclass(origin, Mapping)) and any(map(_is_textual, parts))
    )


def _detail(error: ErrorDetails) -> str:
    """Explain a fault that the value and the expectation do not make clear; empty where they do."""
    context = error.get("ctx", {})
    most, items = context.get("le"), context.get("max_length", 0)
    if isinstance(most, int) and most >= _LARGE:
        return f"more than {most:,}"
    if error["type"] == "too_long" and items >= _LARGE:
        return f"{context['actual_length']:,} items, at most {items:,} make sense"
    return str(context["error"]) if error["type"] == "value_error" else ""


def _at(given: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        given = given[part]
    return given


def _owner(place: Place, given: Any) -> Any:
    """Return the name of the section that an unknown key stands in."""
    return _at(given, place.parts[:-1]).get("name") if "name" in place.section.model_fields else ""


def _most_like(key: str, candidates: Sequence[str]) -> str:
    return max(candidates, key=lambda known: difflib.SequenceMatcher(None, known.lower(), key.lower()).ratio())
