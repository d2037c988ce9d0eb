"""Files that live outside the package: where they are looked for, how they are fetched and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pooch
from tqdm.auto import tqdm

from bfr_lite.files import atomic_path

YUNET_NAME = "face_detection_yunet_2026may.onnx"
YUNET_URL = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"

RETRIES = 2
WORKERS = 8  # portraits are small: the time goes into waiting for the server, not into bandwidth


class MissingFileError(FileNotFoundError):
    """A file is neither here nor could it be fetched; the message names the ways to get it."""


class DamagedFileError(ValueError):
    """A file is here but does not have the SHA-256 pinned by the package."""


def cache_dir() -> Path:
    """Folder for downloads and aligned faces: ``BFR_LITE_CACHE``, else pooch's folder for this user."""
    chosen = os.environ.get("BFR_LITE_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else Path(pooch.os_cache("bfr_lite"))
    except RuntimeError as error:  # a user without a home
        raise MissingFileError(f"no folder for a cache ({error}): let BFR_LITE_CACHE name one") from None


def data_dir() -> Path | None:
    """Folder named by ``BFR_LITE_DATA`` (it holds ``faces/`` and ``models/``), or None when that is unset.

    Raises MissingFileError when it names something that is not a folder.
    """
    chosen = os.environ.get("BFR_LITE_DATA")
    if not chosen:
        return None
    folder = Path(os.path.expanduser(chosen))
    if not folder.is_dir():
        raise MissingFileError(f"BFR_LITE_DATA is {chosen!r}, which is not a folder: correct it or unset it")
    return folder


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:  # of another user, who is just fetching it
        raise MissingFileError(f"cannot read {path}: {error}") from None


def check_sha256(path: Path, sha256: str) -> None:
    """Raise MissingFileError if ``path`` is missing, DamagedFileError if its SHA-256 is not ``sha256``."""
    if not path.is_file():
        raise MissingFileError(f"{path} is missing")
    found = _sha256(path)
    if found != sha256:
        raise DamagedFileError(
            f"{path} is damaged or another version: SHA-256 {found}, not {sha256}. Replace or delete it"
        )


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees the whole file or none; makes parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def fetch(base_url: str, sha256: Mapping[str, str], folder: Path, what: str) -> None:
    """Download ``base_url + name`` for every name in ``sha256`` into ``folder``, unless it is there already.

    Files arrive under a temporary name and are moved into place only once their SHA-256 is right, so a cut
    connection leaves nothing half-written. It is tried again, and a later call goes on where this one
    stopped. Raises MissingFileError with the reason when a file cannot be had.
    """
    paths = {name: folder / name for name in sha256}
    wanted = [name for name, path in paths.items() if not path.is_file() or _sha256(path) != sha256[name]]
    if not wanted:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingFileError(f"cannot keep {what} in {folder}: {error}") from None
    store = pooch.create(folder, base_url, registry=dict(sha256), retry_if_failed=RETRIES)

    def one(name: str) -> None:
        try:
            fetched = store.fetch(name)
            with suppress(PermissionError):  # another user was quicker
                os.chmod(fetched, 0o644)  # pooch leaves 0600, too strict for a cache that a group shares
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
            raise MissingFileError(f"could not fetch {base_url}{name}: {error}") from None

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # pooch would announce every one of hundreds of files
    pool = ThreadPoolExecutor(WORKERS)
    try:
        list(tqdm(pool.map(one, wanted), total=len(wanted), desc=f"fetching {what}", unit="file", disable=None))
    finally:
        pool.shutdown(cancel_futures=True)
        logger.setLevel(level)


def yunet_path() -> Path:
    """Path of the YuNet face detector: in ``BFR_LITE_DATA``, else in the cache, downloaded as needed.

    Raises MissingFileError, naming the ways to get it, if there is none; DamagedFileError if it is another.
    """
    root = data_dir()
    if root is not None and (root / "models" / YUNET_NAME).is_file():
        check_sha256(root / "models" / YUNET_NAME, YUNET_SHA256)
        return root / "models" / YUNET_NAME
    folder = cache_dir() / "models"
    try:
        fetch(YUNET_URL, {YUNET_NAME: YUNET_SHA256}, folder, "the face detector")
    except MissingFileError as error:
        raise MissingFileError(
            f"{error}\nThe face detector YuNet is needed. Three ways: (1) run again with a network, {folder} "
            f"keeps it; (2) set BFR_LITE_DATA to a folder that holds models/{YUNET_NAME}; "
            f"(3) download {YUNET_URL}{YUNET_NAME} yourself and give its path: FaceDetector('<path>')"
        ) from None
    return folder / YUNET_NAME
