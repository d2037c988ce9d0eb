"""Sets of faces, all used alike: samples of the shipped prior, official portraits, a folder of pictures."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from glob import glob
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bfr_lite.alignment import FaceError, align, estimate_yaw
from bfr_lite.archives import Archive, TarArchive, ZipArchive
from bfr_lite.checkpoints import load_generator
from bfr_lite.congress import aligned_portraits
from bfr_lite.faces import FaceDetector
from bfr_lite.files import PICTURE_SUFFIXES
from bfr_lite.images import decoded, load_image, pil_to_tensor, resize, tensor_to_uint8
from bfr_lite.stylegan2 import Generator

KINDS = ("synthetic", "congress", "folder")
SPLITS = ("train", "test")
ARCHIVES = "a .zip, a .tar or a pattern such as shards/*.tar (unpack a .tar.gz)"


class DataError(ValueError):
    """Faces that cannot be had as asked for; the message says what was given and what would work."""


class FaceDataset(Dataset[Tensor], ABC):
    """Faces, each (3, size, size) float32 RGB in [0, 1].

    origin: where they come from, for a weight's card. names: N strings. size: in pixels. landmarks: (N, 5, 2) in
    pixels of these faces, in the order of `faces.Face`, or None where unknown. yaw: (N,) in degrees as
    `alignment.estimate_yaw` has it, or None.
    """

    landmarks: Tensor | None = None
    yaw: Tensor | None = None

    def __init__(self, origin: str, names: Sequence[str], size: int):
        self.origin = origin
        self.names = list(names)
        self.size = size

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        return self.batch([index])[0]

    def batch(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Faces (B, 3, size, size) at ``indices`` (B,), negative ones counting from the end.

        Raises IndexError for an index outside the set.
        """
        numbers = torch.as_tensor(indices, dtype=torch.int64)
        if not len(numbers):
            return torch.zeros(0, 3, self.size, self.size)
        if ((numbers < -len(self)) | (numbers >= len(self))).any():
            raise IndexError(f"index out of range: got {numbers.tolist()}, the set holds {len(self)} faces")
        return self._faces(numbers % len(self))

    @abstractmethod
    def _faces(self, numbers: Tensor) -> Tensor:
        """Faces (B, 3, size, size) at ``numbers`` (B,), all in [0, N)."""


class StoredFaces(FaceDataset):
    """Faces held in memory; ``images_uint8``: (N, 3, size, size)."""

    def __init__(self, origin: str, images_uint8: Tensor, names: Sequence[str], landmarks: Tensor):
        super().__init__(origin, names, images_uint8.shape[-1])
        self.images_uint8 = images_uint8
        self.landmarks = landmarks
        self.yaw = torch.from_numpy(estimate_yaw(landmarks.numpy())).float()

    def _faces(self, numbers: Tensor) -> Tensor:
        return self.images_uint8[numbers].float() / 255


class SyntheticFaces(FaceDataset):
    """Samples of a prior, drawn when asked for.

    Face i of a seed and split is the same whatever the count and the batch it is drawn in, but for rounding
    in the last bits. truncation: in [0, 1], how far the codes may lie from the mean; the lower, the more
    alike and the more ordinary the faces (StyleGAN, Karras et al., CVPR 2019, appendix B).
    """

    def __init__(self, generator: Generator, count: int, size: int, seed: int, split: str, truncation: float):
        names = [f"{split}-{seed}-{index:06d}" for index in range(count)]
        super().__init__(f"samples of a prior, {split} split, seed {seed}", names, size)
        if generator.size < size:
            raise DataError(f"size is {size}, but this prior draws {generator.size} px: ask for that or less")
        self.generator = generator.eval().requires_grad_(False)
        self.truncation = truncation
        self._stream = (seed, SPLITS.index(split))

    @torch.no_grad()
    def _faces(self, numbers: Tensor) -> Tensor:
        z = torch.stack([self._z(number) for number in numbers.tolist()])
        ws = self.generator.map(z, truncation=self.truncation)
        return resize(self.generator(ws).clamp(0, 1), self.size)

    def _z(self, number: int) -> Tensor:
        # torch's CPU generator keeps 32 bits of a seed; the hash spreads seed, split and number over them.
        (seed,) = np.random.SeedSequence((*self._stream, number)).generate_state(1)
        return torch.randn(self.generator.z_dim, generator=torch.Generator().manual_seed(int(seed)))


class FolderFaces(FaceDataset):
    """Picture files, read when asked for; the names are their paths within the folder.

    align: find the largest face and bring it into the FFHQ position; else the pictures are faces already, and
    are cropped to the central square and resized. Raises ImageError for a file that is no picture, FaceError
    for a picture without a face; both name the file.
    """

    def __init__(self, folder: Path, files: Sequence[Path], size: int, align: bool):
        super().__init__(f"folder {folder.name}", [file.relative_to(folder).as_posix() for file in files], size)
        self.files = list(files)
        self._detector = FaceDetector() if align else None

    def _faces(self, numbers: Tensor) -> Tensor:
        return torch.stack([self._face(self.files[number]) for number in numbers.tolist()])

    def _face(self, file: Path) -> Tensor:
        image = load_image(file)
        if self._detector is None:
            return _square(image, self.size)
        picture = tensor_to_uint8(image)
        found = self._detector.detect(picture)
        if not found:
            raise FaceError(f"no face found in {file}: remove it, or give align=False if it is one already")
        return align(picture, found[0].landmarks, self.size)


class ArchiveFaces(FaceDataset):
    """Pictures of faces inside a zip file or tar files, read when asked for, cropped and resized.

    Raises ArchiveError for a damaged archive, ImageError for a file that is no picture; both name the file.
    """

    def __init__(self, path: Path, archive: Archive, count: int | None, size: int):
        super().__init__(f"archive {path.name}", archive.names[:count], size)
        self.path, self.archive = path, archive

    def _faces(self, numbers: Tensor) -> Tensor:
        return torch.stack([self._face(number) for number in numbers.tolist()])

    def _face(self, number: int) -> Tensor:
        with decoded(self.archive.read(number), f"{self.names[number]} in {self.path}") as picture:
            return _square(pil_to_tensor(picture), self.size)


def _square(image: Tensor, size: int) -> Tensor:
    """The central square of ``image`` (3, H, W), resized to (3, size, size)."""
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(image[None, :, top : top + side, left : left + side], size)[0]


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
