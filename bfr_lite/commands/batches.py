"""Restore the faces of many pictures together: a network takes sixteen faces in half the time of sixteen times one."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bfr_lite.commands.pictures import FAILURES, Facts, Job, Outcome

FACES = 16  # that are enough for a batch
HELD_BYTES = 256 * 2**20  # of pictures that wait for their faces, before a smaller batch has to do

# What is done with one picture: it stops at `yield`, with its faces (N, 3, S, S) and the bytes it holds meanwhile, is
# sent the faces restored, and returns the facts for the report.
Halting = Callable[[Job], Generator[tuple[Tensor, int], Tensor, Facts]]


@dataclass
class _Waiting:
    job: Job
    work: Generator[tuple[Tensor, int], Tensor, Facts]
    faces: Tensor = field(init=False)
    held: int = 0
    seconds: float = 0.0

    def begin(self) -> None:
        started = time.perf_counter()
        self.faces, self.held = next(self.work)
        self.seconds += time.perf_counter() - started

    def finish(self, restored: Tensor, share: float) -> Facts:
        started = time.perf_counter()
        try:
            self.work.send(restored)
        except StopIteration as done:
            return {"seconds": round(self.seconds + share + time.perf_counter() - started, 3), **done.value}
        raise RuntimeError("a picture's faces are restored once")


def in_batches(jobs: Iterable[Job], work: Halting, restore: Callable[[Tensor], Tensor]) -> Iterator[Outcome]:
    """Do every job, their faces restored in batches by `restore`. What cannot be read or written, fails alone."""
    waiting: list[_Waiting] = []
    for job in jobs:
        one = _Waiting(job, work(job))
        try:
            one.begin()
        except FAILURES as error:
            yield job, error
            continue
        waiting.append(one)
        if sum(len(w.faces) for w in waiting) >= FACES or sum(w.held for w in waiting) >= HELD_BYTES:
            yield from _finished(waiting, restore)
            waiting = []
    yield from _finished(waiting, restore)


def _finished(waiting: list[_Waiting], restore: Callable[[Tensor], Tensor]) -> Iterator[Outcome]:
    if not waiting:
        return
    started = time.perf_counter()
    faces = torch.cat([one.faces for one in waiting])
    try:
        restored = restore(faces).split([len(one.faces) for one in waiting])
    except FAILURES as error:
        if len(waiting) == 1:
            yield waiting[0].job, error
        else:  # so many may be too many
            for one in waiting:
                yield from _finished([one], restore)
        return
    each = (time.perf_counter() - started) / len(faces)
    for one, part in zip(waiting, restored, strict=True):
        try:
            yield one.job, one.finish(part, each * len(part))
        except FAILURES as error:
            yield one.job, error
