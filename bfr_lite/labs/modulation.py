"""Checks of lab 3: the modulated convolution."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bfr_lite.labs.checking import Check, draw
from bfr_lite.layers import ModulatedConv, scaled_leaky_relu

SEE = "notebook 04, Style"
EPSILON = 1e-8


def check_modulate(modulate: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check `modulate(weight, style)`: (O, I, k, k), (B, I) -> (B, O, I, k, k)."""
    check = Check("modulate", SEE)
    check.own(modulate)
    # Square first: there a style on the wrong axis raises no error, and its message can be a better one.
    for outputs, inputs in ((4, 4), (3, 5)):
        weight, style = draw(outputs, inputs, 3, 3), draw(2, inputs, seed=1)
        _check_modulate(check, modulate, weight, style)
    check.passed("one kernel for each picture, its input channels scaled")


def _check_modulate(check: Check, modulate: Callable, weight: Tensor, style: Tensor) -> None:
    on = f"weight {tuple(weight.shape)}, style {tuple(style.shape)}"
    wanted = _modulated(weight, style)
    check.same(
        check.call(modulate, weight, style, on=on),
        wanted,
        on,
        {
            "the style scales the output channels; it belongs to the input channels, the third axis of "
            "(B, out, in, k, k).": lambda: weight * style[:, :, None, None, None],
            "the style is a factor itself, not a correction: no 1 + style.": lambda: _modulated(weight, 1 + style),
            "every picture gets the style of the first.": lambda: _modulated(weight, style[:1]).expand_as(wanted),
            "the batch axis is missing: every picture has a style, and so a kernel, of its own.": lambda: wanted[0],
            "the styles of the batch are mixed: every picture has its own.": lambda: _modulated(
                weight, style.mean(dim=0, keepdim=True).expand_as(style)
            ),
        },
    )


def _modulated(weight: Tensor, style: Tensor) -> Tensor:
    return weight * style[:, None, :, None, None]


def check_demodulate(demodulate: Callable[[Tensor], Tensor]) -> None:
    """Check `demodulate(weights)`: (B, O, I, k, k), each output channel's kernel brought to unit norm."""
    check = Check("demodulate", SEE)
    check.own(demodulate)
    weights = draw(2, 4, 4, 3, 3)
    silent = weights.clone()
    silent[0, 1] = 0
    for given, on in (
        (weights, "weights of shape (2, 4, 4, 3, 3)"),
        (silent, "weights with one kernel that is all zeros"),
        (1e-4 * weights, "very small weights"),
    ):
        _check_demodulate(check, demodulate, given, on)
    check.passed("unit norm for each picture and output channel, and no division by zero")


def _check_demodulate(check: Check, demodulate: Callable, weights: Tensor, on: str) -> None:
    def power(*axes: int) -> Tensor:
        return weights.square().sum(dim=axes, keepdim=True)

    wanted = weights * (power(2, 3, 4) + EPSILON).rsqrt()
    check.same(
        check.call(demodulate, weights, on=on),
        wanted,
        on,
        {
            "epsilon belongs under the root.": lambda: weights / (power(2, 3, 4).sqrt() + EPSILON),
            "epsilon is missing: a kernel of zeros is divided by zero.": lambda: weights * power(2, 3, 4).rsqrt(),
            "the sum runs over output channels: it belongs to one output channel, and runs over its inputs and over "
            "the k×k places.": lambda: weights * (power(1, 3, 4) + EPSILON).rsqrt(),
            "the sum runs over the k×k places alone: it must run over the input channels, too.": lambda: (
                weights * (power(3, 4) + EPSILON).rsqrt()
            ),
            "one norm for all output channels: each has its own.": lambda: (
                weights * (power(1, 2, 3, 4) + EPSILON).rsqrt()
            ),
            "one norm for the whole batch: each picture has its own.": lambda: (
                weights * (power(0, 2, 3, 4) + EPSILON).rsqrt()
            ),
            "the square root is missing: divide by the norm, not by its square.": lambda: (
                weights / (power(2, 3, 4) + EPSILON)
            ),
            "it multiplies by the norm: divide.": lambda: weights * (power(2, 3, 4) + EPSILON).sqrt(),
            "it takes the mean of the squares: take their sum.": lambda: (
                weights * (weights.square().mean(dim=(2, 3, 4), keepdim=True) + EPSILON).rsqrt()
            ),
        },
    )


def check_modulated_conv(modulated_conv: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Check `modulated_conv(x, weight, style)`: (B, I, H, W), (O, I, k, k), (B, I) -> (B, O, H, W), demodulated."""
    check = Check("modulated_conv", SEE)
    check.own(modulated_conv)
    style = draw(3, 4, seed=1)
    silent = style.clone()
    silent[1] = 0
    for kernel, outputs, given, what in (
        (3, 4, style, ""),
        (3, 4, silent, ", the second style all zeros"),
        (1, 4, style, ""),
        (3, 6, style, ""),
    ):
        weight = draw(outputs, 4, kernel, kernel, seed=2)
        _check_modulated_conv(check, modulated_conv, draw(3, 4, 5, 7), weight, given, what)
    check.passed("equals bfr_lite.layers.ModulatedConv")


def package_conv(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
    """The package's `ModulatedConv` on plain tensors: (B, I, H, W), (O, I, k, k), (B, I) -> (B, O, H, W)."""
    outputs, inputs, kernel, _ = weight.shape
    layer = ModulatedConv(inputs, outputs, kernel, w_dim=inputs).to(weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight / layer.gain)
        layer.affine.weight.copy_(torch.eye(inputs) / layer.affine.weight_gain)
        layer.affine.bias.zero_()
        return layer(x, style)


def _check_modulated_conv(check: Check, answer: Callable, x: Tensor, weight: Tensor, style: Tensor, what: str) -> None:
    on = f"x {tuple(x.shape)}, weight {tuple(weight.shape)}, style {tuple(style.shape)}{what}"
    side, square = weight.shape[-1] // 2, weight.shape[0] == weight.shape[1]
    taps = weight.square().sum(dim=(2, 3))
    power = style.square() @ taps.T
    plain = F.conv2d(x * style[:, :, None, None], weight, padding=side)
    on_outputs = F.conv2d(x, weight, padding=side)

    def divided(y: Tensor, by: Tensor) -> Tensor:
        return y * by.rsqrt()[:, :, None, None]

    mistakes = {
        "demodulation is missing.": lambda: plain,
        "epsilon is missing in the demodulation: a style of zeros is divided by zero.": lambda: divided(plain, power),
        "the demodulation forgets the style: the norm is that of the *modulated* kernel.": lambda: divided(
            plain, taps.sum(dim=1).expand_as(power) + EPSILON
        ),
        "the demodulation forgets to square the style.": lambda: divided(plain, style @ taps.T + EPSILON),
        "the square root is missing in the demodulation.": lambda: plain / (power + EPSILON)[:, :, None, None],
        "every picture gets the style of the first.": lambda: package_conv(x, weight, style[:1].expand_as(style)),
        "the style is in it twice: where the input is scaled, the kernel is the plain `weight`.": lambda: divided(
            F.conv2d(x * style.square()[:, :, None, None], weight, padding=side), power + EPSILON
        ),
        "the picture shrinks: pad by k // 2.": lambda: divided(
            F.conv2d(x * style[:, :, None, None], weight), power + EPSILON
        ),
    }
    if square:  # elsewhere a style on the outputs is an error of shapes
        mistakes |= {
            "the style scales the output channels: it belongs to the input.": lambda: (
                on_outputs * style[:, :, None, None]
            ),
            "the style scales the output channels, and only the demodulation is right: scale the input.": lambda: (
                divided(on_outputs * style[:, :, None, None], power + EPSILON)
            ),
        }
    check.same(check.call(answer, x, weight, style, on=on), package_conv(x, weight, style), on, mistakes)


def check_finish_layer(finish_layer: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Check `finish_layer(x, noise, strength, bias)`: noise and bias are added, then the scaled leaky ReLU."""
    check = Check("finish_layer", "notebook 04, Noise")
    check.own(finish_layer)
    for noise in (draw(5, 6, seed=1), draw(2, 1, 5, 6, seed=1)):
        _check_finish_layer(check, finish_layer, noise)
    check.passed("noise, bias and activation in the right order")


def _check_finish_layer(check: Check, finish_layer: Callable, noise: Tensor) -> None:
    # As many columns as channels: a bias on the wrong axis raises no error.
    x, strength, bias = draw(2, 6, 5, 6), torch.tensor(0.5), draw(6, seed=2)
    on = f"x {tuple(x.shape)}, noise {tuple(noise.shape)}, strength {strength:g}, bias {tuple(bias.shape)}"
    column = bias[:, None, None]
    loud, whole = x + strength * noise, x + strength * noise + column
    check.same(
        check.call(finish_layer, x, noise, strength, bias, on=on),
        scaled_leaky_relu(whole),
        on,
        {
            "the factor √2 is missing: without it every layer grows quieter.": lambda: F.leaky_relu(whole, 0.2),
            "the slope of the leaky ReLU is 0.2 here, PyTorch's own is 0.01.": lambda: F.leaky_relu(whole) * 2**0.5,
            "the bias is added along the columns: it has one number a channel, so shape (C, 1, 1).": lambda: (
                scaled_leaky_relu(loud + bias)
            ),
            "the bias comes after the activation: it belongs before.": lambda: scaled_leaky_relu(loud) + column,
            "the noise comes after the activation: it belongs before.": lambda: (
                scaled_leaky_relu(x + column) + strength * noise
            ),
            "`strength` is not used.": lambda: scaled_leaky_relu(x + noise + column),
            "the noise is not used.": lambda: scaled_leaky_relu(x + column),
            "the bias is not used.": lambda: scaled_leaky_relu(loud),
        },
    )
