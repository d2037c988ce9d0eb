"""Checks of lab 2: the mixed multi-path residual block."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.labs.checking import Check, draw, shaken
from bfr_lite.layers import draw_weights
from bfr_lite.mmrb import MMRB, PATHS, ChannelGate, high_pass, make_path

EXTENT = {"point": 1, "local": 3, "wide": 5, "dilated": 5, "texture": 3}  # pixels each path sees along a side


def check_high_pass(high_pass_: Callable[[Tensor], Tensor]) -> None:
    """Check `high_pass(x)`: x minus the mean of its 3x3 neighbours, borders included."""
    check = Check("high_pass", "notebook 02, part 1")
    check.own(high_pass_)
    # The flat one last: there x is its own mean, and two mistakes would look alike.
    for x, on in ((draw(2, 3, 7, 5), "x of shape (2, 3, 7, 5)"), (torch.full((1, 4, 6, 6), 0.7), "a flat x of 0.7")):
        _check_high_pass(check, high_pass_, x, on)
    check.passed("keeps what the local mean does not explain, and is 0 on flat areas up to the border")


def _check_high_pass(check: Check, answer: Callable, x: Tensor, on: str) -> None:
    mean = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    check.same(
        check.call(answer, x, on=on),
        high_pass(x),
        on,
        {
            "the border sees an edge that is none: zeros of the padding are counted. `count_include_pad=False`.": (
                lambda: x - F.avg_pool2d(x, 3, stride=1, padding=1)
            ),
            "this is x itself: nothing is taken away.": lambda: x,
            "the border is mirrored or repeated: at the border only the neighbours that exist count.": lambda: (
                x - F.avg_pool2d(F.pad(x, (1,) * 4, mode="replicate"), 3, stride=1)
            ),
            "the border is mirrored: at the border only the neighbours that exist count.": lambda: (
                x - F.avg_pool2d(F.pad(x, (1,) * 4, mode="reflect"), 3, stride=1)
            ),
            "this is the local mean, the slow part. The high-pass is what is left without it.": lambda: mean,
            "the sign is reversed: x minus mean.": lambda: mean - x,
            "the neighbourhood is 5×5, and 3×3 is wanted.": lambda: (
                x - F.avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False)
            ),
            "it subtracts the mean of the whole map: take that of the 3×3 neighbours.": lambda: (
                x - x.mean(dim=(2, 3), keepdim=True)
            ),
        },
        atol=1e-5,
    )


def check_path(my_path: Callable[[str, int], nn.Module]) -> None:
    """Check `my_path(name, width)`: the layers of each of the five paths."""
    check = Check("my_path", "notebook 02, part 2")
    check.own(my_path)
    for name in PATHS:
        _check_path(check, my_path, name, width=3)
    check.passed("five paths that see 1, 3, 5, 5 and 3 pixels")


def _check_path(check: Check, my_path: Callable, name: str, width: int) -> None:
    on = f"name={name!r}, width={width}"
    path, package = check.call(my_path, name, width, on=on), make_path(name, width)
    if not isinstance(path, nn.Module):
        check.fail(f"must return a module such as `nn.Sequential(...)`, and returned {type(path).__name__}, on {on}.")
    draw_weights(package, torch.Generator().manual_seed(1))
    x = draw(2, width, 9, 9, seed=2)
    size = check.call(path, x, on=f"{on}, then x of shape {tuple(x.shape)}")
    if not isinstance(size, Tensor):
        check.fail(f"the module of {on} returns {type(size).__name__}: is a `return` missing in its `forward`?")
    if size.shape != x.shape:
        why = "each convolution goes from `width` to `width` channels"
        if size.shape[1] == width:
            why = "a 3×3 needs padding 1, with dilation 2 padding 2"
        check.fail(f"{on} turns {tuple(x.shape)} into {tuple(size.shape)}: {why}.")
    own, wanted = list(path.parameters()), list(package.parameters())
    if [p.shape for p in own] != [p.shape for p in wanted]:
        check.fail(
            f"{on} has parameters {[tuple(p.shape) for p in own]}, and {[tuple(p.shape) for p in wanted]} are wanted: "
            "each convolution goes from `width` to `width` channels and has a bias."
        )
    with torch.no_grad():
        for mine, theirs in zip(own, wanted, strict=True):
            mine.copy_(theirs)
    if (extent := _extent(path, width)) != EXTENT[name]:
        check.fail(
            f"{on} sees {extent} pixels along a side, and {EXTENT[name]} are wanted: "
            "'wide' has two 3×3 in a row, 'dilated' has dilation 2, all others one convolution."
        )
    convs = [layer for layer in package if isinstance(layer, nn.Conv2d)]
    check.same(
        path(x),
        package(x),
        f"{on}, x of shape {tuple(x.shape)}, the package's weights",
        {
            "a leaky ReLU of slope 0.2 is missing at the end.": lambda: package[:-1](x),
            "a leaky ReLU of slope 0.2 is missing between the two convolutions.": lambda: package[-1](
                nn.Sequential(*convs)(x)
            ),
            "the slope of the leaky ReLU is 0.2 here, PyTorch's own is 0.01.": lambda: _with_slope(package, 0.01)(x),
            "it uses a ReLU: what is below 0 should leak through, with slope 0.2.": lambda: _with_slope(package, 0.0)(
                x
            ),
            "it takes the high-pass itself: the block hands `texture` the high-pass, so leave it out of the path.": (
                lambda: package(high_pass(x))
            ),
        },
    )


def _extent(path: nn.Module, width: int) -> int:
    side = 15  # more than any path sees
    x = draw(1, width, side, side).requires_grad_()
    path(x)[..., side // 2, side // 2].sum().backward()
    columns = x.grad.abs().sum(dim=(0, 1, 2)).nonzero()
    return int(columns.max() - columns.min()) + 1 if len(columns) else 0


def _with_slope(path: nn.Sequential, slope: float) -> nn.Sequential:
    return nn.Sequential(*(nn.LeakyReLU(slope) if isinstance(part, nn.LeakyReLU) else part for part in path))


def check_gate(gate: Callable[[Tensor, nn.Module, nn.Module], Tensor]) -> None:
    """Check `gate(x, squeeze, excite)`: x times one weight in (0, 2) for each channel."""
    check = Check("gate", "notebook 02, part 5")
    check.own(gate)
    package = ChannelGate(16)
    draw_weights(package, torch.Generator().manual_seed(3))
    squeeze, excite, x = package.squeeze, package.excite, draw(2, 16, 5, 7, seed=4)
    x = x + draw(2, 16, 1, 1, seed=5)
    mean = x.mean(dim=(2, 3), keepdim=True)
    weights = 2 * torch.sigmoid(excite(F.leaky_relu(squeeze(mean), 0.2)))

    def by(summary: Tensor) -> Tensor:
        return x * 2 * torch.sigmoid(excite(F.leaky_relu(squeeze(summary), 0.2)))

    on = f"x of shape {tuple(x.shape)}"
    check.same(
        check.call(gate, x, squeeze, excite, on=on),
        package(x),
        on,
        {
            "the sigmoid is not doubled: the gate would start near ½ and halve every feature.": lambda: x * weights / 2,
            "these are the weights alone: multiply x by them.": lambda: weights,
            "the mean is taken over the batch, too: one picture must not depend on another.": lambda: by(
                x.mean(dim=(0, 2, 3), keepdim=True)
            ),
            "it takes the maximum of each channel: take the mean.": lambda: by(x.amax(dim=(2, 3), keepdim=True)),
            "every place gets weights of its own: take the mean over height and width first.": lambda: by(x),
            "the leaky ReLU between squeeze and excite is missing.": lambda: x * 2 * excite(squeeze(mean)).sigmoid(),
            "a ReLU stands where a leaky ReLU of slope 0.2 is wanted.": lambda: (
                x * 2 * excite(squeeze(mean).relu()).sigmoid()
            ),
            "the slope of the leaky ReLU is 0.2 here, PyTorch's own is 0.01.": lambda: (
                x * 2 * excite(F.leaky_relu(squeeze(mean))).sigmoid()
            ),
        },
    )
    check.passed("weighs channels by what the whole picture shows")


def check_mmrb(my_mmrb: type[nn.Module]) -> None:
    """Check `MyMMRB(channels)` with the package's weights in it, at three channel counts and an odd size."""
    check = Check("MyMMRB", "notebook 02, The whole block")
    check.own(my_mmrb)
    for channels in (16, 24, 6):
        _check_mmrb(check, my_mmrb, channels)
    check.passed("equals bfr_lite.MMRB for any number of channels")


def _check_mmrb(check: Check, my_mmrb: type[nn.Module], channels: int) -> None:
    block, package = check.call(my_mmrb, channels, on=f"channels={channels}"), MMRB(channels)
    if not isinstance(block, nn.Module):
        check.fail("must be a class derived from `nn.Module`.")
    own, wanted = block.state_dict(), package.state_dict()
    if own.keys() != wanted.keys():
        missing, extra = sorted(wanted.keys() - own.keys()), sorted(own.keys() - wanted.keys())
        check.fail(f"its parameters have other names than those asked for: missing {missing[:4]}, unknown {extra[:4]}.")
    if dict(block.named_parameters()).keys() != dict(package.named_parameters()).keys():
        check.fail("`scale` must be an `nn.Parameter`, or it never learns.")
    if not all(parameter.requires_grad for parameter in block.parameters()):
        check.fail("a parameter is frozen: it never learns.")
    wrong = [name for name in wanted if own[name].shape != wanted[name].shape]
    if wrong:
        name = wrong[0]
        check.fail(
            f"with channels={channels}, `{name}` has shape {tuple(own[name].shape)}, not "
            f"{tuple(wanted[name].shape)}: is a number of channels written into the code? All follow from `channels`."
        )
    check.same(own["scale"], wanted["scale"], "`scale` of a new block", atol=1e-6)
    shaken(package)
    block.load_state_dict(package.state_dict())
    x = draw(2, channels, 7, 10, seed=6)
    on = f"channels={channels}, x of shape {tuple(x.shape)}"
    got, right = check.call(block, x, on=on), package(x)
    fused = package.fuse(torch.cat(list(package.responses(x).values()), dim=1))
    added = package.gate(fused)
    check.same(
        got,
        right,
        on,
        {
            "the residual is forgotten: add the input to the result.": lambda: right - x,
            "`scale` is forgotten.": lambda: x + added,
            "the added part is scaled by the fixed number 0.2: use the parameter `scale`.": lambda: x + 0.2 * added,
            "`scale` acts on the input, too: only what is added is scaled.": lambda: package.scale * (x + added),
            "the gate is forgotten.": lambda: x + package.scale * fused,
            "nothing is handed on: each path reads its own part plus the answer of the path before it.": lambda: (
                _variant(package, x, lambda own, answers: own)
            ),
            "each path reads the sum of all answers so far: only the last one is handed on.": lambda: _variant(
                package, x, lambda own, answers: own + sum(answers)
            ),
            "an answer is averaged with the path's own part: add it.": lambda: _variant(
                package, x, lambda own, answers: (own + answers[-1]) / 2 if answers else own
            ),
            "the texture path hears no high-pass.": lambda: _variant(package, x, _last, before=lambda part: part),
            "the high-pass acts on what is handed on, too: it is for the texture path's own part.": lambda: _variant(
                package, x, _last, before=lambda part: part, after=high_pass
            ),
        },
    )
    why = f"gives the right numbers, but not the right gradients, on {on}: nothing in the block may be detached."
    check.learns_alike(got, right, *([p for _, p in sorted(one.named_parameters())] for one in (block, package)), why)


def _last(own: Tensor, answers: list[Tensor]) -> Tensor:
    return own + answers[-1] if answers else own


def _variant(
    block: MMRB,
    x: Tensor,
    mix: Callable[[Tensor, list[Tensor]], Tensor],
    before: Callable[[Tensor], Tensor] = high_pass,
    after: Callable[[Tensor], Tensor] = lambda part: part,
) -> Tensor:
    """The block with another mix; `before` and `after` it, something acts on what the texture path reads."""
    answers: list[Tensor] = []
    for name, own in zip(PATHS, block.reduce(x).chunk(len(PATHS), dim=1), strict=True):
        read = after(mix(before(own), answers)) if name == "texture" else mix(own, answers)
        answers.append(block.paths[name](read))
    return x + block.scale * block.gate(block.fuse(torch.cat(answers, dim=1)))
