"""Checks of lab 4: feature modulation with a fidelity knob."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from bfr_lite.labs.checking import Check, CheckFailed, draw, shaken
from bfr_lite.layers import apply_condition
from bfr_lite.presets import preset
from bfr_lite.restorer import Restorer, knob, scale_conditions
from bfr_lite.stylegan2 import Conditions


def check_sft(sft: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Check `sft(h, scale, shift)`: the second half of the channels of h becomes h (1 + scale) + shift."""
    check = Check("sft", "notebook 05, The joint")
    check.own(sft)
    for channels in (8, 6):
        _check_sft(check, sft, channels)
    check.passed("changes half of the channels, place by place")


def _check_sft(check: Check, sft: Callable, channels: int) -> None:
    h, (scale, shift) = draw(2, channels, 5, 7), (draw(2, channels // 2, 5, 7, seed=seed) for seed in (1, 2))
    on = f"h {tuple(h.shape)}, scale and shift {tuple(scale.shape)}"
    first, second = h.chunk(2, dim=1)

    def beside(changed: Tensor) -> Tensor:
        return torch.cat([first, changed], dim=1)

    check.same(
        check.call(sft, h, scale, shift, on=on),
        apply_condition(h, scale, shift),
        on,
        {
            "the 1 + is missing: a scale of 0 must leave the features alone, not erase them.": lambda: beside(
                second * scale + shift
            ),
            "the shift is missing.": lambda: beside(second * (1 + scale)),
            "the scale is missing.": lambda: beside(second + shift),
            "the shift is scaled, too: scale first, then shift.": lambda: beside((second + shift) * (1 + scale)),
            "the first half of the channels is changed: it is to stay the prior's own.": lambda: torch.cat(
                [first * (1 + scale) + shift, second], dim=1
            ),
            "all channels are changed: the first half is to stay the prior's own.": lambda: torch.cat(
                [half * (1 + scale) + shift for half in (first, second)], dim=1
            ),
            "the halves come out in the wrong order: kept first, changed second.": lambda: torch.cat(
                [second * (1 + scale) + shift, first], dim=1
            ),
            "only the changed half is returned: join it to the half that is kept.": lambda: (
                second * (1 + scale) + shift
            ),
        },
    )


def check_scale_conditions(
    scale_conditions_: Callable[[Conditions, float | Tensor], Conditions],
) -> None:
    """Check `scale_conditions(conditions, fidelity)`: scale and shift times f² (3 − 2f), one f or one a picture."""
    check = Check("scale_conditions", "notebook 05, The fidelity knob")
    check.own(scale_conditions_)
    # As many pictures as columns: a fidelity on the wrong axis raises no error.
    conditions = {8: (draw(8, 2, 8, 8), draw(8, 2, 8, 8, seed=1))}
    pair = {8: (draw(2, 3, 8, 8), draw(2, 3, 8, 8, seed=1)), 16: (draw(2, 2, 16, 16), draw(2, 2, 16, 16, seed=1))}
    for fidelity in (0.25, 1.0, 0.0):
        _check_scaling(check, scale_conditions_, pair, fidelity, f"fidelity {fidelity}")
    each = torch.linspace(0, 1, 8)
    _check_scaling(check, scale_conditions_, conditions, each, "one fidelity for each of 8 pictures, shape (8,)")
    check.passed("one knob for scale and shift, for a batch and for each of its pictures")


def _check_scaling(check: Check, answer: Callable, given: Conditions, fidelity: float | Tensor, on: str) -> None:
    got = check.call(answer, given, fidelity, on=on)
    if not isinstance(got, dict) or got.keys() != given.keys() or any(len(pair) != 2 for pair in got.values()):
        check.fail(f"must return a dict of the same resolutions, each with a pair (scale, shift), on {on}.")
    strength, linear = knob(fidelity, len(given[8][0])), torch.as_tensor(fidelity).view(-1, 1, 1, 1)

    def times(on_scale: Tensor | float, on_shift: Tensor | float) -> Callable[[], Tensor]:
        return lambda: _flat({r: (scale * on_scale, shift * on_shift) for r, (scale, shift) in given.items()})

    mistakes = {
        "the knob turns the scale alone: the shift draws, too.": times(strength, 1.0),
        "the knob turns the shift alone: the scale counts, too.": times(1.0, strength),
        "the knob is dead: `fidelity` is not used.": times(1.0, 1.0),
        "the smooth step is missing: the strength is f² (3 − 2f), not f.": times(linear, linear),
        "the second factor of the smooth step is missing: 3 − 2f.": times(linear**2, linear**2),
        "the knob is reversed: 1 is to follow the input, so conditions act in full there.": times(
            1 - strength, 1 - strength
        ),
    }
    if strength.numel() > 1:
        across = strength.flatten()
        mistakes["the fidelities run along the columns: they belong to the pictures, so shape (B, 1, 1, 1)."] = times(
            across, across
        )
    check.same(_flat(got), _flat(scale_conditions(given, fidelity)), on, mistakes)


def _flat(conditions: Conditions) -> Tensor:
    return torch.cat([part.flatten() for pair in conditions.values() for part in pair])


def check_blend(blend: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> None:
    """Check `blend(drawn, codecs, trust, fidelity)`: the codec's picture where it is trusted, times the knob."""
    check = Check("blend", "notebook 05, Two pictures, and a map of trust")
    check.own(blend)
    drawn, codecs = draw(2, 3, 5, 7), draw(2, 3, 5, 7, seed=1)
    trust, fidelity = draw(2, 1, 5, 7, seed=2).sigmoid(), 0.25
    on = f"pictures {tuple(drawn.shape)}, trust {tuple(trust.shape)}, fidelity {fidelity}"
    w = knob(fidelity, 2)
    wanted = drawn.lerp(codecs, w * trust)
    check.same(
        check.call(blend, drawn, codecs, trust, fidelity, on=on),
        wanted,
        on,
        {
            "the pictures are swapped: trust 1 takes the codec's, trust 0 the drawn one.": lambda: codecs.lerp(
                drawn, w * trust
            ),
            "the knob does not turn the trust map: at fidelity 0 only the drawn picture may be left.": lambda: (
                drawn.lerp(codecs, trust)
            ),
            "the smooth step is missing: the strength is f² (3 − 2f), not f.": lambda: drawn.lerp(
                codecs, fidelity * trust
            ),
            "the shares do not add up to 1: the drawn picture gets 1 − t, with the same t.": lambda: (
                (1 - trust) * drawn + w * trust * codecs
            ),
            "the drawn picture counts in full: it gets 1 − t.": lambda: drawn + w * trust * codecs,
            "the result is clamped: that is for the end, in training it would stop gradients.": lambda: wanted.clamp(
                0, 1
            ),
        },
    )
    check.passed("trust says where, the knob how far")


def check_fidelity(restore: Callable[[Restorer, Tensor, float], Tensor]) -> None:
    """Check `restore(restorer, lq, fidelity)`: read, scale, draw and blend, as `Restorer` does."""
    check = Check("restore", "notebook 05, The whole restorer")
    check.own(restore)
    lq = draw(2, 3, 32, 32).sigmoid()
    with torch.no_grad():
        for fidelity in (0.4, 0.0, 1.0):
            _check_fidelity(check, restore, lq, fidelity)
    check.passed("equals bfr_lite.Restorer at every position of the knob")


def closed(restorer: Restorer) -> Restorer:
    """`restorer`, whose own way from a damaged face to a restored one is shut: a student is to go it."""

    def refuse(*arguments: object, **named: object) -> NoReturn:
        raise CheckFailed(
            "restore: this is the package's own restorer: read, scale, draw and blend yourself. "
            "(See notebook 05, The whole restorer.)"
        )

    restorer.forward = restorer.forward_features = restorer.restore = restorer.draw = refuse
    return restorer


def small_restorer() -> Restorer:
    """An untrained restorer of 32 px whose conditions, codes and trust map all say something."""
    return shaken(Restorer(preset("tiny"))).eval().requires_grad_(False)


def _check_fidelity(check: Check, answer: Callable, lq: Tensor, fidelity: float) -> None:
    restorer = small_restorer()
    right = restorer(lq, fidelity).image
    on = f"{len(lq)} faces, fidelity {fidelity}"
    read, stages = restorer.read(lq)
    codecs, strength = read.pyramid[restorer.preset.size], knob(fidelity, len(lq))
    scaled, trust = scale_conditions(read.conditions, fidelity), strength * stages["trust"]
    drawn = restorer.generator(read.ws, scaled)

    def image(ws: Tensor | None = None, conditions: Conditions | None = scaled, trust: Tensor = trust) -> Tensor:
        return restorer.generator(read.ws if ws is None else ws, conditions).lerp(codecs, trust)

    check.same(
        check.call(answer, closed(restorer), lq, fidelity, on=on),
        right,
        on,
        {
            "the conditions are not scaled by the knob.": lambda: image(conditions=read.conditions),
            "the knob does not turn the trust map.": lambda: image(trust=stages["trust"]),
            "the knob turns neither conditions nor trust: it is dead.": lambda: image(
                conditions=read.conditions, trust=stages["trust"]
            ),
            "the generator gets no conditions.": lambda: image(conditions=None),
            "the codes are scaled, too: they say what face this is, at any fidelity.": lambda: image(
                read.ws * fidelity
            ),
            "this is the drawn picture: blend the codec's into it.": lambda: drawn,
            "this is the codec's picture: blend it into the drawn one.": lambda: codecs,
            "the blend is swapped: trust 1 takes the codec's picture.": lambda: codecs.lerp(drawn, trust),
            "the result is clamped: that is for the end, in training it would stop gradients.": lambda: image().clamp(
                0, 1
            ),
        },
        atol=1e-3,
    )
