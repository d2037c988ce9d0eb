"""Checks of lab 5: teacher and re-degradation losses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bfr_lite.codec import AsymmetricCodec
from bfr_lite.degradation import Degradation
from bfr_lite.degradation_params import DegradationParams
from bfr_lite.labs.checking import Check, CheckFailed, draw, shaken
from bfr_lite.presets import preset
from bfr_lite.training.loop import ema_update
from bfr_lite.training.losses import charbonnier, feature_distance

SIZE = 32
COARSE = (4, 8, 16)
NO_GRADIENT = "no gradient reaches the restored face: real JPEG has none. Use `apply_differentiable`."


def check_ema_update(ema_update_: Callable[[nn.Module, nn.Module, float], None]) -> None:
    """Check `ema_update(average, model, decay)`: parameters follow slowly, buffers are copied, no graph is built."""
    check = Check("ema_update", "notebook 06, The average that counts")
    check.own(ema_update_)
    average, model, decay = _norm(0).requires_grad_(False), _norm(1), 0.9
    on = f"a small network, decay {decay}"
    before, latest, wanted = _flat(average), _flat(model), copy.deepcopy(average)
    ema_update(wanted, model, decay)
    check.call(ema_update_, average, model, decay, on=on)
    if not torch.equal(_flat(model), latest):
        check.fail("changes the model: it is the average that follows.")
    if any(parameter.requires_grad for parameter in average.parameters()):
        check.fail("the average has joined the model's graph, which grows with every step: use `torch.no_grad()`.")
    parameters, buffers = list(average.parameters()), list(average.buffers())
    check.same(
        _join(parameters),
        _join(wanted.parameters()),
        on,
        {
            "decay is swapped: the average keeps `decay` of itself and takes 1 − decay of the model.": lambda: _join(
                a + decay * (m - a) for a, m in zip(_norm(0).parameters(), model.parameters(), strict=True)
            ),
            "nothing has changed: `mean = ...` only names a new tensor. Change it in place: `lerp_`, `copy_`.": (
                lambda: before[: sum(p.numel() for p in parameters)]
            ),
            "the average is a copy of the model: it has to move slowly.": lambda: _join(model.parameters()),
        },
    )
    if not torch.equal(_join(buffers), _join(wanted.buffers())):
        if torch.equal(_join(buffers), _join(_norm(0).buffers())):
            check.fail("the buffers are left behind: `average.buffers()` take those of the model, as they are.")
        check.fail("the buffers are averaged: they are no weights, `copy_` those of the model.")
    before = _flat(average)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(1)
    if not torch.equal(_flat(average), before):
        check.fail("the average shares memory with the model, and moves when it does: `copy_` the values.")
    check.passed("follows slowly, with buffers and without a graph")


def _norm(seed: int) -> nn.Module:
    """A small network with parameters and buffers that differ from seed to seed."""
    network = nn.BatchNorm2d(6)
    for tensor in network.state_dict().values():
        tensor.copy_(100 * draw(*tensor.shape, 1, seed=seed).squeeze(-1))
    return network


def _join(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten().float() for tensor in tensors])


def _flat(network: nn.Module) -> Tensor:
    return _join([*network.parameters(), *network.buffers()])


def check_teacher_loss(teacher_loss: Callable[[AsymmetricCodec, AsymmetricCodec, Tensor, Tensor], Tensor]) -> None:
    """Check `teacher_loss(student, teacher, clean, lq)`: the student reads `lq`, the teacher reads `clean`, unmoved."""
    check = Check("teacher_loss", "notebook 06, Signal 2")
    check.own(teacher_loss)
    student, teacher = (shaken(AsymmetricCodec(preset("tiny").codec), seed) for seed in (0, 1))
    clean, lq = draw(2, 3, SIZE, SIZE).sigmoid(), draw(2, 3, SIZE, SIZE, seed=1).sigmoid()
    on = f"two networks and two pictures of {SIZE} px"
    got = check.call(teacher_loss, student, teacher, clean, lq, on=on)
    seen, taught = student.encode(lq), teacher.encode(clean)

    def distance(one: tuple, other: tuple, sizes: Iterable[int] = COARSE) -> Tensor:
        return F.mse_loss(one[0], other[0]) + _features(one, other, sizes)

    check.same(
        got,
        distance(seen, taught),
        on,
        {
            "the teacher sees the damaged face: it is to see the clean one.": lambda: distance(
                seen, teacher.encode(lq)
            ),
            "the student sees the clean face: it has to work from the damaged one.": lambda: distance(
                student.encode(clean), taught
            ),
            "the pictures are swapped: the teacher sees the clean face, the student the damaged one.": lambda: distance(
                student.encode(clean), teacher.encode(lq)
            ),
            "the teacher is not asked: both answers come from the student.": lambda: distance(
                seen, student.encode(clean)
            ),
            "the features are missing: the loss is of codes and of features.": lambda: F.mse_loss(seen[0], taught[0]),
            "the codes are missing: the loss is of codes and of features.": lambda: _features(seen, taught, COARSE),
            "the features are summed over the resolutions: take their mean, as `feature_distance` does.": lambda: (
                F.mse_loss(seen[0], taught[0]) + 3 * _features(seen, taught, COARSE)
            ),
            "features of every resolution are compared: only those of 4, 8 and 16 px are asked for.": lambda: distance(
                seen, taught, seen[1]
            ),
        },
        atol=1e-5,
    )
    _check_who_learns(check, got, distance(seen, _detached(taught)), student, teacher)
    check.passed("the student follows, and the teacher stays where it is")


def _features(one: tuple, other: tuple, sizes: Iterable[int]) -> Tensor:
    return feature_distance([one[1][r] for r in sizes], [other[1][r] for r in sizes])


def _detached(reading: tuple[Tensor, Mapping[int, Tensor]]) -> tuple[Tensor, dict[int, Tensor]]:
    return reading[0].detach(), {r: features.detach() for r, features in reading[1].items()}


def _check_who_learns(check: Check, loss: Tensor, right: Tensor, student: nn.Module, teacher: nn.Module) -> None:
    learning, followed = list(student.parameters()), list(teacher.parameters())
    if not all(parameter.requires_grad for parameter in learning + followed):
        check.fail("freezes a network for everybody who uses it: read the teacher under `torch.no_grad()` instead.")
    if not loss.requires_grad:
        check.fail("no gradient reaches the student: only the teacher is read under `torch.no_grad()`.")
    pulls = torch.autograd.grad(loss, followed, retain_graph=True, allow_unused=True)
    if any(pull is not None for pull in pulls):
        check.fail("the teacher gets gradients: it would come to meet the student. Read it under `torch.no_grad()`.")
    why = "part of the loss reaches nobody: only `teacher.encode` belongs under `torch.no_grad()`, nothing is detached."
    check.learns_alike(loss, right, learning, learning, why)


class _Watched(Degradation):
    """A degradation that tells when new parameters are drawn."""

    def sample(self, batch: int, generator: torch.Generator) -> DegradationParams:
        raise CheckFailed(
            "redegradation_loss: draws new parameters: the damage must be the one that made `lq`, so use `params`. "
            "(See notebook 06, Signal 3.)"
        )


def check_redegradation(
    redegradation_loss: Callable[[Tensor, Tensor, Degradation, DegradationParams, Tensor], Tensor],
) -> None:
    """Check `redegradation_loss(restored, lq, degradation, params, fidelity)`: damaged alike, it gives `lq` back."""
    check = Check("redegradation_loss", "notebook 06, Signal 3")
    check.own(redegradation_loss)
    plain = Degradation.named("gfpgan", SIZE)
    params = plain.sample(3, torch.Generator().manual_seed(0))
    clean, restored = draw(3, 3, SIZE, SIZE).sigmoid(), (0.5 + 0.6 * draw(3, 3, SIZE, SIZE, seed=1)).requires_grad_()
    lq, each_fidelity = plain.apply(clean, params), [0.2, 0.5, 1.0]
    fidelity, on = torch.tensor(each_fidelity), f"three pictures of {SIZE} px, fidelity {each_fidelity}"
    got = check.call(redegradation_loss, restored, lq, _Watched(plain.ranges, SIZE), params, fidelity, on=on)
    again = plain.apply_differentiable(restored.clamp(0, 1), params)
    each = charbonnier(again, lq)
    check.same(
        got,
        (fidelity * each).mean(),
        on,
        {
            NO_GRADIENT: lambda: (
                fidelity * charbonnier(plain.apply(restored.detach().clamp(0, 1), params), lq)
            ).mean(),
            "the loss is not weighed by fidelity: whoever trusts the prior alone is not asked what the input was.": (
                lambda: each.mean()
            ),
            "fidelity weighs the mean: each picture has its own, so multiply before the mean.": lambda: (
                fidelity.mean() * each.mean()
            ),
            "the weight is reversed: at fidelity 1 the input counts in full.": lambda: ((1 - fidelity) * each).mean(),
            "the restored face is not clamped to [0, 1]: no file holds more.": lambda: (
                fidelity * charbonnier(plain.apply_differentiable(restored, params), lq)
            ).mean(),
            "the restored face is compared as it is: damage it first, in the same way.": lambda: (
                fidelity * charbonnier(restored, lq)
            ).mean(),
            "the restored face is only clamped: damage it, too, in the same way.": lambda: (
                fidelity * charbonnier(restored.clamp(0, 1), lq)
            ).mean(),
            "one loss for each picture: return their mean.": lambda: fidelity * each,
            "squared differences: the ruler is `charbonnier`.": lambda: (
                fidelity * (again - lq).square().mean(dim=(1, 2, 3))
            ).mean(),
        },
        atol=1e-5,
    )
    if not got.requires_grad:
        check.fail(NO_GRADIENT)
    why = "the gradient is not that of the loss: clamp the face, damage it and compare, and detach nothing."
    check.learns_alike(got, (fidelity * each).mean(), [restored], [restored], why)
    check.passed("the same damage, weighed by fidelity, with gradients")


def check_total_loss(
    total_loss: Callable[[Mapping[str, Callable[[], Tensor]], Mapping[str, float]], Tensor],
) -> None:
    """Check `total_loss(terms, weights)`: the weighted sum; a term of weight 0 is not computed."""
    check = Check("total_loss", "notebook 06, Each signal has a switch")
    check.own(total_loss)
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    weights = {"pixel": 20.0, "teacher": 0.2, "redegradation": 5.0}
    powers = {"pixel": 1, "teacher": 2, "redegradation": 3}
    terms = {name: lambda power=power: x.pow(power).mean() for name, power in powers.items()}
    on = f"weights {weights}"
    got = check.call(total_loss, terms, weights, on=on)
    values = torch.stack([term() for term in terms.values()])
    each = torch.tensor(list(weights.values()))
    wanted = (values * each).sum()
    check.same(
        got,
        wanted,
        on,
        {
            "the terms are not weighed.": values.sum,
            "it takes the mean of the weighted terms: take their sum.": lambda: (values * each).mean(),
            "the sum is divided by the sum of the weights: weights are not shares.": lambda: wanted / each.sum(),
            "it divides by the weights: multiply.": lambda: (values / each).sum(),
        },
    )
    if not got.requires_grad:
        check.fail("the sum has lost its gradient: add tensors, not `.item()`.")

    def too_much() -> Tensor:
        raise CheckFailed(
            "total_loss: computes `teacher` although its weight is 0: a term that is off should cost nothing. "
            "(See notebook 06, Each signal has a switch.)"
        )

    off = check.call(total_loss, terms | {"teacher": too_much}, weights | {"teacher": 0.0}, on="teacher's weight 0")
    check.same(off, wanted - values[1] * each[1], "teacher's weight 0")
    check.passed("a weighted sum, and a term of weight 0 costs nothing")
