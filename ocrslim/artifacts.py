"""Files that hand one stage's result to the next: written whole or not at all, read without trust."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ocrslim.errors import ArtifactError
from ocrslim.formats.safe_pickle import read_pickle
from ocrslim.utils.input_files import MIB

Sensitivities = dict[str, dict[float, float]]

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
    return ArtifactError(
        f"{path}: cannot be written: {remedy}, and run the command again; what was written before is intact"
    )


def is_disk_error(error: OSError) -> bool:
    """Whether it can only come from writing."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[BinaryIO]:
    """Open a binary file that takes the name `path` only after it is complete and on the disk.

    Raises:
        ArtifactError: the folder cannot be made or written to, or the disk is full; `path` is as it was.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def remove_leftovers(folder: Path, *names: str) -> None:
    """Delete the unfinished files and folders that a kill amid a write of `names` (globs) left in `folder`."""
    for name in names:
        for path in folder.glob(f".{name}.????????"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def check_writable(folder: Path | str) -> Path:
    """Create `folder` if need be and prove, before long work, that a file can be written in it.

    Raises:
        ArtifactError: it cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
        ArtifactError: the file is missing, truncated or not a JSON object.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not found: it is written by {made_by}; run that first") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: not readable as JSON ({error}): delete it and run {made_by} again") from None
    if not isinstance(value, dict):
        raise ArtifactError(
            f"{path}: holds a {type(value).__name__}, expected a JSON object: delete it and run {made_by} again"
        )
    return value


def hash_bytes(*parts: bytes) -> str:
    """SHA-256 over `parts`, each with its length in front so that their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON-like value, independent of the order of keys."""
    return hash_bytes(json.dumps(value, sort_keys=True, default=str).encode("utf-8"))


def hash_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of named arrays: names, shapes, types and every bit; independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_sensitivities(path: Path | str, table: Sensitivities) -> None:
    """Write `{name: {ratio: loss}}` as PaddleSlim reads it, with plain `str` and `float` only."""
    plain = {str(k): {float(r): float(v) for r, v in losses.items()} for k, losses in table.items()}
    with atomic_file(path) as stream:
        pickle.dump(plain, stream, protocol=2)


def read_sensitivities(path: Path | str) -> Sensitivities:
    """Read a `sen.pickle` without executing anything in it.

    Raises:
        ArtifactError: missing, truncated, or holding anything but strings and finite numbers.
    """
    path = Path(path)
    remedy = "delete it and run sensitivity_anal.py again"
    try:
        table = read_pickle(path, most=64 * MIB, arrays=False)
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: not found: run sensitivity_anal.py with the same configuration first, "
            "or name the file with -o Prune.sen_file=PATH"
        ) from None
    except OSError as problem:
        raise ArtifactError(
            f"{path}: cannot be read ({problem.strerror}), expected a file: name it with -o Prune.sen_file=PATH"
        ) from None
    except pickle.UnpicklingError as problem:
        raise ArtifactError(
            f"{path}: not a sensitivity table: {problem}; expected {{name: {{ratio: loss}}}} "
            f"of strings and numbers: {remedy}"
        ) from None
    fault = _table_fault(table)
    if fault:
        raise ArtifactError(f"{path}: not a sensitivity table: {fault}: {remedy}")
    return {name: {float(r): float(v) for r, v in losses.items()} for name, losses in table.items()}


def _table_fault(table: Any) -> str | None:
    if not isinstance(table, dict):
        return f"it holds a {type(table).__name__}, expected a dictionary"
    for name, losses in table.items():
        if not isinstance(name, str) or not isinstance(losses, dict):
            return f"entry {name!r} is not a layer with its losses"
        for ratio, loss in losses.items():
            if not _is_number(ratio) or not 0 < ratio < 1:
                return f"{name}: ratio {str(ratio)[:40]!r} is not a number between 0 and 1"
            if not _is_number(loss):
                return f"{name}: loss {str(loss)[:40]!r} at ratio {ratio} is not a finite number"
    return None


def _is_number(value: Any) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False
