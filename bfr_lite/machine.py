"""What a measurement or a training run was made on, for cards and tables."""

from __future__ import annotations

import os
import platform

import torch


def hardware() -> str:
    """Cores, threads and GPU, in one line."""
    line = f"{os.cpu_count()} x {platform.machine()} cores, {torch.get_num_threads()} threads"
    return f"{line}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else line


def versions() -> dict[str, str]:
    """Python and PyTorch, without the build's tag."""
    return {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]}
