"""The counts, as `benchmarks/hostile.json` and as the tables of `docs/robustness.md`."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import kills as killing
from .runner import SKIPPED
from .verdict import OK, VERDICTS

REPO = Path(__file__).resolve().parents[2]
RECORD, NOTE = REPO / "benchmarks/hostile.json", REPO / "docs/robustness.md"
LABELS = ("before", "after")
_BEGIN, _END = "<!-- {} -->", "<!-- end of {} -->"
Entries = Sequence[Mapping[str, Any]]


def save(label: str, root: Path, seed: int, entries: Entries, kills: Entries) -> None:
    """Write what was found as `label` into the record, and the tables anew into the note."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    record[label] = {
        "revision": _revision(root),
        "seed": seed,
        "cases": len(entries),
        "families": _counts(entries, "family"),
        "kills": _counts(kills, "stage"),
        "not as they should be": {
            f"{entry['family']}/{entry['name']}": entry["verdict"]
            for entry in entries
            if entry["verdict"] not in (OK, SKIPPED)
        },
    }
    text = json.dumps({name: record[name] for name in LABELS if name in record}, indent=1, ensure_ascii=True)
    RECORD.write_text(text + "\n", encoding="utf-8")
    note = NOTE.read_text(encoding="utf-8")
    for name, table in (("families", families_table(record)), ("kills", kills_table(record))):
        note = _replaced(note, name, table)
    NOTE.write_text(note, encoding="utf-8")


def _revision(root: Path) -> str:
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _counts(entries: Entries, key: str) -> dict[str, dict[str, int]]:
    """Of each family, or stage, how often each verdict."""
    found: dict[str, Counter[str]] = {}
    for entry in entries:
        found.setdefault(entry[key], Counter())[entry["verdict"]] += 1
    return {name: dict(found[name].most_common()) for name in sorted(found)}


def families_table(record: Mapping[str, Any]) -> str:
    """Family by verdict, each cell `before / after`."""
    return _table(record, "families", list(VERDICTS))


def kills_table(record: Mapping[str, Any]) -> str:
    """Stage by what became of the kills, each cell `before / after`."""
    return _table(record, "kills", list(killing.VERDICTS))


def _table(record: Mapping[str, Any], part: str, verdicts: list[str]) -> str:
    labels = [label for label in LABELS if label in record]
    rows = sorted({name for label in labels for name in record[label][part]})
    found = {verdict for label in labels for row in rows for verdict in record[label][part].get(row, {})}
    shown = [verdict for verdict in [*verdicts, SKIPPED] if verdict in found or verdict == "executed"]
    lines = [f"| {' | '.join(['', 'number', *shown])} |", "|" + "---|" * (len(shown) + 2)]
    for row in [*rows, "together"]:
        counts = {label: _of(record[label][part], row, rows) for label in labels}
        number = max((sum(count.values()) for count in counts.values()), default=0)
        numbers = [[counts[label][verdict] if label in counts else None for label in LABELS] for verdict in shown]
        cells = [_cell(pair, zeros=row == "together") for pair in numbers]
        lines.append(f"| {' | '.join([row, str(number), *cells])} |")
    revisions = ", ".join(f"{label}: revision {record[label]['revision']}" for label in labels)
    return "\n".join([*lines, "", f"({revisions}; each cell: before / after.)"])


def _of(part: Mapping[str, Mapping[str, int]], row: str, rows: Sequence[str]) -> Counter[str]:
    if row in part or row != "together":
        return Counter(part.get(row, {}))
    return sum((Counter(part.get(name, {})) for name in rows), Counter())


def _cell(numbers: Sequence[int | None], zeros: bool) -> str:
    known = [number for number in numbers if number is not None]
    return (
        "" if not any(known) and not zeros else " / ".join("?" if number is None else str(number) for number in numbers)
    )


def _replaced(note: str, name: str, table: str) -> str:
    begin, end = _BEGIN.format(name), _END.format(name)
    before, _, rest = note.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"
