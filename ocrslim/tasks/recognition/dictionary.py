"""Dictionaries of recognisers: the characters that they read, and how many classes these make.

A dictionary is a text file of PaddleOCR with a character a line. Nothing here imports PaddleOCR: a configuration is
read before it is known which copy of PaddleOCR's code a run uses.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ocrslim.errors import ConfigError, WeightsError
from ocrslim.formats import ONNX_SUFFIX, onnx_metadata
from ocrslim.ppocr import used_source
from ocrslim.utils import MIB, hash_value, read_file, write_text

KEY = "Global.character_dict_path"
_ALONE = tuple("0123456789abcdefghijklmnopqrstuvwxyz")  # PaddleOCR's characters where no dictionary is named
_MOST_BYTES = 16 * MIB
_RIGHT_TO_LEFT = "arabic"  # where a dictionary's path has this, PaddleOCR turns what it reads
DICTIONARIES = ("dict.txt", f"{_RIGHT_TO_LEFT}_dict.txt")  # beside a model
CHARACTERS = "character"  # where RapidOCR has the dictionary in an ONNX file
MODELS = (".onnx", ".yml", ".yaml")  # files that bring a dictionary along beside other things
# Classes beside the characters, such as the blank of CTC and the begin and end of a sequence, by PaddleOCR's decoder.
SPECIAL = {
    "CTCLabelDecode": 1,
    "DistillationCTCLabelDecode": 1,
    "ABINetLabelDecode": 1,
    "CPPDLabelDecode": 1,
    "AttnLabelDecode": 2,
    "RFLLabelDecode": 2,
    "SPINLabelDecode": 2,
    "SRNLabelDecode": 2,
    "ViTSTRLabelDecode": 2,
    "ParseQLabelDecode": 3,
    "PRENLabelDecode": 3,
    "SARLabelDecode": 3,
    "DistillationSARLabelDecode": 3,
    "SATRNLabelDecode": 3,
    "SEEDLabelDecode": 3,
    "NRTRLabelDecode": 4,
    "VLLabelDecode": 0,
}


def characters_of(settings: Mapping[str, Any], decoder: str = "") -> tuple[str, ...]:
    """Return the characters of a dictionary, as PaddleOCR reads it.

    Args:
        settings: the section `Global`: `character_dict_path`, `use_space_char`, `paddleocr`.
        decoder: name of the post-processing.

    Raises:
        ConfigError: the file is not there or is no dictionary.
    """
    path = settings.get("character_dict_path")
    if path is None:
        return _ALONE
    space = settings.get("use_space_char", decoder == "NRTRLabelDecode")
    file = dictionary_file(settings)
    assert file is not None
    found = file.stat()
    return (*_read(file, found.st_mtime_ns, found.st_size), *([" "] if space else []))


def dictionary_file(settings: Mapping[str, Any]) -> Path | None:
    """Return the dictionary that the section `Global` names; None where it names none.

    A path is looked for in the working directory, then in the copy of PaddleOCR in use, as PaddleOCR's configurations
    name it from the top of a checkout.

    Raises:
        ConfigError: it is nowhere.
    """
    path = settings.get("character_dict_path")
    if path is None:
        return None
    folders = list(dict.fromkeys(_folders(settings)))
    for folder in folders:
        if (folder / str(path)).is_file():
            return folder / str(path)
    looked = ", ".join("the working directory" if folder == Path() else str(folder) for folder in folders)
    raise ConfigError(
        f"{KEY}: {path} not found; looked in {looked}: name a dictionary, one character a line, with -o {KEY}=FILE, "
        "or a checkout of PaddleOCR that has it with -o Global.paddleocr=DIR"
    )


def resolved(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section `Global` with the dictionary's path as PaddleOCR's code can open it: that of a text file."""
    file = dictionary_file(settings)
    if file is not None and file.suffix in MODELS:
        file = _as_text(file)
    return {**settings, "character_dict_path": None if file is None else str(file)}


def has_dictionary(file: Path) -> bool:
    """Tell whether an ONNX file or an `inference.yml` brings a dictionary along."""
    try:
        return bool(_of_model(file))
    except ConfigError:
        return False


def dictionary_name(source: object) -> str:
    """Return the name of a dictionary beside the model, of the path of the whole one."""
    return DICTIONARIES[_RIGHT_TO_LEFT in str(source)]


def dictionary_text(entries: Sequence[str]) -> str:
    """Return the content of a dictionary, a character a line."""
    return "".join(f"{entry}\n" for entry in entries)


def class_count(settings: Mapping[str, Any], decoder: str) -> int:
    """Return the number of classes that a dictionary makes for PaddleOCR's decoder of that name.

    Raises:
        ConfigError: as `characters_of`; a decoder that is not known.
    """
    if decoder not in SPECIAL:
        raise ConfigError(f"PostProcess.name: found {decoder!r}, expected one of {', '.join(SPECIAL)}")
    return len(characters_of(settings, decoder)) + SPECIAL[decoder]


def _folders(settings: Mapping[str, Any]) -> Iterator[Path]:
    yield Path()
    named = settings.get("paddleocr")
    if named:
        yield Path(str(named))
    used = used_source()
    if used is not None:
        yield used
    for package in ("unstructured_paddleocr", "paddleocr"):
        found = importlib.util.find_spec(package)  # not imported
        places = found.submodule_search_locations if found is not None else None
        yield from (Path(place) for place in places or ())


@functools.lru_cache(8)
def _read(file: Path, _changed: int, _size: int) -> tuple[str, ...]:
    """Return the lines of a dictionary; the other arguments are the file's, so that a new one is read anew."""
    if file.suffix in MODELS:
        return tuple(_of_model(file))
    try:
        text = read_file(file, _MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{KEY}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{KEY}: {file} is not UTF-8 (byte {error.start}): save it as UTF-8, a character a line"
        ) from None
    lines = text.split("\n")
    lines = [line.strip("\r\n") for line in (lines[:-1] if lines[-1] == "" else lines)]
    if not lines:
        raise ConfigError(f"{KEY}: {file} is empty, expected one character a line")
    return tuple(lines)


def _of_model(file: Path) -> list[str]:
    """Return the characters that an ONNX file (as RapidOCR makes them) or an `inference.yml` brings along."""
    found: Any = None
    try:
        if file.suffix == ONNX_SUFFIX:
            found = onnx_metadata(file).get(CHARACTERS, "").split("\n")
        else:
            settings = yaml.safe_load(read_file(file, _MOST_BYTES))
            found = settings["PostProcess"]["character_dict"]
    except WeightsError as error:
        raise ConfigError(f"{KEY}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        found = None
    characters = [str(one) for one in found] if isinstance(found, list) else []
    characters = characters[:-1] if characters[-1:] == [""] else characters
    if not characters:
        raise ConfigError(f"{KEY}: {file} brings no dictionary along: name a text file, one character a line")
    return characters


def _as_text(file: Path) -> Path:
    """Return a text file with the dictionary of a model, in the folder of temporary files."""
    found = file.stat()
    text, name = _text_of(file, found.st_mtime_ns, found.st_size)
    folder = Path(tempfile.gettempdir()) / f"ocrslim-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    if not path.is_file():
        write_text(path, text)
    return path


@functools.lru_cache(8)
def _text_of(file: Path, changed: int, size: int) -> tuple[str, str]:
    """Return the dictionary of a model as a text, and a name for it; it is asked for with each label."""
    text = "\n".join(_read(file, changed, size)) + "\n"
    return text, f"dictionary-{hash_value(text)[:16]}.txt"
