"""YAML text -> plain values, by the safe loader, with what it lets pass: repeated keys, cycles, bombs."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000  # with every YAML alias written out

_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Read a YAML mapping from `path`: (the mapping, or None where nothing could be read; what is wrong).

    Anchors are resolved to independent copies, so that changing one place leaves the others alone.
    """
    try:
        if path.is_dir():
            return None, [f"{path}: is a folder, expected a YAML file{_candidates(path, path.name)}"]
        if not path.is_file():
            return None, [f"{path}: not found{_candidates(path.parent, path.name)}"]
        if path.stat().st_size > MAX_BYTES:
            return None, [
                f"{path}: too large for a configuration ({path.stat().st_size} bytes), expected a YAML file"
            ]
        data = path.read_bytes()
    except OSError as error:
        return None, [f"{path}: cannot be read: {error.strerror}; change its owner or mode"]
    value, problems = parse_yaml(data, str(path))
    if problems and value is None:
        return None, problems
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        return None, [
            *problems,
            f"{path}: holds {found}, expected sections such as Global and Architecture; "
            "start from a file in configs/det",
        ]
    return value, problems


def parse_yaml(data: bytes | str, name: str) -> tuple[Any, list[str]]:
    """Parse one YAML document: (value, what is wrong); `name` opens every message."""
    try:
        loader = yaml.SafeLoader(data)
        node = loader.get_single_node()
        if node is None:
            return None, []
        problems = _NodeCheck(name).run(node)
        if any(fatal for fatal, _ in problems):
            return None, [text for _, text in problems]
        return _copied(loader.construct_document(node)), [text for _, text in problems]
    except yaml.YAMLError as error:
        return None, [f"{name}{_explain(error)}"]
    except RecursionError:
        return None, [f"{name}: nested too deeply, expected a configuration"]
    except ValueError as error:
        return None, [f"{name}: a value is not what it looks like ({error}); put it in quotes"]


class _NodeCheck:
    """Walks the graph of YAML nodes before any value is made of it."""

    def __init__(self, name: str):
        self.name = name
        self.problems: list[tuple[bool, str]] = []  # (nothing can be read at all, message)
        self.sizes: dict[int, int] = {}
        self.open: set[int] = set()

    def run(self, node: yaml.Node) -> list[tuple[bool, str]]:
        if self.size(node) > MAX_VALUES:
            self.problems.append(
                (True, f"{self.name}: more than {MAX_VALUES} values with its aliases written out")
            )
        return self.problems

    def size(self, node: yaml.Node) -> int:
        """The number of values under `node`; every node is visited once, however often it is referred to."""
        if id(node) in self.open:
            line = node.start_mark.line + 1
            self.problems.append(
                (True, f"{self.name}, line {line}: the value contains itself; remove the alias")
            )
            return 1
        if id(node) not in self.sizes:
            self.open.add(id(node))
            children: list[yaml.Node] = []
            if isinstance(node, yaml.MappingNode):
                self.repeated(node)
                children = [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                children = node.value
            self.sizes[id(node)] = 1 + sum(self.size(child) for child in children)
            self.open.discard(id(node))
        return self.sizes[id(node)]

    def repeated(self, node: yaml.MappingNode) -> None:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            first = lines.setdefault((key.tag, key.value), line)
            if first != line or key.start_mark.column != self._column(node, key, first):
                self.problems.append(
                    (
                        False,
                        f"{self.name}, line {line}: the key {key.value!r} stands here a second time "
                        f"(first on line {first}); remove one of the two",
                    )
                )

    @staticmethod
    def _column(node: yaml.MappingNode, key: yaml.ScalarNode, line: int) -> int:
        for other, _ in node.value:
            if isinstance(other, yaml.ScalarNode) and (other.tag, other.value) == (key.tag, key.value):
                return other.start_mark.column
        return -1


def _copied(value: Any) -> Any:
    """Write out aliases: nothing in the result is shared."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _explain(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None:
        return ": not a text file with YAML in it; start from a file in configs/det"
    place = f", line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, yaml.constructor.ConstructorError) and "could not determine a constructor" in str(
        problem
    ):
        tag = str(problem).rsplit(" ", 1)[-1].strip("'").replace("tag:yaml.org,2002:", "!!")
        return f"{place}: the tag {tag} is refused, nothing of it was run; expected plain values only"
    return f"{place}: not valid YAML: {problem or error}; correct that line"


def _candidates(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return f"; the folder {folder} does not exist either"
    files = sorted(path.name for path in folder.iterdir() if path.suffix in (".yml", ".yaml"))
    if not files:
        return f"; {folder} holds no .yml file"
    nearest = difflib.get_close_matches(name, files, n=3, cutoff=0.0)
    return f"; nearest in {folder}: {', '.join(nearest)}"
