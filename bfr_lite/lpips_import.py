"""Import ``lpips`` also where torchvision's compiled operators cannot be loaded, and find what it measures with.

``lpips`` needs torchvision for its model definitions alone. Importing torchvision nevertheless describes its
compiled operators to PyTorch, and that fails with "operator torchvision::nms does not exist" where they did
not load, as with a torchvision built for CUDA beside a CPU-only torch. Declaring two operators is enough.
"""

from __future__ import annotations

import hashlib
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

BACKBONE = "alexnet-owt-7be5be79.pth"  # torchvision's weights for lpips.LPIPS(net="alex")

_MISSING = (  # as declared by torchvision 0.28
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_lpips() -> ModuleType:
    """The ``lpips`` module.

    Raises ImportError where it is not installed, RuntimeError where torchvision fails for another reason.
    """
    try:
        return importlib.import_module("lpips")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    _declare_operators()
    return importlib.import_module("lpips")


def backbone() -> tuple[Path, bytes | None]:
    """Where the AlexNet of LPIPS belongs, and the file there if it is whole: its name ends in its SHA-256's start."""
    from torch.hub import get_dir  # imported here for the same reason as below

    path = Path(get_dir()) / "checkpoints" / BACKBONE
    content = path.read_bytes() if path.is_file() else b""
    whole = hashlib.sha256(content).hexdigest().startswith(path.stem.rpartition("-")[2])
    return path, content if whole else None


@cache  # a name can be declared once, and lives as long as the library object that is kept here
def _declare_operators() -> object:
    # imported here, so that `bfr-lite doctor` can report a PyTorch that cannot be
    from torch.library import Library

    library = Library("torchvision", "FRAGMENT")
    for schema in _MISSING:
        library.define(schema)
    return library
