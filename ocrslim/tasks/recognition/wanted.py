"""The characters that a recogniser is to keep, as files name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ocrslim.errors import DataError
from ocrslim.tasks.recognition import labels as label_lines
from ocrslim.utils import MIB, printable, read_file

_MOST_BYTES = 256 * MIB
_NO_CHARACTERS = frozenset("\n\r\t\v\f\ufeff")  # what text files have between and before characters


@dataclass(frozen=True)
class Wanted:
    """Characters to keep.

    Attributes:
        listed: entries of dictionaries, each with the place that lists it.
        texts: running text, each character of which counts.
        source: names where they come from, for messages.
    """

    listed: Mapping[str, str] = field(default_factory=dict)
    texts: Sequence[str] = ()
    source: str = "the wanted characters"


def read_wanted(chars: Sequence[Path] = (), texts: Sequence[Path] = (), labels: Sequence[Path] = ()) -> Wanted:
    """Read files that name characters.

    Args:
        chars: dictionaries, a character a line.
        texts: text files of any form.
        labels: label files of recognition, or of detection with the text of each box.

    Raises:
        DataError: a file is missing, not UTF-8, or no label file; or all of them together have no character.
    """
    listed = {entry: place for path in chars for entry, place in _entries(path)}
    found = [*(_text(path) for path in texts), *(text for path in labels for text in _labels(path))]
    source = ", ".join(str(path) for path in (*chars, *texts, *labels))
    if not listed and not any(set(text) - _NO_CHARACTERS for text in found):
        raise DataError(f"{source}: no characters in it, expected those to keep")
    return Wanted(listed, found, source)


def characters_in(text: str) -> dict[str, None]:
    """Return the characters of a text, each once, without its line breaks and tabs."""
    return {character: None for character in text if character not in _NO_CHARACTERS}


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a dictionary, and the place of each; the first where one is there several times."""
    for number, line in enumerate(_text(path).split("\n"), 1):
        entry = line.strip("\r\ufeff")
        if entry:
            yield entry, f"{path}:{number}"


def _labels(path: Path) -> Iterator[str]:
    """Yield the texts in a label file."""
    for number, line in enumerate(_text(path).split("\n"), 1):
        name, tab, label = line.strip("\r\ufeff").partition("\t")
        if not name.strip():
            continue
        if not tab:
            raise DataError(
                f"{path}:{number}: found {printable(line)!r}, expected NAME<TAB>text: for a file of text alone use "
                "--text"
            )
        try:
            yield from (each.text for each in label_lines.parse_line(label.split("\t")[0]))
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}; expected NAME<TAB>text, or NAME<TAB>boxes as JSON") from None


def _text(path: Path) -> str:
    try:
        return read_file(path, _MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}: check the path") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 (byte {error.start}): save it as UTF-8") from None
