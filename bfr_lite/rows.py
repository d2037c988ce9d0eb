"""Random numbers for one process of several that share a batch: the very ones that a single process would draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Rows = TypeVar("Rows")  # a tensor, or whatever else is indexed by the rows of a batch


class BatchGenerator(torch.Generator):
    """A random source that knows which rows of a batch are drawn for: `index`, `index + count`, `index + 2 count`, ...

    Every one of `count` processes has one of the same seed, draws for the whole batch and keeps its own rows, see
    `draw_rows`. So a run does not depend on how many processes it is spread over. A plain `torch.Generator` has all
    rows. Rows are dealt out in turn, which keeps together the groups of StyleGAN2's minibatch standard deviation.
    """

    index, count = 0, 1


def draw_rows(draw: Callable[[int], Rows], rows: int, rng: torch.Generator) -> Rows:
    """The `rows` of `rng`'s process among those that `draw(n)`, which draws from `rng`, gives for the whole batch."""
    index, count = getattr(rng, "index", 0), getattr(rng, "count", 1)
    return draw(rows * count)[index::count] if count > 1 else draw(rows)
