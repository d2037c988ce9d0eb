"""The loop that prior and restorer share: order of the data, logs, sample grids, checkpoints, resuming, Ctrl-C.

Everything random in a step comes from `step_rng(seed, step)`, and the order of the data from the seed and the step
alone. So a checkpoint needs no generator states, and a resumed run takes the very steps of an uninterrupted one. With
several processes each takes its rows of the batch, see `rows.BatchGenerator`: the run stays the same but for rounding.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from bfr_lite.face_sets import UNREADABLE, FaceDataset
from bfr_lite.files import discard_leftovers, sole_writer
from bfr_lite.images import save_image
from bfr_lite.machine import keep_freed_memory
from bfr_lite.rows import BatchGenerator
from bfr_lite.training.log import CsvLog
from bfr_lite.training.memory import checkpoint_blocks
from bfr_lite.training.resuming import load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class RunConfig:
    """What a run needs beside its networks.

    Attributes:
        folder: where checkpoint.pt, log.csv and samples/ go; a run found there is resumed.
        images: how many training pictures to show in all.
        batch: pictures a step, over all processes.
        seed: source of the data order and of every random draw.
        cooldown: share of the run, at its end, over which the learning rates fall to zero in a straight line.
        checkpoint_every, sample_every, log_every: in steps.
        gradient_checkpointing: trade time for memory, see `checkpoint_blocks`.
    """

    folder: Path
    images: int
    batch: int = 16
    seed: int = 0
    cooldown: float = 0.0
    checkpoint_every: int = 500
    sample_every: int = 1000
    log_every: int = 50
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("batch", "checkpoint_every", "sample_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', ' ')} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.cooldown <= 1:
            raise ValueError(f"cooldown must be a share of the run, 0 to 1, got {self.cooldown}")


class Task(Protocol):
    """What the loop trains: networks and optimisers by name, the faces, a step, a picture of the progress."""

    faces: FaceDataset
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    def step(self, step: int, indices: Tensor, rng: torch.Generator) -> dict[str, float]: ...

    def samples(self) -> Tensor: ...


def step_rng(seed: int, step: int, index: int = 0, count: int = 1) -> BatchGenerator:
    """The random source of one step, for process `index` of `count`; neighbouring steps and seeds share nothing."""
    rng = BatchGenerator()
    rng.index, rng.count = index, count
    rng.manual_seed((seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63)
    return rng


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, length: int) -> Tensor:
    return torch.randperm(length, generator=step_rng(seed, -1 - epoch))


def batch_indices(seed: int, step: int, batch: int, length: int) -> Tensor:
    """Indices (batch,) of the pictures of a step: each epoch in its own order, none skipped, none twice."""
    positions = range(step * batch, (step + 1) * batch)
    return torch.stack([_permutation(seed, position // length, length)[position % length] for position in positions])


def optimise(accelerator: Accelerator, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One optimiser step. Gradients are averaged over processes here, as NVIDIA's StyleGAN3 does, and not by a
    wrapper around the networks, which would hide their methods and clash with the double backward of R1."""
    optimizer.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    if accelerator.num_processes > 1:
        moved = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        together = accelerator.reduce(
            torch.cat([p.grad.reshape(-1) for p in moved]), "mean"
        )  # one message, not hundreds
        for parameter, mean in zip(moved, together.split([p.numel() for p in moved]), strict=True):
            parameter.grad.copy_(mean.view(parameter.shape))
    optimizer.step()


@torch.no_grad()
def ema_update(average: nn.Module, current: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * current, for parameters; buffers are copied."""
    for mean, value in zip(average.parameters(), current.parameters(), strict=True):
        mean.lerp_(value.to(mean.dtype), 1 - decay)
    for mean, value in zip(average.buffers(), current.buffers(), strict=True):
        mean.copy_(value)


def ema_decay(batch: int, images_seen: int, half_life: float = 10_000) -> float:
    """Decay a step for a half-life in pictures, shorter early in the run (StyleGAN2-ADA's ramp)."""
    return 0.5 ** (batch / max(min(half_life, images_seen * 0.05), 1e-8))


@dataclass(frozen=True)
class Progress:
    """Where a run stands after the loop: steps taken, pictures seen, whether it is finished."""

    steps: int
    images: int
    finished: bool


def run(task: Task, run_config: RunConfig, dataset_length: int, accelerator: Accelerator) -> Progress:
    """Train `task` to `run_config.images` pictures, until Ctrl-C or an unreadable picture; leaves a whole checkpoint.

    Raises `WeightsError` when the folder holds a checkpoint of other networks, batch, seed or number of faces, and
    `ValueError` when the processes cannot share the batch, another run writes to the folder, or training has diverged:
    then the last checkpoint stays as it is.
    """
    count, folder = accelerator.num_processes, run_config.folder
    if run_config.images < 1:
        raise ValueError(f"a run must show at least one picture, got {run_config.images}")
    if run_config.batch % count:
        raise ValueError(f"{count} processes cannot share a batch of {run_config.batch}: use a multiple of {count}")
    keep_freed_memory()
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    with sole_writer(folder) if accelerator.is_main_process else nullcontext():
        return _run(task, run_config, dataset_length, accelerator)


def _run(task: Task, run_config: RunConfig, dataset_length: int, accelerator: Accelerator) -> Progress:
    index, count, main = accelerator.process_index, accelerator.num_processes, accelerator.is_main_process
    folder = run_config.folder
    if main:
        for place in (folder, folder / "samples"):
            discard_leftovers(place)
    checkpoint = folder / "checkpoint.pt"
    plan = {"batch": run_config.batch, "seed": run_config.seed, "faces": dataset_length}
    done = load_checkpoint(checkpoint, task, plan) if checkpoint.exists() else 0
    total = -(-run_config.images // run_config.batch)
    if run_config.gradient_checkpointing:
        for module in task.modules.values():
            checkpoint_blocks(module)
    log = CsvLog(folder / "log.csv", keep_until=done) if main else None

    def indices(step: int) -> Tensor:
        return batch_indices(run_config.seed, step, run_config.batch, dataset_length)[index::count]

    def save() -> str:
        if not main:
            return "the last checkpoint has what is saved"
        save_checkpoint(checkpoint, task, done, plan)
        return f"{done} steps are saved"

    with (
        _stop_requested() as stop,
        tqdm(initial=done, total=total, unit="step", desc=folder.name, disable=None if main else True) as bar,
        _outliving_pictures(save),
    ):
        stopped = False
        while done < total and not stopped:
            set_learning_rates(task, cooled(done, total, run_config.cooldown))
            if done + 1 < total:
                task.faces.expect(indices(done + 1))  # read while the device computes
            report = task.step(done, indices(done), step_rng(run_config.seed, done, index, count))
            report, stopped = agreed(report, stop.is_set(), accelerator)
            done += 1
            bar.update()
            if log is None:
                continue
            log.add(report)
            if done % run_config.log_every == 0 or done == total or stopped:
                bar.set_postfix(log.write(done, done * run_config.batch))
            if done % run_config.sample_every == 0 or done == total:
                save_image(task.samples(), folder / "samples" / f"{done * run_config.batch:08d}.png")
            if done % run_config.checkpoint_every == 0:
                save()
        if log is not None:  # a second Ctrl-C may not end this
            save()
    accelerator.wait_for_everyone()  # the others read what was written
    return Progress(done, done * run_config.batch, done >= total)


def agreed(report: dict[str, float], stop: bool, accelerator: Accelerator) -> tuple[dict[str, float], bool]:
    """What the processes report, averaged, and whether one of them was asked to stop: all have to stop together."""
    if accelerator.num_processes == 1:
        return report, stop
    values = torch.tensor([float(stop), *report.values()], device=accelerator.device)
    stopped, *means = accelerator.reduce(values, "mean").tolist()
    return dict(zip(report, means, strict=True)), stopped > 0


def cooled(step: int, total: int, cooldown: float) -> float:
    """Share of the learning rate that step `step` of `total` runs at: 1, then down to nearly 0 over the last part."""
    return min(1.0, (total - step) / (cooldown * total)) if cooldown else 1.0


def set_learning_rates(task: Task, share: float) -> None:
    """Let every optimiser run at a share of the learning rate it was made with."""
    for optimizer in task.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = share * group.setdefault("initial_lr", group["lr"])


@contextmanager
def _outliving_pictures(save: Callable[[], str]) -> Iterator[None]:
    """Save what is trained when a picture cannot be read: steps begin with their pictures, so none is half taken."""
    try:
        yield
    except UNREADABLE as error:
        hint = f"{save()}; put another picture in its place, for the number of faces must stay"
        raise type(error)(f"{error} ({hint}, and run the same command again)") from error


@contextmanager
def _stop_requested() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a polite kill sets, so that the running step ends before the run does."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread alone
        yield stop
        return
    # SIGBREAK is what a program on Windows can send to another one and not to itself
    numbers = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGBREAK", signal.SIGTERM)}
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
