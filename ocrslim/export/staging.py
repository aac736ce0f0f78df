"""The folder of an export, which appears complete or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ocrslim.errors import ArtifactError
from ocrslim.export.formats.paddle import MODELS
from ocrslim.formats import ONNX_SUFFIX
from ocrslim.inference import PARAMS_FILE
from ocrslim.utils import check_writable, locked_folder, named, remove_leftovers, write_error

PROOF = "export.json"
FILES = (*MODELS.values(), PARAMS_FILE, f"{PARAMS_FILE}.info", "inference.yml", PROOF)
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


def check_target(folder: Path, is_ours: Callable[[Path], bool] = is_exports, remedy: str = _CHOOSE) -> None:
    """Refuse a target that cannot be replaced.

    Args:
        is_ours: tells which files may be replaced.
        remedy: what to do about a target that cannot.

    Raises:
        ArtifactError: it cannot be written, is not a folder, is a mount point, or holds other files.
    """
    check_writable(folder.parent)
    try:
        _restore_former(folder)
        if os.path.lexists(folder) and not folder.is_dir():
            raise ArtifactError(f"{named(folder)}: is not a folder: {remedy}")
        if folder.is_mount():
            raise ArtifactError(f"{named(folder)}: is a mount point, which cannot be replaced: choose a folder in it")
        foreign = sorted(p.name for p in folder.iterdir() if not is_ours(p)) if folder.is_dir() else []
    except OSError as error:
        raise write_error(folder, error) from error
    if foreign:
        raise ArtifactError(
            f"{named(folder)}: holds other files ({', '.join(map(named, foreign[:5]))}), which an export would mix "
            f"with: {remedy}"
        )


def onnx_file(folder: Path) -> Path | None:
    """Return the ONNX file of an export; None where it is Paddle's."""
    return next(iter(sorted(folder.glob(f"*{ONNX_SUFFIX}"))), None)


def model_files(folder: Path) -> list[Path]:
    """Return the files with a model and its weights."""
    found = onnx_file(folder)
    return (
        [found] if found else [folder / name for name in (*MODELS.values(), PARAMS_FILE) if (folder / name).is_file()]
    )


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


def put_in_place(staged: Path, folder: Path) -> None:
    """Replace `folder` by `staged` as a whole, so that it never mixes files of two exports."""
    old = staged.with_name(staged.name + _FORMER)
    try:
        if folder.is_dir():
            folder.rename(old)
        staged.rename(folder)
    except OSError as error:
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        raise write_error(folder, error) from error
    shutil.rmtree(old, ignore_errors=True)
