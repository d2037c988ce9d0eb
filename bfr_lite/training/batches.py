"""What is trained on: portraits, some of them turned; for the restorer, faces the prior invents, too, and damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bfr_lite.degradation import Degradation
from bfr_lite.degradation_params import DegradationParams
from bfr_lite.face_sets import FaceDataset
from bfr_lite.images import resize
from bfr_lite.rows import draw_rows
from bfr_lite.stylegan2 import Generator
from bfr_lite.training.augment import Misalignment, random_similarity, random_turn

HARDLY_ANY = 0.005  # mean difference of a pixel's channels: 0 in black-and-white files, about 0.1 and more in others
LOOKS = 4  # at other places of the set for one in colour


@dataclass(frozen=True)
class Batch:
    """A training batch of B clean faces and their damage, with D pairs beside it for the encoder alone.

    Attributes:
        clean, lq: (B, 3, size, size) in [0, 1].
        params, degradation: the damage, so that it can be done again.
        invented: (D, 3, size, size) in [0, 1], faces that the prior drew, damaged.
        ws: (D, num_ws, w_dim), the codes it drew them from.
    """

    clean: Tensor
    lq: Tensor
    params: DegradationParams
    degradation: Degradation
    invented: Tensor
    ws: Tensor


def draw_portraits(
    faces: FaceDataset,
    indices: Tensor,
    size: int,
    rng: torch.Generator,
    turned: float,
    misalignment: Misalignment | None = None,
    grey: bool = True,
) -> Tensor:
    """Faces (B, 3, size, size) at `indices` (B,), a share `turned` of them turned, all moved by `misalignment`.

    `grey`: black-and-white ones too; else others in their place, see `read_coloured`.
    """
    images, indices = (faces.batch(indices), indices) if grey else read_coloured(faces, indices)
    images, points = resize(images, size), None
    if faces.landmarks is not None:
        points = (faces.landmarks[indices] + 0.5) * (size / faces.size) - 0.5
    images = random_turn(images, points, rng, turned)
    if misalignment is None:
        return images
    return random_similarity(images, images.new_zeros(len(images), 0, 2), rng, misalignment)[0]


def read_coloured(faces: FaceDataset, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Portraits (B, 3, H, H) at `indices` (B,), and where they were found: for a black-and-white one a coloured one.

    That comes from far away, for black-and-white ones lie together where names are in order. Where there are none in
    colour, as in a set of old photographs, others without colour are shown, each as often as the others.
    """
    images, far = faces.batch(indices), len(faces) // 2 + 1
    for _ in range(LOOKS):
        grey = (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2)) < HARDLY_ANY
        if not grey.any():
            break
        indices = torch.where(grey, (indices + far) % len(faces), indices)
        images = images.index_put((grey,), faces.batch(indices[grey]))
    return images, indices


@torch.no_grad()
def replace_some(portraits: Tensor, prior: Generator, count: int, rng: torch.Generator) -> Tensor:
    """`portraits` (B, 3, size, size), the first `count` of them replaced by faces that `prior` draws, where it is."""
    faces, _ = _invent(prior, count, rng, truncation=1.0)
    return torch.cat([faces, portraits[count:].to(faces)])


@torch.no_grad()
def draw_batch(
    portraits: Tensor,
    prior: Generator,
    drawn: int,
    degradations: Sequence[str],
    rng: torch.Generator,
    device: torch.device,
) -> Batch:
    """`portraits` (B, 3, size, size) and beside them `drawn` faces of `prior`: all damaged by one of `degradations`."""
    name = degradations[int(torch.randint(len(degradations), (), generator=rng))]
    degradation = Degradation.named(name, portraits.shape[-1])
    clean = portraits.to(device)
    lq, params = damaged(clean, degradation, rng)
    invented, ws = clean[:0], prior.w_avg.new_zeros(0, prior.num_ws, prior.w_dim)
    if drawn:
        faces, ws = _invent(prior, drawn, rng, truncation=0.9)
        invented, _ = damaged(faces, degradation, rng)
    clean, lq, invented = (part.contiguous(memory_format=torch.channels_last) for part in (clean, lq, invented))
    return Batch(clean, lq, params, degradation, invented, ws)


def _invent(prior: Generator, count: int, rng: torch.Generator, truncation: float) -> tuple[Tensor, Tensor]:
    """A process's `count` faces of `prior` (count, 3, size, size) in [0, 1], and their codes."""
    ws = draw_rows(lambda n: prior.sample(n, rng, truncation), count, rng)
    return prior(ws, noise=rng).clamp(0, 1), ws


def damaged(clean: Tensor, degradation: Degradation, rng: torch.Generator) -> tuple[Tensor, DegradationParams]:
    """A process's rows `clean` (B, 3, H, W) of a batch after `degradation`, and what was drawn for them."""
    params = draw_rows(lambda n: degradation.sample(n, rng), len(clean), rng)
    return degradation.apply(clean, params), params


def draw_fidelity(count: int, rng: torch.Generator) -> Tensor:
    """Fidelities (count,) of a batch: a third 1, a third 0.5 (the default), the rest anywhere in [0, 1].

    Shuffled, for places of a batch are not alike: `look_closer` takes every second one.
    """

    def draw(batch: int) -> Tensor:
        fidelity = torch.rand(batch, generator=rng)
        fidelity[: batch // 3] = 1.0
        fidelity[batch // 3 : 2 * (batch // 3)] = 0.5
        return fidelity[torch.randperm(batch, generator=rng)]

    return draw_rows(draw, count, rng)
