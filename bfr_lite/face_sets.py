"""Kinds of sets of faces, all used alike: held in memory, drawn by a prior, read from files; see `data.load_faces`."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bfr_lite.alignment import FaceError, alignment_matrix, estimate_yaw, warp
from bfr_lite.archives import Archive, ArchiveError
from bfr_lite.faces import FaceDetector
from bfr_lite.images import ImageError, decoded, load_image, pil_to_tensor, resize, tensor_to_uint8
from bfr_lite.stylegan2 import Generator

SPLITS = ("train", "test")
UNREADABLE = (ImageError, ArchiveError, FaceError)  # what a face that cannot be had may raise
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
READERS = min(8, CORES)  # threads that read the files of a batch


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
        numbers = self._numbers(indices)
        return self._faces(numbers) if len(numbers) else torch.zeros(0, 3, self.size, self.size)

    def expect(self, indices: Sequence[int] | Tensor) -> None:
        """Begin in the background what ``batch`` will need for these, where that takes long."""

    def _numbers(self, indices: Sequence[int] | Tensor) -> Tensor:
        numbers = torch.as_tensor(indices, dtype=torch.int64)
        if ((numbers < -len(self)) | (numbers >= len(self))).any():
            raise IndexError(f"index out of range: got {numbers.tolist()}, the set holds {len(self)} faces")
        return numbers % len(self)

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


class FileFaces(FaceDataset):
    """Faces in files, read when asked for: those of a batch at once, and those that are `expect`ed beforehand.

    Decoding a picture of 1024 px takes a core tens of milliseconds, for which a GPU would wait. readers: threads.
    """

    def __init__(self, origin: str, names: Sequence[str], size: int, readers: int = READERS):
        super().__init__(origin, names, size)
        self.readers = readers
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._expected: dict[int, Future[Tensor]] = {}
        self._warned = False

    def expect(self, indices: Sequence[int] | Tensor) -> None:
        pool = self._threads()
        missing = set(self._numbers(indices).tolist()) - self._expected.keys()
        self._expected |= {number: pool.submit(self._face, number) for number in missing}

    def _faces(self, numbers: Tensor) -> Tensor:
        self.expect(numbers)
        coming = {number: self._expected.pop(number) for number in set(numbers.tolist())}
        try:
            return torch.stack([coming[number].result() for number in numbers.tolist()])
        except OSError as error:  # a file that was there when the names were read
            raise ImageError(f"a face of {self.origin} cannot be read any more: {error}") from error
        finally:  # after Ctrl-C or a bad file nobody waits for the others
            for face in coming.values():
                face.cancel()

    @abstractmethod
    def _face(self, number: int) -> Tensor:
        """The face (3, size, size) at ``number``; several threads ask at once."""

    def _square(self, image: Tensor, name: object) -> Tensor:
        """The central square of ``image`` (3, H, W), resized to (3, size, size)."""
        height, width = image.shape[1:]
        side = min(height, width)
        self._check_size(side, name)
        top, left = (height - side) // 2, (width - side) // 2
        return resize(image[None, :, top : top + side, left : left + side], self.size)[0]

    def _check_size(self, side: float, name: object) -> None:
        """Warn of the first face that has to be enlarged: a network would learn its blur as the truth."""
        if side < self.size and not self._warned:
            self._warned = True
            warnings.warn(
                f"{name} has a face of {side:.0f} px, enlarged to {self.size}: its blur counts as clean", stacklevel=2
            )

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool[0] != os.getpid():  # threads do not follow into a process's copy
            # One core for each: else every reader would ask all cores for help. What this thread has is kept by asking.
            torch.get_num_threads()
            pool = ThreadPoolExecutor(self.readers, initializer=torch.set_num_threads, initargs=(1,))
            self._pool, self._expected = (os.getpid(), pool), {}
        return self._pool[1]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_pool": None, "_expected": {}}


class FolderFaces(FileFaces):
    """Picture files in a folder; the names are their paths within it.

    align: find the largest face and bring it into the FFHQ position; else the pictures are faces already, and
    are cropped to the central square and resized. Raises ImageError for a file that is no picture, FaceError
    for a picture without a face; both name the file.
    """

    def __init__(self, folder: Path, files: Sequence[Path], size: int, align: bool):
        names = [file.relative_to(folder).as_posix() for file in files]
        super().__init__(f"folder {folder.name}", names, size, readers=1 if align else READERS)  # one detector
        self.files = list(files)
        self._detector = FaceDetector() if align else None

    def _face(self, number: int) -> Tensor:
        file = self.files[number]
        image = load_image(file)
        if self._detector is None:
            return self._square(image, file)
        picture = tensor_to_uint8(image)
        found = self._detector.detect(picture)
        if not found:
            raise FaceError(f"no face found in {file}: remove it, or give align=False if it is one already")
        matrix = alignment_matrix(found[0].landmarks, self.size)
        self._check_size(self.size / np.hypot(*matrix[:, 0]), file)
        return warp(picture, matrix, self.size)


class ArchiveFaces(FileFaces):
    """Pictures of faces inside a zip file or tar files, cropped and resized.

    Raises ArchiveError for a damaged archive, ImageError for a file that is no picture; both name the file.
    """

    def __init__(self, path: Path, archive: Archive, count: int | None, size: int):
        super().__init__(f"archive {path.name}", archive.names[:count], size)
        self.path, self.archive = path, archive

    def _face(self, number: int) -> Tensor:
        with decoded(self.archive.read(number), f"{self.names[number]} in {self.path}") as picture:
            return self._square(pil_to_tensor(picture), self.names[number])
