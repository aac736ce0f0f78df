"""Files that hand one stage's result to the next: written whole or not at all, read without trust."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ocrslim.errors import ArtifactError
from ocrslim.utils.input_files import MIB, open_regular, parse_json, read_file

_LONG_PATH = 240
_SCRATCH = "ocrslim-"
MOST_JSON = 64 * MIB  # bytes; those of the largest networks have less than one MiB

_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EFBIG: "the file would exceed the size limit: raise it (ulimit -f)",
    errno.EACCES: "permission denied: change the owner or the mode, or choose another folder",
    errno.EPERM: "operation not permitted: choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    errno.EEXIST: "a file stands where the folder should be: choose another path",
    errno.EISDIR: "a folder stands where the file should be: choose another path",
}


def write_error(path: Path | str | None, error: OSError) -> ArtifactError:
    """Return `error`, met while writing `path`, as a message with its remedy."""
    path = path or "output"
    remedy = _DISK_ERRORS.get(error.errno or 0, str(error.strerror or error))
    link = _dead_link(path)
    if link is not None:
        remedy = f"{link} is a link that leads nowhere: remove it, or choose another path"
    return ArtifactError(
        f"{named(path)}: cannot be written: {remedy}, and run the command again; what was written before is intact"
    )


def named(path: Path | str) -> str:
    """Format `path` for a message: a long one shortened in the middle, unprintable characters escaped."""
    text = str(path)
    text = text if len(text) <= _LONG_PATH else f"{text[: _LONG_PATH // 2]}...{text[-_LONG_PATH // 2 :]}"
    return text if text.isprintable() else repr(text)


def _dead_link(path: Path | str) -> str | None:
    """Return the part of `path` that is a link to nothing, or to itself; None where there is none."""
    for part in (Path(path), *Path(path).parents):
        if os.path.lexists(part):
            return named(part) if part.is_symlink() and not part.exists() else None
    return None


def same_place(one: Path | str, other: Path | str) -> bool:
    """Tell whether two paths lead to one place, which need not exist."""
    try:
        return os.path.realpath(one) == os.path.realpath(other)
    except ValueError:  # a NUL: nothing can be there
        return False


def is_disk_error(error: OSError) -> bool:
    """Tell whether an error can only come from writing."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[BinaryIO]:
    """Open a binary file that takes the name `path` only after it is complete and on the disk.

    Unfinished files that killed writes of `path` left are removed.

    Raises:
        ArtifactError: the folder cannot be made or written to, or the disk is full; `path` is as it was.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        _make_folder(path.parent)
        remove_leftovers(path.parent, glob.escape(path.name))
        handle, temporary = _unfinished(path)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            temporary = None
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _unfinished(path: Path) -> tuple[int, Path]:
    """Create a file beside `path`, open and locked, so that no process takes it for a leftover of a kill."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        if _lock(handle) and os.path.lexists(name):  # it may have been swept before it was locked
            return handle, Path(name)
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file or folder until it is closed; False if another process has. True without locks."""
    try:
        import fcntl
    except ImportError:  # not a Unix
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except ValueError:  # a NUL, or a character that the file system's encoding lacks
        raise OSError(errno.EINVAL, "the path has a character that no path can have") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def remove_leftovers(folder: Path, *names: str) -> None:
    """Delete the unfinished files and folders that a kill amid a write of `names` (globs) left in `folder`.

    What a live process is writing is locked, and stays.
    """
    for name in names:
        for path in folder.glob(f".{name}.????????"):
            _remove_unused(path)


def _remove_unused(path: Path) -> None:
    with contextlib.suppress(OSError):  # it has gone meanwhile, or is not ours to remove
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            if not _lock(handle):
                return
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(handle)


def _locked(parent: Path, prefix: str) -> tuple[int, Path]:
    """Make a folder, open and locked."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        with contextlib.suppress(FileNotFoundError):  # it may be swept before it is locked
            handle = os.open(folder, os.O_RDONLY)
            if _lock(handle) and os.path.lexists(folder):
                return handle, folder
            os.close(handle)


@contextlib.contextmanager
def locked_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder in `parent` for the block; no other process removes it while it is in use.

    Raises:
        OSError: it cannot be made.
    """
    handle, folder = _locked(parent, prefix)
    try:
        yield folder
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder for the block; folders that killed processes left are removed.

    Raises:
        ArtifactError: it cannot be made.
    """
    parent = Path(tempfile.gettempdir())
    for path in parent.glob(f"{_SCRATCH}????????"):
        _remove_unused(path)
    try:
        with locked_folder(parent, _SCRATCH) as folder:
            yield folder
    except OSError as error:
        raise write_error(error.filename or parent, error) from error


def open_to_append(path: Path) -> BinaryIO:
    """Open a regular file for reading and appending; it is made where it is missing.

    Raises:
        OSError: it cannot be, or something else than a file stands there.
    """
    if path.exists():
        open_regular(path).close()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666)
    return os.fdopen(handle, "r+b", buffering=0)


def check_writable(folder: Path | str) -> Path:
    """Create `folder` if need be and prove, before long work, that a file can be written in it.

    Raises:
        ArtifactError: it cannot.
    """
    folder = Path(folder)
    try:
        _make_folder(folder)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"ocrslim")
            probe.flush()
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as stream:
        stream.write(text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_file(path) as stream:  # bytes of a file's name that are no UTF-8 become JSON's own escapes
        stream.write(text.encode("utf-8", "backslashreplace"))


def read_json(path: Path | str, made_by: str) -> dict[str, Any]:
    """Read a JSON object written by this project; `made_by` names the command that writes it.

    Raises:
        ArtifactError: the file is missing, no file, too large, truncated or not a JSON object.
    """
    path = Path(path)
    try:
        value = parse_json(read_file(path, MOST_JSON))
    except FileNotFoundError:
        raise ArtifactError(f"{named(path)}: not found: it is written by {made_by}; run that first") from None
    except OSError as error:
        raise ArtifactError(
            f"{named(path)}: cannot be read ({error.strerror}): remove it and run {made_by} again"
        ) from None
    except ValueError as error:
        raise ArtifactError(
            f"{named(path)}: not readable as JSON ({error}): delete it and run {made_by} again"
        ) from None
    if not isinstance(value, dict):
        raise ArtifactError(
            f"{named(path)}: holds a {type(value).__name__}, expected a JSON object: delete it and run {made_by} again"
        )
    return value
