"""The processes that train together, and their parting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

if torch.distributed.is_available():
    # Imported after a group is made, as any optimiser imports it, its functions' default arguments would keep the
    # group, and so gloo's threads, beyond the end.
    import torch.distributed.nn


@contextmanager
def accelerated(precision: str = "no", cpu: bool = False) -> Iterator[Accelerator]:
    """An `Accelerator` for one training run; the processes that share it part when the block has ended well.

    Processes that just exit abort now and then: a thread of gloo still lets go of a tensor while Python shuts down.
    After an error nobody waits for the others, who may wait for this process; the launcher ends them all.

    precision: "no" or "bf16". cpu: stay off any GPU.
    """
    # without a GPU, processes know of each other only if told that they are to stay on the CPU
    accelerator = Accelerator(mixed_precision=precision, cpu=cpu or not torch.accelerator.is_available())
    yield accelerator
    accelerator.end_training()
