"""The official portraits of members of the US Congress: fetched, checked, aligned, cached.

Public domain, 225 x 275 px, from github.com/Hainish/congress-images-225x275, which took them from
github.com/unitedstates/images. ``congress.csv`` pins every file's SHA-256, split and five landmarks, so that
every machine trains and tests on the same pixels, without a face detector. The landmarks are YuNet's, written
by ``data/congress_landmarks.py``.
"""

from __future__ import annotations

import csv
import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from bfr_lite import alignment
from bfr_lite.download import MissingFileError, cache_dir, check_sha256, data_dir, fetch, write_atomic
from bfr_lite.images import load_image, tensor_to_uint8

COMMIT = "20531e981f99cd8fd42023d3e71000582f2e04c2"
URL = f"https://raw.githubusercontent.com/Hainish/congress-images-225x275/{COMMIT}/images/"
MANIFEST = Path(__file__).with_name("congress.csv")


@dataclass(frozen=True)
class Portrait:
    """One line of the manifest; landmarks: (5, 2) in pixels of the file, as `faces.Face` orders them."""

    file: str
    split: str
    sha256: str
    landmarks: np.ndarray


def portraits(split: str) -> list[Portrait]:
    """The portraits of ``split``: "train" (709), "test" (73) or "all", in the order of their file names."""
    with MANIFEST.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        Portrait(
            row["file"],
            row["split"],
            row["sha256"],
            np.array(row["landmarks"].split(), dtype=np.float64).reshape(5, 2),
        )
        for row in rows
        if split in (row["split"], "all")
    ]


def portrait_folder(wanted: list[Portrait], base_url: str = URL) -> Path:
    """Folder with the files of ``wanted``: in ``BFR_LITE_DATA``, else in the cache, downloaded as needed.

    Raises MissingFileError when files are missing and cannot be fetched; it says what to do.
    """
    root = data_dir()
    if root is not None and (root / "faces" / "congress").is_dir():
        return root / "faces" / "congress"
    folder = cache_dir() / "congress"
    try:
        fetch(base_url, {portrait.file: portrait.sha256 for portrait in wanted}, folder, "portraits")
    except MissingFileError as error:
        raise MissingFileError(
            f"{error}\nThe portraits are needed. Three ways on: (1) run again with a network, {folder} "
            "keeps what has arrived; (2) set BFR_LITE_DATA to a folder that holds faces/congress/<id>.jpg; "
            '(3) use load_faces("synthetic"), which needs no download'
        ) from None
    return folder


def aligned_portraits(split: str, size: int, base_url: str = URL) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Faces (N, 3, size, size) uint8 of ``split``, their landmarks (N, 5, 2) in them, and their names.

    Cached in one file per split and size, which is made anew when the manifest or the alignment changes.
    """
    wanted = portraits(split)
    names = [Path(portrait.file).stem for portrait in wanted]
    key = hashlib.sha256(MANIFEST.read_bytes() + Path(alignment.__file__).read_bytes()).hexdigest()
    path = cache_dir() / "aligned" / f"congress-{split}-{size}.npz"
    cached = _read_cache(path, key)
    if cached is not None:
        return *cached, names
    images, landmarks = _align_all(wanted, portrait_folder(wanted, base_url), size)
    content = io.BytesIO()
    np.savez(content, images=images, landmarks=landmarks, key=key)
    with suppress(OSError):  # a cache that cannot be written costs time, and no faces
        write_atomic(path, content.getvalue())
    return images, landmarks, names


def _read_cache(path: Path, key: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The arrays in ``path``, or None when it is missing, damaged, or made with another key."""
    try:
        with np.load(path) as arrays:
            return (arrays["images"], arrays["landmarks"]) if str(arrays["key"]) == key else None
    except Exception:  # a damaged file can fail anywhere in the reader
        return None


def _align_all(wanted: list[Portrait], folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(wanted), 3, size, size), np.uint8)
    landmarks = np.empty((len(wanted), 5, 2), np.float32)
    for index, portrait in enumerate(tqdm(wanted, desc="aligning portraits", unit="face", disable=None)):
        path = folder / portrait.file
        check_sha256(path, portrait.sha256)
        matrix = alignment.alignment_matrix(portrait.landmarks, size)
        face = alignment.warp(tensor_to_uint8(load_image(path)), matrix, size)
        images[index] = (face * 255).round().numpy()
        landmarks[index] = alignment.transform(portrait.landmarks, matrix)
    return images, landmarks
