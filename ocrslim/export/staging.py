"""The folder of an export, which appears complete or not at all."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ocrslim.errors import ArtifactError
from ocrslim.export.formats.lite import LITE, LITE_MODEL
from ocrslim.export.formats.onnx import ONNX
from ocrslim.export.formats.paddle import LEGACY, MODELS, PIR
from ocrslim.formats import ONNX_SUFFIX
from ocrslim.inference import PARAMS_FILE
from ocrslim.tasks import DICTIONARIES
from ocrslim.utils import check_writable, locked_folder, named, remove_leftovers, write_error

logger = logging.getLogger(__name__)

PROOF = "export.json"
FILES = (*MODELS.values(), PARAMS_FILE, f"{PARAMS_FILE}.info", "inference.yml", LITE_MODEL, *DICTIONARIES, PROOF)
FOLDERS = (LEGACY, PIR, ONNX, LITE)  # of formats, in the folder of an export
_FORMER = ".old"
_CHOOSE = "choose an empty or a new folder with -o Global.save_inference_dir=PATH"


def resolve_target(folder: Path) -> Path:
    """Return `folder`, or its target if it is a symbolic link.

    Raises:
        ArtifactError: the path cannot be a folder.
    """
    if "\0" in str(folder):
        raise ArtifactError(f"{named(folder)}: contains a NUL character, which paths cannot: {_CHOOSE}")
    try:
        is_link = folder.is_symlink()
    except OSError as error:  # a name that is too long
        raise write_error(folder, error) from error
    if not is_link:
        return folder
    target = Path(os.path.realpath(folder))
    if target.is_symlink():  # realpath stops at a link in a circle
        raise ArtifactError(f"{named(folder)}: is a link in a circle of links: {_CHOOSE}")
    return target


def is_exports(path: Path) -> bool:
    """Tell whether a file is one of an export; an ONNX file is where the export's proof lies beside it."""
    return path.name in FILES or (path.suffix == ONNX_SUFFIX and (path.parent / PROOF).is_file())


def check_target(
    folder: Path, is_ours: Callable[[Path], bool] = is_exports, remedy: str = _CHOOSE, record: str = PROOF
) -> None:
    """Refuse a target that cannot be replaced.

    Args:
        is_ours: tells which files may be replaced.
        remedy: what to do about a target that cannot.
        record: the file that tells an earlier result from other folders; other files that were added to one are kept.

    Raises:
        ArtifactError: it cannot be written, is not a folder, is a mount point, or is of something else.
    """
    check_writable(folder.parent)
    try:
        _restore_former(folder)
        if os.path.lexists(folder) and not folder.is_dir():
            raise ArtifactError(f"{named(folder)}: is not a folder: {remedy}")
        if folder.is_mount():
            raise ArtifactError(f"{named(folder)}: is a mount point, which cannot be replaced: choose a folder in it")
        others = _others(folder, is_ours) if folder.is_dir() and not (folder / record).is_file() else []
    except OSError as error:
        raise write_error(folder, error) from error
    if others:
        raise ArtifactError(
            f"{named(folder)}: holds other files ({', '.join(named(path.name) for path in others[:5])}), which an "
            f"export would mix with: {remedy}"
        )


def _others(folder: Path, is_ours: Callable[[Path], bool]) -> list[Path]:
    """Return what does not belong to the result in `folder`, also in the folders of its formats."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name in FOLDERS and path.is_dir() and not path.is_symlink() and (path / PROOF).is_file():
            found += _others(path, is_ours)
        elif not is_ours(path):
            found.append(path)
    return found


def _keep(others: Sequence[Path], folder: Path, staged: Path) -> None:
    """Put what does not belong to the former result beside the new one, without copying where links can be made."""
    for path in others:
        kept = staged / path.relative_to(folder)
        if os.path.lexists(kept):
            continue
        kept.parent.mkdir(exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, kept, symlinks=True, copy_function=_link_or_copy)
        else:
            _link_or_copy(path, kept)
    if others:
        names = ", ".join(named(str(path.relative_to(folder))) for path in others[:5])
        logger.info("%s: kept what is not of the export: %s", named(folder), names)


def _link_or_copy(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(source, target, follow_symlinks=False)


def onnx_file(folder: Path) -> Path | None:
    """Return the ONNX file of an export; None where it is Paddle's."""
    return next(iter(sorted(folder.glob(f"*{ONNX_SUFFIX}"))), None)


def model_files(folder: Path) -> list[Path]:
    """Return the files with a model and its weights, without the empty one that guards PIR."""
    found = onnx_file(folder)
    names = (*MODELS.values(), PARAMS_FILE, LITE_MODEL)
    return [found] if found else [file for name in names if (file := folder / name).is_file() and file.stat().st_size]


@contextlib.contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder` to write an export into; remove what is left of it afterwards.

    Raises:
        ArtifactError: it cannot be written.
    """
    remove_leftovers(folder.parent, glob.escape(folder.name))
    try:
        with locked_folder(folder.parent, f".{folder.name}.") as staged:
            staged.chmod(0o755)
            yield staged
    except OSError as error:
        raise write_error(folder, error) from error


def _restore_former(folder: Path) -> None:
    """Restore the name of an export after a kill between the two renames of `put_in_place`."""
    for former in folder.parent.glob(f".{glob.escape(folder.name)}.????????{_FORMER}"):
        if folder.exists():
            shutil.rmtree(former, ignore_errors=True)
        else:
            former.rename(folder)


def put_in_place(staged: Path, folder: Path, is_ours: Callable[[Path], bool] = is_exports) -> None:
    """Replace `folder` by `staged` as a whole, so that it never mixes files of two exports.

    Args:
        is_ours: tells which files of the former result are replaced; the others are kept.
    """
    old = staged.with_name(staged.name + _FORMER)
    try:
        if folder.is_dir():
            _keep(_others(folder, is_ours), folder, staged)
            folder.rename(old)
        staged.rename(folder)
    except OSError as error:
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        raise write_error(folder, error) from error
    shutil.rmtree(old, ignore_errors=True)
