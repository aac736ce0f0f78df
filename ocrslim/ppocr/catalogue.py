"""What a copy of PaddleOCR can build: its classes and their arguments, read from its files without importing them.

An import takes seconds, and a misspelt name is to be answered at once.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

PARTS = {"Transform": "transforms", "Backbone": "backbones", "Neck": "necks", "Head": "heads"}
_FOLDERS = {
    **{part: f"modeling/{folder}" for part, folder in PARTS.items()},
    "Loss": "losses",
    "PostProcess": "postprocess",
    "Metric": "metrics",
    "transforms": "data/imaug",
}
_Callable = Union[ast.ClassDef, ast.FunctionDef]


@dataclass(frozen=True)
class Signature:
    """The arguments of a class.

    Attributes:
        arguments: their names.
        required: those without a default.
        open: whether it takes others as well, or they cannot be told.
    """

    arguments: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    open: bool = True


@dataclass(frozen=True)
class _Import:
    """A name that a package imports: from which of its modules, and what it is called there."""

    name: str
    module: str
    original: str


class Catalogue:
    """The classes of one copy of PaddleOCR.

    Args:
        folder: holds the package `ppocr`.
        model_type: `Architecture.model_type`, on which the choice of backbones depends.
    """

    def __init__(self, folder: Path, model_type: str):
        self._folder = folder / "ppocr"
        self._model_type = model_type

    def names(self, kind: str) -> list[str]:
        """Return the names that a section may have.

        Args:
            kind: a part of the architecture, "Loss", "PostProcess", "Metric" or "transforms".
        """
        return list(self._imports(kind))

    def signature(self, kind: str, name: str) -> Signature:
        """Return the arguments of a class of `names`."""
        found = self._imports(kind).get(name)
        return _signature(self._package(kind) / f"{found.module}.py", found.original) if found else Signature()

    def _package(self, kind: str) -> Path:
        return self._folder / _FOLDERS[kind]

    def _imports(self, kind: str) -> dict[str, _Import]:
        return _package_imports(self._package(kind), self._model_type)


@functools.cache
def _package_imports(package: Path, model_type: str) -> dict[str, _Import]:
    found = _imports_in(_parsed(package / "__init__.py"), model_type)
    return {each.name: each for one in found for each in (_starred(package, one) if one.name == "*" else [one])}


def _imports_in(body: Sequence[ast.stmt], model_type: str) -> Iterator[_Import]:
    """Yield a package's imports from itself, of branches on the type of model only those that are taken."""
    for node in body:
        if isinstance(node, ast.ImportFrom):
            if node.level == 1 and node.module:
                yield from (_Import(each.asname or each.name, node.module, each.name) for each in node.names)
        elif isinstance(node, ast.If):
            types = _compared_types(node.test)
            if not types or model_type in types:
                yield from _imports_in(node.body, model_type)
            if model_type not in types:
                yield from _imports_in(node.orelse, model_type)
        elif isinstance(node, (ast.FunctionDef, ast.Try)):
            yield from _imports_in(node.body, model_type)


def _compared_types(test: ast.expr) -> set[str]:
    """Return the types of models that a condition asks for; none where it is about something else."""
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    constants = {node.value for node in ast.walk(test) if isinstance(node, ast.Constant)}
    return {value for value in constants if isinstance(value, str)} if "model_type" in names else set()


def _starred(package: Path, found: _Import) -> list[_Import]:
    module = package / f"{found.module}.py"
    classes = [node.name for node in _parsed(module) if isinstance(node, ast.ClassDef)]
    return [_Import(name, found.module, name) for name in classes]


@functools.cache
def _signature(module: Path, name: str) -> Signature:
    """Return the arguments of a class or of a function that makes one; those of its base where it has none."""
    nodes = {node.name: node for node in _parsed(module) if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    maker = _maker(nodes, name)
    if maker is None:
        return Signature()
    given = maker.args
    positional = [each.arg for each in (*given.posonlyargs, *given.args)]
    by_name = [each.arg for each in given.kwonlyargs]
    required = positional[: len(positional) - len(given.defaults)]
    required += [name for name, default in zip(by_name, given.kw_defaults) if default is None]
    return Signature(
        tuple(name for name in (*positional, *by_name) if name != "self"),
        tuple(name for name in required if name != "self"),
        given.kwarg is not None,
    )


def _maker(nodes: dict[str, _Callable], name: str) -> ast.FunctionDef | None:
    """Return the function that takes the arguments; None where it is in another module."""
    node = nodes.get(name)
    if node is None or isinstance(node, ast.FunctionDef):
        return node
    own = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id != name]
    return own[0] if own else _maker(nodes, bases[0]) if bases else None


@functools.cache
def _parsed(module: Path) -> list[ast.stmt]:
    """Return the statements of a module; none where it is missing or not readable."""
    try:
        return ast.parse(module.read_text(encoding="utf-8")).body
    except (OSError, ValueError, SyntaxError):
        return []
