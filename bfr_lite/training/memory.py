"""Gradient checkpointing: less memory for more work, without a change of the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bfr_lite.codec import DecoderLevel
from bfr_lite.discriminator import DiscriminatorBlock
from bfr_lite.mmrb import MMRB
from bfr_lite.stylegan2 import SynthesisBlock

BLOCKS = (SynthesisBlock, DiscriminatorBlock, DecoderLevel, MMRB)


def checkpoint_blocks(network: nn.Module) -> None:
    """Let the blocks of `network` keep only what enters them, and compute their inside again on the way back.

    Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174): about a third more work for the
    memory of one block at a time. Blocks that learn nothing are left alone. To be called once, after `network` has been
    copied: a copy would go on with the blocks of the original.
    """
    for block in network.modules():
        if isinstance(block, BLOCKS) and any(parameter.requires_grad for parameter in block.parameters()):
            block.forward = _checkpointed(block.forward)


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any) -> Any:
        return checkpoint(_repeatable(forward), *inputs, use_reentrant=False)

    return run


def _repeatable(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward`, which when it runs for the second time draws the random numbers of the first."""
    states: list[torch.Tensor] = []

    def run(*inputs: Any) -> Any:
        rng = next((one for one in inputs if isinstance(one, torch.Generator)), None)
        if rng is None:
            return forward(*inputs)
        now = rng.get_state()
        if not states:
            states.append(now)
            return forward(*inputs)
        rng.set_state(states[0])
        try:
            return forward(*inputs)
        finally:
            rng.set_state(now)

    return run
