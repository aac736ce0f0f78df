"""Paths as results record them: the same on every machine, so that others can rerun a command and compare."""

from __future__ import annotations

import re
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
sys.path.append(str(REPO / "examples"))

from demo import SCRIPTS, SHIPPED_CONFIG, package_weights  # noqa: E402

__all__ = ["OUT", "REPO", "SCRIPTS", "SHIPPED_CONFIG", "package_weights", "portable"]
OUT = "OUT"  # the folder that a benchmark works in
_PACKAGES = f".venv/lib/python{sysconfig.get_python_version()}/site-packages"


def portable(value: Any, *out: Path) -> Any:
    """A value of JSON with this machine's folders taken out of all its texts, keys too; numbers and the like stay.

    What lies in the repository is told from its top (`configs/det/x.yml`), the data beside it as `../shared/x`, an
    installed package as in `.venv`, the rest of the home folder as `~/x`. What is portable already stays as it is.

    Args:
        out: folders to tell as `OUT`, as the one for temporary files is.
    """
    names = _names(out)
    folders = "|".join(re.escape(folder) for folder in sorted(names, key=len, reverse=True))
    # a whole folder of an absolute path: not the end of another path, nor the beginning of another name
    pattern = re.compile(rf"(?<![\w./~-])({folders})(?![\w-]|\.\w)(/(?=[\w.]))?")

    def name(found: re.Match[str]) -> str:
        word, slash = names[found[1]], found[2] or ""
        return "" if word == "." and slash else word + slash

    def changed(one: Any) -> Any:
        if isinstance(one, str):
            return pattern.sub(name, one)
        if isinstance(one, dict):
            return {changed(key): changed(inner) for key, inner in one.items()}
        return [changed(inner) for inner in one] if isinstance(one, (list, tuple)) else one

    return changed(value)


def _names(out: tuple[Path, ...]) -> dict[str, str]:
    """What folders are told as, by path: as it is, and with links followed. Of two with one path the later counts."""
    known = [
        (Path(tempfile.gettempdir()), OUT),
        (Path.home(), "~"),
        (Path(sysconfig.get_path("purelib")), _PACKAGES),
        (REPO.parent / "shared", "../shared"),
        (REPO, "."),
        *((folder, OUT) for folder in out),
    ]
    names = {str(path): name for folder, name in known for path in (folder.absolute(), folder.resolve())}
    return {path: name for path, name in names.items() if path != "/"}
