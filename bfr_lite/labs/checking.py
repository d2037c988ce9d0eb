"""How a check looks at a student's work: run it, compare it with the package's answer, name the mistake.

A usual mistake is known by what comes out of it. Each check computes, from the same input, what every such mistake
would give; an answer that equals one of them gets the message that belongs to it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

PACKAGE = str(Path(__file__).parents[1])
Mistakes = Mapping[str, Callable[[], Tensor]]  # message -> what this mistake would give
Tensors = Sequence[Tensor]


class CheckFailed(AssertionError):
    """An answer is wrong; the message says how, for which input, and where to read on."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in the place of a traceback: the message is all that helps."""
        return [f"✗ {self}"]


@dataclass(frozen=True)
class Check:
    """The check of one exercise.

    Attributes:
        name: of the student's function or class.
        see: where the series explains the matter.
    """

    name: str
    see: str

    def fail(self, message: str) -> NoReturn:
        """Raise `CheckFailed` with the name in front and the place to read at the end."""
        raise CheckFailed(f"{self.name}: {message} (See {self.see}.)") from None

    def passed(self, what: str) -> None:
        """Say that everything was right."""
        print(f"✓ {self.name}: {what}.")

    def own(self, answer: object) -> None:
        """Fail where the package's own function or class was handed in."""
        if (getattr(answer, "__module__", None) or "").startswith("bfr_lite"):
            self.fail("this is the package's own, and the lab asks for yours.")

    def call(self, answer: Callable, *arguments: object, on: str) -> object:
        """The result of `answer(*arguments)`. Its exceptions, and tensors changed in place, fail the check.

        `on` describes the input.
        """
        before = [tensor.detach().clone() for tensor in _tensors(arguments)]
        try:
            result = answer(*arguments)
        except CheckFailed:
            raise
        except Exception as error:  # a student's code may raise anything
            if isinstance(error, NotImplementedError) and not str(error):  # PyTorch's own come with words
                self.fail("not written yet: put your code in the place of `raise NotImplementedError()`.")
            self.fail(f"raised {type(error).__name__} on {on}{_place(error)}: {error}")
        after = list(_tensors(arguments))
        if len(after) != len(before) or not all(_alike(*pair) for pair in zip(after, before, strict=True)):
            self.fail(f"changes its input in place, on {on}: others still need it. Make a new tensor.")
        return result

    def same(
        self,
        got: object,
        wanted: Tensor,
        on: str,
        mistakes: Mistakes | None = None,
        atol: float = 1e-4,
        share: float = 1.0,
    ) -> None:
        """Fail unless a share of at least `share` of `got` is within `atol` of `wanted`; name the mistake if known."""
        if got is None:
            self.fail("returns None: is the `return` missing?")
        if not isinstance(got, Tensor):
            self.fail(f"must return a tensor, and returned {type(got).__name__}, on {on}.")
        if _alike(got, wanted, atol, share):
            return
        for message, answer in (mistakes or {}).items():
            if _alike(got, answer(), atol, share):
                self.fail(f"{message} Seen on {on}.")
        if got.shape != wanted.shape:
            self.fail(f"returned shape {tuple(got.shape)} where {tuple(wanted.shape)} is wanted, on {on}.")
        if not got.isfinite().all():
            self.fail(f"returned NaN or infinity on {on}: is something divided by zero?")
        if got.dtype != wanted.dtype:
            self.fail(f"returned {got.dtype} where {wanted.dtype} is wanted, on {on}.")
        apart = (got - wanted).abs().max().item()
        self.fail(f"runs, but is off by up to {apart:.2g} on {on}.")

    def learns_alike(self, got: Tensor, wanted: Tensor, mine: Tensors, theirs: Tensors, why: str) -> None:
        """Fail with `why` unless `got` sends such gradients to `mine` as `wanted` sends to `theirs`."""
        if not _alike(_gradients(got, mine), _gradients(wanted, theirs), atol=1e-5):
            self.fail(why)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers of `shape` from `seed`."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """`module`, with noise on every parameter that starts at a constant: a zero or a one would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if (parameter == parameter.flatten()[0]).all():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


def _gradients(output: Tensor, inputs: Tensors) -> Tensor:
    """The gradient of the mean square of `output` to every one of `inputs`, end to end; zeros where none arrives."""
    if not output.requires_grad:
        return torch.cat([torch.zeros_like(one).flatten() for one in inputs])
    found = torch.autograd.grad(output.square().mean(), inputs, allow_unused=True, retain_graph=True)
    pairs = zip(found, inputs, strict=True)
    return torch.cat([(torch.zeros_like(one) if grad is None else grad).flatten() for grad, one in pairs])


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _alike(got: Tensor, wanted: Tensor, atol: float = 0.0, share: float = 1.0) -> bool:
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    return torch.isclose(got, wanted, rtol=1e-4, atol=atol, equal_nan=True).double().mean().item() >= share


def _place(error: Exception) -> str:
    """The last line of the student's own code that the exception came through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(PACKAGE) and "site-packages" not in frame.filename
    ]
    return f', in the line "{frames[-1].line}"' if frames and frames[-1].line else ""
