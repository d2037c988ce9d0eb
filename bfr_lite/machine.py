"""The machine at hand: what a measurement was made on, and how its memory is best kept."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import sys

import torch


def hardware() -> str:
    """Cores, threads and GPU, in one line."""
    threads = torch.get_num_threads()
    line = f"{os.cpu_count()} x {platform.machine()} cores, {threads} thread{'s' * (threads > 1)}"
    return f"{line}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else line


def versions() -> dict[str, str]:
    """Python and PyTorch, without the build's tag."""
    return {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]}


def command_line() -> str:
    """The `bfr-lite` command that is running, as one would type it again."""
    return shlex.join(["bfr-lite", *sys.argv[1:]])


def keep_freed_memory() -> bool:
    """Tell the C library to keep the memory it is given back, and say whether it listens.

    glibc returns every block above 32 MB to the system at once, and a training step asks for the same blocks again:
    the system then clears each page anew, which can take half of the step. The process stays at its peak instead.
    Only glibc knows these settings; anywhere else nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # names and numbers of malloc.h
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(key, value) for key, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**26)))
