"""YAML text -> plain values, by PyYAML's parser, and strict where that one is not.

Refused with their line: keys given twice, values that contain themselves, aliases that multiply beyond
reason, what JSON has no word for (dates, bytes, sets, infinity), and numbers and text that no program could use.
"""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path
from typing import Any

import yaml

from ocrslim.config.yaml_values import TAG, scalar_value, tag_fault
from ocrslim.utils import name_fault, read_file, shortened

MAX_BYTES = 1 << 20
MAX_VALUES = 20_000  # with every alias written out; PyYAML takes a second for 10,000 of them
MAX_DEPTH = 50

_PAIRS = "model_name_pairs"  # of a distillation: not read here, and given twice in several of PaddleOCR's own files
_START = "start from a file in configs"


def read_yaml(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Read the YAML mapping in the file `path`: (the mapping or None, what is wrong, one line each).

    Aliases become copies of their own, so that changing one place leaves the others alone.
    """
    try:
        data = read_file(path, MAX_BYTES)
    except FileNotFoundError:
        return None, [f"{path}: not found{_nearest_files(path.parent, path.name)}"]
    except OSError as error:
        return None, [f"{path}: cannot be read: {error.strerror}{_remedy(path, error)}"]
    value, problems = parse_yaml(data, str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        shape = f"{path}: holds {found}, expected sections such as Global and Architecture; {_START}"
        return None, problems or [shape]
    return value, problems


def parse_yaml(data: bytes | str, name: str) -> tuple[Any, list[str]]:
    """Parse one YAML document: (the value, None if there is none; what is wrong); `name` opens each line."""
    node, problems = _compose(data, name)
    if node is None:
        return None, problems
    check = _NodeCheck(name)
    check.walk(node)
    return (None if check.fatal else check.built(node)), check.problems


def is_read_whole(text: str) -> bool:
    """Tell whether YAML reads all of `text` as the value: no comment, no anchor, no folded lines, no other document."""
    node, problems = _compose(text, "")
    if problems:
        return True  # reported elsewhere
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value and node.style is None):
        return not text.strip()
    if isinstance(node, yaml.ScalarNode) and node.style is None and not text.startswith("!"):
        return bool(node.value == text.strip())
    return not text[node.end_mark.index :].strip()


class _TooManyError(yaml.YAMLError):
    """More values than any configuration has."""


class _Loader(yaml.SafeLoader):
    """Stops before a large file has taken minutes."""

    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.nodes += 1
        if self.nodes > 2 * MAX_VALUES:  # keys and values
            raise _TooManyError
        return super().compose_node(parent, index)


def _compose(data: bytes | str, name: str) -> tuple[yaml.Node | None, list[str]]:
    try:
        return _Loader(data).get_single_node(), []
    except _TooManyError:
        return None, [f"{name}: more than {MAX_VALUES} values; {_START}"]
    except yaml.YAMLError as error:
        return None, [f"{name}{_explain(error)}"]
    except RecursionError:
        return None, [f"{name}: nested too deeply for a configuration; {_START}"]
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF" in PyYAML's scanner
        return None, [f"{name}: not valid YAML: {shortened(str(error))}; correct it, or put text in quotes"]


class _NodeCheck:
    """Walks the graph of YAML nodes before any collection is made of it; each node once, however often used."""

    def __init__(self, name: str):
        self.name = name
        self.problems: list[str] = []
        self.fatal = False
        self._sizes: dict[int, int] = {}
        self._scalars: dict[int, Any] = {}
        self._open: set[int] = set()

    def walk(self, root: yaml.Node) -> None:
        if self._size(root) > MAX_VALUES:
            self._report(root, f"more than {MAX_VALUES} values with its aliases written out", fatal=True)

    def built(self, node: yaml.Node) -> Any:
        """Build the plain value of a node in which `walk` found nothing fatal."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalars[id(node)]
        if isinstance(node, yaml.SequenceNode):
            return [self.built(item) for item in node.value]
        own = {key.value: self.built(value) for key, value in node.value if not _is_merge(key)}
        merged: dict[str, Any] = {}
        for source in _merged(node):
            merged = {**self.built(source), **merged}
        return {**merged, **own}

    def _report(self, node: yaml.Node, message: str, fatal: bool = False) -> None:
        mark = node.start_mark
        self.problems.append(f"{self.name}, line {mark.line + 1}, column {mark.column + 1}: {message}")
        self.fatal = self.fatal or fatal

    def _size(self, node: yaml.Node) -> int:
        """Return the number of values at and under `node`, aliases counted each time."""
        if id(node) in self._open:
            self._report(node, "the value contains itself; remove the alias", fatal=True)
            return 1
        if len(self._open) > MAX_DEPTH:
            self._report(node, f"nested more than {MAX_DEPTH} deep; {_START}", fatal=True)
            return 1
        if id(node) not in self._sizes:
            self._open.add(id(node))
            self._sizes[id(node)] = 1 + sum(self._size(child) for child in self._children(node))
            self._open.discard(id(node))
        return self._sizes[id(node)]

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        fault = tag_fault(node)
        if fault:
            self._report(node, fault, fatal=True)
        elif isinstance(node, yaml.ScalarNode):
            self._scalar(node)
        if isinstance(node, yaml.MappingNode):
            self._keys(node)
            return [value for _, value in node.value]
        return list(node.value) if isinstance(node, yaml.SequenceNode) else []

    def _scalar(self, node: yaml.ScalarNode) -> None:
        try:
            self._scalars[id(node)] = scalar_value(node)
        except ValueError as error:
            self._report(node, str(error), fatal=True)

    def _keys(self, node: yaml.MappingNode) -> None:
        lines: dict[str, int] = {}
        for key, value in node.value:
            if _is_merge(key):
                self._merge(value)
                continue
            fault = name_fault(key.value) if isinstance(key, yaml.ScalarNode) else None
            if key.tag != f"{TAG}str" or not isinstance(key, yaml.ScalarNode):
                self._report(key, f"the key {_excerpt(key)} is not text; put it in quotes", fatal=True)
            elif fault:
                self._report(key, f"the key {_excerpt(key)} {fault}", fatal=True)
            elif key.value in lines and key.value != _PAIRS:
                first = lines[key.value]
                self._report(key, f"the key {key.value!r} is given twice (first on line {first}); remove one")
            else:
                lines[key.value] = key.start_mark.line + 1

    def _merge(self, value: yaml.Node) -> None:
        parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(part, yaml.MappingNode) for part in parts):
            self._report(value, "<< merges a mapping or a list of mappings, found something else", fatal=True)


def _is_merge(key: yaml.Node) -> bool:
    return bool(key.tag == f"{TAG}merge") and isinstance(key, yaml.ScalarNode)


def _merged(node: yaml.Node) -> list[yaml.Node]:
    """Return the mappings that `<<` merges into `node`, those that win first."""
    values = [value for key, value in node.value if _is_merge(key)]
    return [part for value in values for part in (value.value if isinstance(value, yaml.SequenceNode) else [value])]


def _excerpt(node: yaml.Node) -> str:
    return shortened(repr(node.value)) if isinstance(node, yaml.ScalarNode) else "here"


def _explain(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f": not text: {error.reason} at byte {error.position}; expected YAML in UTF-8, {_START}"
    mark, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", None) or error)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = shortened(" ".join(problem.split()), 200)
    return f"{place}: not valid YAML: {problem}; correct it, or put text in quotes"


def _remedy(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "; change its owner or mode"
    with contextlib.suppress(OSError):  # such as for a name that is too long
        if path.is_dir():
            return _nearest_files(path, path.name)
    return f"; expected a YAML file, {_START}"


def _nearest_files(folder: Path, name: str) -> str:
    try:
        files = sorted(path.name for path in folder.iterdir() if path.suffix in (".yml", ".yaml"))
    except OSError:
        return f"; the folder {folder} does not exist either"
    if not files:
        return f"; {folder} holds no .yml file"
    near = difflib.get_close_matches(name, files, n=3)
    return f"; nearest in {folder}: {', '.join(near)}" if near else f"; {folder} holds {', '.join(files[:3])}"
