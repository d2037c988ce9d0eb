"""Is everything here that the package and the notebooks need? A `Check` for each thing, no downloads."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from bfr_lite import download
from bfr_lite.lpips_import import backbone, import_lpips

OK = "OK"
FAIL = "FAIL"  # something needed is missing or damaged
ABSENT = "ABSENT"  # something optional is not here; all else works

WEIGHTS = ("prior-lite", "discriminator-lite", "restorer-lite", "landmarks-lite", "aligner-lite")
WEIGHTS += ("prior-tiny", "discriminator-tiny")
MEMORY_GB = 3.0  # what a notebook may use

_MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL", "scikit-image": "skimage"}
_REINSTALL = "run `make venv`, or pip install -c constraints.txt -e '.[dev]'"
_RESTORE_FILE = "take it again from the repository (git checkout -- bfr_lite/weights)"


@dataclass(frozen=True)
class Check:
    """What was looked at, how it is (`OK`, `FAIL` or `ABSENT`), and what was seen or what would help."""

    name: str
    status: str
    detail: str


def examine() -> Iterator[Check]:
    """Every check in turn: Python, packages, machine, weights, data. Never raises for a check that fails."""
    yield check_python()
    torch_works = False
    for check in check_packages():
        torch_works = torch_works or (check.name == "torch" and check.status == OK)
        yield check
    if torch_works:
        yield from check_processors()
    yield check_memory()
    for name in WEIGHTS:
        yield _done(name, partial(check_weights, name, Path(__file__).parent / "weights"))
    yield _done("data folder", check_data_folder)
    yield _done("portraits", check_portraits)
    yield _done("face detector", check_detector)
    if torch_works:
        yield _done("LPIPS backbone", check_lpips_backbone)


def _done(name: str, check: Callable[[], Check]) -> Check:
    """What a check finds, or that it could not look: a file that may not be read, a user without a home."""
    try:
        return check()
    except Exception as error:
        return Check(name, FAIL, f"could not be checked: {error}")


def check_python() -> Check:
    """Python is 3.11 or later."""
    status = OK if sys.version_info >= (3, 11) else FAIL
    return Check("python", status, f"{platform.python_version()} (3.11 or later is needed), {sys.executable}")


def check_packages() -> Iterator[Check]:
    """Each dependency is installed, in the range pyproject.toml gives, and can be imported."""
    try:
        requirements = [Requirement(line) for line in metadata.requires("bfr-lite") or []]
    except metadata.PackageNotFoundError:
        yield Check("bfr-lite", FAIL, f"not installed in this Python: {_REINSTALL}")
        return
    for requirement in requirements:
        if requirement.name != "bfr-lite":
            yield check_package(requirement)


def check_package(requirement: Requirement) -> Check:
    """One dependency; those of an extra, such as ``notebooks``, may be absent and are not imported."""
    name, needed = requirement.name, requirement.specifier
    try:
        version = metadata.version(name)
        if not needed.contains(version, prereleases=True):
            status = FAIL if requirement.marker is None else ABSENT  # of an extra, nothing is needed
            return Check(name, status, f"{version}, but {needed} is needed: {_REINSTALL}")
        if requirement.marker is None:
            _import(name)
    except metadata.PackageNotFoundError:
        if requirement.marker is None:
            return Check(name, FAIL, f"not installed: {_REINSTALL}")
        extra = str(requirement.marker).split('"')[1]  # extra == "notebooks"
        return Check(name, ABSENT, f"for the extra {extra} alone: pip install -c constraints.txt -e '.[{extra}]'")
    except Exception as error:  # a package that is broken can raise anything while it is imported
        return Check(name, FAIL, f"{version} cannot be imported ({error!r}): {_REINSTALL}")
    return Check(name, OK, version)


def _import(name: str) -> None:
    if name in ("lpips", "torchvision"):  # torchvision is here for lpips alone
        import_lpips()
    else:
        import_module(_MODULES.get(name, name.replace("-", "_")))


def check_processors() -> Iterator[Check]:
    """CPU and accelerator, as PyTorch sees them."""
    import torch

    yield Check("cpu", OK, f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.machine()}")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        detail = f"{torch.cuda.device_count()} x {properties.name}, {_gb(properties.total_memory)}"
        yield Check("gpu", OK, detail)
    elif torch.backends.mps.is_available():
        yield Check("gpu", OK, "Apple (mps)")
    else:
        yield Check("gpu", ABSENT, "none that this PyTorch can use; only training at full size needs one")


def check_memory() -> Check:
    """The machine has the memory a notebook may use."""
    memory = psutil.virtual_memory()
    detail = f"{_gb(memory.total)}, {_gb(memory.available)} free; a notebook uses up to {MEMORY_GB:.0f} GB"
    return Check("memory", OK if memory.total >= MEMORY_GB * 1e9 else FAIL, detail)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def check_weights(name: str, folder: Path) -> Check:
    """The shipped weights ``folder/name.safetensors`` have the SHA-256 that the card beside them gives."""
    path = folder / f"{name}.safetensors"
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            return Check(name, FAIL, f"{file} is missing: {_RESTORE_FILE}")
    try:
        download.check_sha256(path, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"])
    except (KeyError, TypeError):
        return Check(name, FAIL, f"the card of {path} gives no SHA-256: {_RESTORE_FILE}")
    except ValueError as error:
        return Check(name, FAIL, f"{error}; {_RESTORE_FILE}")
    return Check(name, OK, f"{path.stat().st_size / 1e6:.1f} MB, SHA-256 as on its card")


def check_data_folder() -> Check:
    """``BFR_LITE_DATA``, where set, names a folder."""
    try:
        folder = download.data_dir()
    except download.MissingFileError as error:
        return Check("data folder", FAIL, str(error))
    if folder is None:
        return Check("data folder", ABSENT, f"BFR_LITE_DATA is not set: {download.cache_dir()} is used")
    return Check("data folder", OK, f"BFR_LITE_DATA is {folder}")


def check_portraits() -> Check:
    """All portraits of ``load_faces("congress")`` are where it takes them from: in the data folder, or the cache."""
    from bfr_lite.congress import portraits

    folder = next((folder for folder in _data_folders("faces/congress", "congress") if folder.is_dir()), None)
    if folder is None:
        return Check("portraits", ABSENT, 'load_faces("congress") fetches them; synthetic faces need none')
    wanted = portraits("all")
    count = sum((folder / portrait.file).is_file() for portrait in wanted)
    return Check("portraits", OK if count == len(wanted) else ABSENT, f"{count} of {len(wanted)} in {folder}")


def check_detector() -> Check:
    """The YuNet face detector is in the data folder or the cache."""
    for folder in _data_folders("models", "models"):
        path = folder / download.YUNET_NAME
        if path.is_file():
            try:
                download.check_sha256(path, download.YUNET_SHA256)
            except download.DamagedFileError as error:
                return Check("face detector", FAIL, str(error))
            return Check("face detector", OK, str(path))
    detail = "YuNet is not here: it is fetched on first use, or put it under BFR_LITE_DATA as models/"
    return Check("face detector", ABSENT, f"{detail}{download.YUNET_NAME}; aligned faces need no detector")


def _data_folders(in_data: str, in_cache: str) -> Iterator[Path]:
    try:
        folder = download.data_dir()
    except download.MissingFileError:
        folder = None  # `check_data_folder` reports it
    if folder is not None:
        yield folder / in_data
    yield download.cache_dir() / in_cache


def check_lpips_backbone() -> Check:
    """The AlexNet that LPIPS measures with is in PyTorch's cache, whole."""
    path, content = backbone()
    if content:
        return Check("LPIPS backbone", OK, str(path))
    detail = f"no {path}, or not whole: EfficientNet-Lite2's features stand in. torchvision.models.alexnet"
    return Check("LPIPS backbone", ABSENT, f'{detail}(weights="DEFAULT") fetches it')
