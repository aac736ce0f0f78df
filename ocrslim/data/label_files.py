"""Label files: one image a line, its name and its label, read strictly.

Names are relative to `data_dir`; what a label is, the task knows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocrslim.errors import DataError
from ocrslim.tasks import DataTask, Label, Sample
from ocrslim.utils import GIB, MIB, open_regular, parse_json, shortened

MAX_LINE = 16 * MIB
MAX_BYTES = 4 * GIB


def read_labels(dataset: dict[str, Any], mode: str, seed: int, task: DataTask) -> list[Sample]:
    """Parse the label files named in a `dataset` section, images not yet looked at.

    For evaluation the lines are thinned by `ratio_list`, always to the same ones; a training draws anew in every
    epoch (`LabelledSet.of_epoch`).

    Raises:
        DataError: a folder, file or line is missing or broken.
    """
    folder, files = _locate(dataset, mode, task)
    ratios = [1.0] * len(files) if mode == "Train" else shares(dataset)
    samples = []
    for source, (file, ratio) in enumerate(zip(files, ratios)):
        lines = list(_read_lines(file, mode, task))
        if ratio < 1:
            rows = sorted(random.Random(seed).sample(range(len(lines)), round(len(lines) * ratio)))
            lines = [lines[row] for row in rows]
        samples += _parse_lines(file, source, lines, folder, dataset.get("delimiter") or "\t", task)
        if lines and not samples:
            raise DataError(f"{file}: no line has {task.nothing_to_learn}")
    if mode != "Train":  # which is scored on one image each
        samples = [replace(sample, others=()) for sample in samples]
    if not samples:
        raise DataError(f"{mode}.dataset.ratio_list {dataset.get('ratio_list')}: leaves no image; raise it")
    return samples


def shares(dataset: dict[str, Any]) -> list[float]:
    """Return the fraction of each label file that `ratio_list` asks for."""
    files, ratios = dataset["label_file_list"], dataset.get("ratio_list", 1.0)
    count = 1 if isinstance(files, str) else len(files)
    return [float(ratio) for ratio in ratios] if isinstance(ratios, list) else [float(ratios)] * count


def _locate(dataset: dict[str, Any], mode: str, task: DataTask) -> tuple[Path, list[Path]]:
    folder, files = dataset["data_dir"], dataset["label_file_list"]
    files = [files] if isinstance(files, str) else files
    if not Path(folder).is_dir():
        raise DataError(
            f"{mode}.dataset.data_dir: folder {folder} not found: put the images that {files[0]} names "
            f"there, or redirect with {_redirect(mode)}"
        )
    for file in files:
        if not Path(file).exists():
            raise DataError(
                f"{mode}.dataset.label_file_list: file {file} not found: put a label file there (one line an "
                f"image: {task.label_format}, names relative to {folder}), or redirect with {_redirect(mode)}"
            )
    return Path(folder), [Path(file) for file in files]


def _redirect(mode: str) -> str:
    return f"-o {mode}.dataset.data_dir=FOLDER {mode}.dataset.label_file_list=[FILE]"


def _read_lines(file: Path, mode: str, task: DataTask) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of the lines that are not blank."""
    empty = True
    try:
        with open_regular(file) as stream:
            number, read = 0, 0
            while data := stream.readline(MAX_LINE + 1):
                number, read = number + 1, read + len(data)
                if len(data) > MAX_LINE or read > MAX_BYTES:
                    most = f"{MAX_LINE >> 20} MiB a line and {MAX_BYTES >> 30} GiB a file"
                    raise DataError(f"{file}, line {number}: too long, expected at most {most}: is it a label file?")
                line = _decoded(file, number, data)
                if line.strip():
                    empty = False
                    yield number, line
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read: {error.strerror}; name a label file, or change the mode of this one"
        ) from None
    if empty:
        raise DataError(
            f"{file}: empty: write one line an image ({task.label_format}), or redirect with {_redirect(mode)}"
        )


def _decoded(file: Path, number: int, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}, line {number}: byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8 "
            "(iconv -t UTF-8), or check that it is a label file at all"
        ) from None


def _parse_lines(
    file: Path, source: int, lines: list[tuple[int, str]], folder: Path, delimiter: str, task: DataTask
) -> list[Sample]:
    samples, faults = [], []
    for number, line in lines:
        try:
            names, labels = _parse_line(line, delimiter, task)
        except ValueError as fault:
            faults.append(f"line {number}: {fault}")
            continue
        path, *others = (folder / name for name in names)
        for label in labels:
            counts, place = (label.items, label.care, label.tiny), f"{file}, line {number}"
            sample = Sample(names[0], path, label.text, *counts, place, source, outline=label.outline)
            samples.append(replace(sample, others=tuple(others)) if others and not label.outline else sample)
    if faults:
        more = f" ({len(faults) - 1} more lines are broken too)" if faults[1:] else ""
        raise DataError(f"{file}, {faults[0]}; correct or remove the line{more}")
    return samples


def _parse_line(line: str, delimiter: str, task: DataTask) -> tuple[list[str], list[Label]]:
    """Return the names of the image, and its labels."""
    name, found, rest = line.partition(delimiter)
    if not found:
        tab = "tab" if delimiter == chr(9) else repr(delimiter)
        raise ValueError(f"no {tab} in {shortened(line)}, expected {task.label_format}")
    labels = task.parse_line(rest, delimiter)
    names = _names(name)
    if not all(one.strip() and "\0" not in one for one in names):
        raise ValueError(f"no image name before the label, expected {task.label_format}")
    return names, labels


def _names(text: str) -> list[str]:
    """Return the names of images that share a label: PaddleOCR's label files may have a JSON list of them."""
    if not text.startswith("["):
        return [text]
    try:
        names = parse_json(text)
    except ValueError:
        return [text]
    listed = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    return list(names) if listed else [text]
