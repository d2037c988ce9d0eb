"""Files written whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.bfr-lite")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and goes away when it does not."""
    temporary = path.with_name(f".{path.name[:20]}.{secrets.token_hex(4)}.bfr-lite")
    try:
        yield temporary
        with temporary.open("r+b") as written:  # Windows syncs no file that is open for reading alone
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold `folder` as the only process that writes there; the hold ends with the block, or with the process.

    Raises `ValueError` where another holds it.
    """
    path = folder / ".lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another run writes to {folder}: stop it, or name another folder") from None
    except OSError as error:  # some network file systems know no locks
        warnings.warn(f"{folder} cannot be kept from other runs ({error})", stacklevel=3)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink()
        lock.release()


def discard_leftovers(folder: Path) -> None:
    """Remove the temporary files that writers who were killed left in `folder`, where nobody may be writing now."""
    for path in folder.glob(".*"):
        if _LEFTOVER.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
