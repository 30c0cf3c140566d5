"""Files that are either whole or not there."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segjax.errors import SegjaxError


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Gives a path to write to beside `path`, and renames it to `path` when the block succeeds.

    The suffix is kept, since writers choose their format by it. Whatever ends the block early
    removes the half-written file and leaves an older `path` as it was.

    Raises:
      SegjaxError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
    except OSError as error:
        raise SegjaxError(cannot_write(path, error)) from error
    beside = Path(name)
    try:
        # mkstemp makes files private; an output gets the mode that any new file would get.
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o666 & ~umask)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise SegjaxError(cannot_write(path, error)) from error
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """Like `replacing`, for a whole folder: files already in `path` stay unless written again."""
    path = Path(path)
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise SegjaxError(cannot_write(path, error)) from error
    try:
        yield beside
        path.mkdir(exist_ok=True)
        for file in sorted(beside.rglob("*")):
            if file.is_file():
                target = path / file.relative_to(beside)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
    except OSError as error:
        raise SegjaxError(cannot_write(path, error)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def cannot_write(path: Path | str, error: OSError) -> str:
    """The line a user reads when an output fails."""
    reason = error.strerror or str(error)
    return f"cannot write {path}: {reason}; choose an output on a writable disk with free space"


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=2) + "\n")
