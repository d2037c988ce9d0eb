"""Pictures inside zip and tar files, read where they lie: nothing is ever extracted, a name is only a label."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

MAX_BYTES = 64 * 2**20  # of one picture file, unpacked; a 1024 px PNG of FFHQ has under 2 MiB


class ArchiveError(ValueError):
    """An archive that cannot be used; the message names the file."""


class Archive(ABC):
    """Picture files of an archive. names: their names, sorted; a file is read by its place among them."""

    names: list[str]

    @abstractmethod
    def read(self, number: int) -> io.BytesIO:
        """The bytes of file ``number``. Raises ArchiveError where the archive is damaged there."""


class ZipArchive(Archive):
    """A zip file. Every process opens it for itself: a handle has one position. Threads take turns in `zipfile`."""

    def __init__(self, path: Path, suffixes: Sequence[str]):
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        found = [info for info in self._zip().infolist() if _is_picture(info.filename, suffixes)]
        self.names = sorted(info.filename for info in found if not info.is_dir())
        _check_names(self.names, path)

    def read(self, number: int) -> io.BytesIO:
        name = self.names[number]
        archive = self._zip()
        _check_size(archive.getinfo(name).file_size, name, self.path)
        try:
            return io.BytesIO(archive.read(name))  # never more than the size declared
        except Exception as error:  # bad CRC, broken stream, password, unknown method
            raise ArchiveError(f"cannot read {name} in {self.path} ({error}): copy the archive anew") from error

    def _zip(self) -> zipfile.ZipFile:
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.path)
            except OSError:  # it is not there, or not ours to read
                raise
            except Exception as error:  # a damaged one also raises UnicodeDecodeError, among others
                raise ArchiveError(f"cannot read {self.path} as a zip file ({error}): copy it anew") from error
        return self._opened[1]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_opened": None}


class TarArchive(Archive):
    """Plain tar files, such as WebDataset's shards, by an index of where each picture begins, built once.

    WebDataset's own reader streams; training needs any picture by its number, to go on where it stopped.
    """

    def __init__(self, shards: Sequence[Path], suffixes: Sequence[str]):
        self._places = sorted(place for shard in shards for place in _index(shard, suffixes))
        self.names = [f"{shard.name}/{name}" for shard, name, _, _ in self._places]
        if not self.names:
            raise ArchiveError(f"no pictures in {', '.join(map(str, shards))}: looked for {', '.join(suffixes)}")

    def read(self, number: int) -> io.BytesIO:
        shard, name, offset, size = self._places[number]
        _check_size(size, name, shard)
        with shard.open("rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size))


def _index(shard: Path, suffixes: Sequence[str]) -> list[tuple[Path, str, int, int]]:
    try:
        with tarfile.open(shard, "r:") as tar:
            members = [m for m in tar if m.isreg() and not m.issparse() and _is_picture(m.name, suffixes)]
            tar.fileobj.seek(tar.offset)  # tarfile takes a damaged header for the end, which is a block of zeros
            whole = tar.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except tarfile.TarError as error:
        raise ArchiveError(f"cannot read {shard} as a plain tar file ({error}): unpack .tar.gz, or copy it") from error
    if not whole or any(m.offset_data + m.size > shard.stat().st_size for m in members):
        raise ArchiveError(f"{shard} is cut short or damaged: copy it anew")
    return [(shard, m.name, m.offset_data, m.size) for m in members]


def _is_picture(name: str, suffixes: Sequence[str]) -> bool:
    base = name.rsplit("/", 1)[-1]
    return base.lower().endswith(tuple(suffixes)) and not base.startswith(".")


def _check_names(names: Sequence[str], path: Path) -> None:
    if not names:
        raise ArchiveError(f"no pictures in {path}")
    if len(set(names)) < len(names):
        raise ArchiveError(f"{path} holds two files of one name")


def _check_size(size: int, name: str, path: Path) -> None:
    if size > MAX_BYTES:
        raise ArchiveError(f"{name} in {path} unpacks to {size} bytes; a picture may have {MAX_BYTES}")
