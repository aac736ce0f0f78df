"""YAML text -> plain values, by the safe loader, and strict where that one is not.

Refused with their line: keys given twice, values that contain themselves, aliases that multiply beyond
reason, and what JSON has no word for (dates, bytes, sets, infinity).
"""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000  # with every alias written out
MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"
_FOREIGN_KINDS = {
    "timestamp": "a date",
    "binary": "bytes",
    "set": "a set",
    "omap": "a list of pairs",
    "pairs": "pairs",
}
_START = "start from a file in configs/det"


def read_yaml(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Read the YAML mapping in the file `path`: (the mapping or None, what is wrong, one line each).

    Aliases become copies of their own, so that changing one place leaves the others alone.
    """
    try:
        fault = _unreadable(path)
        if fault:
            return None, [f"{path}: {fault}"]
        data = path.read_bytes()
    except OSError as error:
        return None, [f"{path}: cannot be read: {error.strerror}; change its owner or mode"]
    value, problems = parse_yaml(data, str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        shape = f"{path}: holds {found}, expected sections such as Global and Architecture; {_START}"
        return None, problems or [shape]
    return value, problems


def parse_yaml(data: bytes | str, name: str) -> tuple[Any, list[str]]:
    """Parse one YAML document: (the value, None if there is none; what is wrong); `name` opens each line."""
    try:
        loader = yaml.SafeLoader(data)
        node = loader.get_single_node()
        if node is None:
            return None, []
        check = _NodeCheck(name)
        check.walk(node)
        if check.fatal:
            return None, check.problems
        return _copied(loader.construct_document(node)), check.problems
    except yaml.YAMLError as error:
        return None, [f"{name}{_explain(error)}"]
    except RecursionError:
        return None, [f"{name}: nested too deeply for a configuration; {_START}"]
    except ValueError as error:  # PyYAML's own conversions, such as of the date 2026-02-31
        return None, [f"{name}: a value is not what it looks like ({error}); put text in quotes"]


class _NodeCheck:
    """Walks the graph of YAML nodes before any value is made of it; each node once, however often used."""

    def __init__(self, name: str):
        self.name = name
        self.problems: list[str] = []
        self.fatal = False
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def walk(self, root: yaml.Node) -> None:
        if self._size(root) > MAX_VALUES:
            self._report(root, f"more than {MAX_VALUES} values with its aliases written out", fatal=True)

    def _report(self, node: yaml.Node, message: str, fatal: bool = False) -> None:
        self.problems.append(f"{self.name}, line {node.start_mark.line + 1}: {message}")
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
        kind = node.tag.removeprefix(_TAG)
        if kind in _FOREIGN_KINDS:
            self._report(node, f"{_excerpt(node)} is read as {_FOREIGN_KINDS[kind]}; put text in quotes")
        if kind == "float" and not _is_finite(node.value):
            self._report(node, f"{node.value} is not a finite number")
        if isinstance(node, yaml.MappingNode):
            self._keys(node)
            return [value for _, value in node.value]
        return node.value if isinstance(node, yaml.SequenceNode) else []

    def _keys(self, node: yaml.MappingNode) -> None:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == f"{_TAG}merge":
                continue
            if key.tag != f"{_TAG}str":
                self._report(key, f"the key {_excerpt(key)} is not text; put it in quotes", fatal=True)
            elif key.value in lines:
                first = lines[key.value]
                self._report(key, f"the key {key.value!r} is given twice (first on line {first}); remove one")
            else:
                lines[key.value] = key.start_mark.line + 1


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text.replace("_", "")))
    except ValueError:  # YAML's own spellings: .nan and .inf are not finite, 1:30.5 (in base 60) is
        return text.lower().lstrip("+-") not in (".nan", ".inf")


def _excerpt(node: yaml.Node) -> str:
    return repr(node.value) if isinstance(node, yaml.ScalarNode) else "here"


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _explain(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f": not text: {error.reason} at byte {error.position}; expected YAML in UTF-8, {_START}"
    mark, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", None) or error)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    if "could not determine a constructor" in problem:
        tag = problem.rsplit(" ", 1)[-1].strip("'").replace(_TAG, "!!")
        return f"{place}: the tag {tag} is refused and was not run; expected plain values only"
    return f"{place}: not valid YAML: {' '.join(problem.split())}; correct it, or put text in quotes"


def _unreadable(path: Path) -> str | None:
    if path.is_dir():
        return f"is a folder, expected a YAML file{_nearest_files(path, path.name)}"
    if not path.exists():
        return f"not found{_nearest_files(path.parent, path.name)}"
    if not path.is_file():
        return "not a regular file, expected a YAML file"
    if path.stat().st_size > MAX_BYTES:
        return f"{path.stat().st_size} bytes, expected a YAML file of at most {MAX_BYTES}"
    return None


def _nearest_files(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return f"; the folder {folder} does not exist either"
    files = sorted(path.name for path in folder.iterdir() if path.suffix in (".yml", ".yaml"))
    if not files:
        return f"; {folder} holds no .yml file"
    return f"; nearest in {folder}: {', '.join(difflib.get_close_matches(name, files, n=3, cutoff=0.0))}"
