"""Sets of faces, all used alike: samples of the shipped prior, official portraits, a folder of pictures."""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path

import torch

from bfr_lite.archives import TarArchive, ZipArchive
from bfr_lite.checkpoints import load_generator
from bfr_lite.congress import aligned_portraits
from bfr_lite.face_sets import SPLITS, ArchiveFaces, DataError, FaceDataset, FolderFaces, StoredFaces, SyntheticFaces
from bfr_lite.files import PICTURE_SUFFIXES

KINDS = ("synthetic", "congress", "folder")
ARCHIVES = "a .zip, a .tar or a pattern such as shards/*.tar (unpack a .tar.gz)"


def load_faces(
    kind: str = "synthetic",
    path: str | os.PathLike | None = None,
    *,
    split: str | None = None,
    size: int = 128,
    count: int | None = None,
    seed: int = 0,
    truncation: float = 0.7,
    align: bool = False,
) -> FaceDataset:
    """Load a set of faces.

    Args:
        kind: "synthetic", samples of a prior, always there and no one's face; "congress", 782 official
            portraits in the public domain, from ``BFR_LITE_DATA`` or downloaded once (39 MB) and cached;
            "folder", the pictures in a folder and its subfolders, sorted, or in a zip or tar file, never unpacked.
        path: for "folder", of the folder or archive, or a pattern of tar files such as "shards/*.tar";
            for "synthetic", of the prior's weights, or their name (by default "lite"); not for "congress".
        split: "train" (the default) or "test", for "congress" also "all"; not for "folder".
        size: height and width of the faces, in pixels.
        count: how many faces, the first ones; by default 1000 for "synthetic", else all.
        seed: of "synthetic".
        truncation: of "synthetic", in [0, 1].
        align: for "folder": bring every face into the FFHQ position; by default it is taken to be there.

    Raises:
        DataError: for arguments that do not fit together, an empty folder, or more faces than there are.
        ArchiveError: for a damaged zip or tar file.
        FileNotFoundError, WeightsError: for a prior that is not there, or none.
        MissingFileError: for files that are missing and cannot be downloaded.
        DamagedFileError: for a portrait whose SHA-256 is not the one pinned.
    """
    if kind not in KINDS:
        raise DataError(f"kind is {kind!r}; it can be one of {', '.join(KINDS)}")
    if size < 8 or (count is not None and count < 1):
        raise DataError(f"size is {size} and count {count}; size must be 8 or more, count 1 or more")
    if seed < 0 or not 0 <= truncation <= 1:
        raise DataError(f"seed is {seed} and truncation {truncation}; seed must be 0 or more, truncation 0 to 1")
    shards = _shards(path) if kind == "folder" else []
    if shards:
        return _archive(Path(path), shards, split, size, count, align)
    if kind == "folder":
        return _folder(path, split, size, count, align)
    if align:
        raise DataError('align is for "folder": faces of the other kinds are aligned already')
    allowed = SPLITS if kind == "synthetic" else (*SPLITS, "all")
    split = split or "train"
    if split not in allowed:
        raise DataError(f"split is {split!r}; for {kind!r} it can be one of {', '.join(allowed)}")
    if kind == "congress":
        if path is not None:
            raise DataError('"congress" takes no path: BFR_LITE_DATA names the folder of portraits')
        return _congress(split, size, count)
    return SyntheticFaces(load_generator(path or "lite"), count or 1000, size, seed, split, truncation)


def _congress(split: str, size: int, count: int | None) -> StoredFaces:
    images, landmarks, names = aligned_portraits(split, size)
    _check_count(count, len(names), f"the {split} split")
    pictures, points = torch.from_numpy(images[:count]), torch.from_numpy(landmarks[:count])
    return StoredFaces(f"congress, {split} split", pictures, names[:count], points)


def _shards(path: str | os.PathLike | None) -> list[Path]:
    """The archives that ``path`` means: a zip or tar file, or a pattern of tar files such as shards/*.tar."""
    if path is None or Path(path).suffix.lower() not in (".zip", ".tar") or Path(path).is_dir():
        return []
    if Path(path).is_file():
        return [Path(path)]
    return [Path(found) for found in sorted(glob(str(path)))] if Path(path).suffix.lower() == ".tar" else []


def _archive(
    path: Path, shards: list[Path], split: str | None, size: int, count: int | None, align: bool
) -> ArchiveFaces:
    if split is not None or align:
        raise DataError(f"{path} is an archive: it has no split, and its faces have to be aligned already")
    archive = (
        ZipArchive(path, PICTURE_SUFFIXES) if path.suffix.lower() == ".zip" else TarArchive(shards, PICTURE_SUFFIXES)
    )
    _check_count(count, len(archive.names), str(path))
    return ArchiveFaces(path, archive, count, size)


def _folder(
    path: str | os.PathLike | None, split: str | None, size: int, count: int | None, align: bool
) -> FolderFaces:
    if path is None or not Path(path).is_dir():
        raise DataError(f'"folder" needs the path of a folder, {ARCHIVES}; got {path!r}')
    if split is not None:
        raise DataError(f"a folder has no split {split!r}: give the path of the subfolder you want")
    folder = Path(path)
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in PICTURE_SUFFIXES and not _hidden(file.relative_to(folder)) and file.is_file()
    )
    if not files:
        raise DataError(f"no pictures in {folder}: looked for {', '.join(PICTURE_SUFFIXES)}")
    _check_count(count, len(files), str(folder))
    return FolderFaces(folder, files[:count], size, align)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)  # of an editor or a desktop, such as .ipynb_checkpoints


def _check_count(count: int | None, available: int, where: str) -> None:
    if count is not None and count > available:
        raise DataError(f"count is {count}, but {where} holds {available} faces")
