"""The layers StyleGAN2 is made of: equalised learning rate, modulated convolution, [1, 3, 3, 1] resampling."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTER = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def to_zero_one(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return x * 0.5 + 0.5


def to_minus_one_one(x: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return x * 2 - 1


def full_precision(x: Tensor) -> torch.autocast:
    """A context in which mixed precision is off: for styles, pictures and scores, where half precision shows.

    StyleGAN2-ADA keeps the same parts in float32. They cost little; `x` only tells the device.
    """
    return torch.autocast(x.device.type, enabled=False)


def at_least_float32(x: Tensor) -> Tensor:
    """`x` with 32 bits or more: pictures computed in 16 are off by whole grey levels."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU (slope 0.2) times sqrt(2), which keeps the variance of N(0, 1) inputs near one."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def fir(x: Tensor, pad: int, gain: float = 1.0, stride: int = 1) -> Tensor:
    """Filter every channel of (B, C, H, W) with [1, 3, 3, 1] / 8 along both axes, `pad` zeros at each border.

    `stride` 2 computes only the pixels that a halving keeps. One pass with 16 taps: two passes with 4 multiply less,
    but go over the memory twice, and that is what takes the time.
    """
    kernel = x.new_tensor(FILTER) * math.sqrt(gain)
    kernel = (kernel[:, None] * kernel).repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(x, kernel, padding=pad, stride=stride, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Double height and width of (B, C, H, W): zeros between the pixels, then the filter with gain 4."""
    kernel = 2 * x.new_tensor(FILTER)
    kernel = (kernel[:, None] * kernel).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def upsample_bilinear(x: Tensor) -> Tensor:
    """Double height and width of (B, C, H, W) by linear interpolation, as networks do that avoid the filter."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def downsample(x: Tensor) -> Tensor:
    """Halve height and width of (B, C, H, W) with the filter, so that fine stripes fade instead of aliasing."""
    with full_precision(x):  # for speed: a CPU's depthwise convolution with a stride is slow in bfloat16
        return fir(at_least_float32(x), pad=1, stride=2).to(x.dtype)


def apply_condition(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Spatial feature transform on the second half of the channels; the first half stays the prior's own."""
    kept, changed = x.tensor_split([x.shape[1] - scale.shape[1]], dim=1)
    return torch.cat([kept, changed * (1 + scale) + shift], dim=1)


class EqualLinear(nn.Module):
    """Fully connected layer with equalised learning rate: weights ~ N(0, 1), scaled by 1/sqrt(fan_in) at run time."""

    def __init__(
        self, fan_in: int, fan_out: int, lr_multiplier: float = 1.0, activate: bool = False, bias_init: float = 0.0
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(fan_out, fan_in))
        self.bias = nn.Parameter(torch.full((fan_out,), float(bias_init)))
        self.lr_multiplier = lr_multiplier
        self.weight_gain = lr_multiplier / math.sqrt(fan_in)
        self.bias_gain = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            x = F.linear(x.to(self.weight.dtype), self.weight * self.weight_gain, self.bias * self.bias_gain)
        return scaled_leaky_relu(x) if self.activate else x


class ConvAct(nn.Module):
    """Equalised convolution of the discriminator, with optional halving before it and leaky ReLU after it."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, down: bool = False, activate: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if activate else None
        self.gain = 1 / math.sqrt(in_channels * kernel**2)
        self.padding = kernel // 2
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight * self.gain, self.bias
        if bias is not None:  # the factor of `scaled_leaky_relu`: dearer after the convolution than inside it
            weight, bias = weight * math.sqrt(2), bias * math.sqrt(2)
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=self.padding)
        elif self.padding:
            x = F.conv2d(fir(x, pad=2), weight, bias, stride=2)
        else:
            x = F.conv2d(downsample(x), weight, bias)
        return x if bias is None else F.leaky_relu_(x, 0.2)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style (StyleGAN2, equations 1 and 3).

    The textbook form scales the weights and needs a grouped convolution, one group a picture. Scaling the input by
    the style and the output by the demodulation factor around one ordinary convolution is the same arithmetic. It can
    keep the channels of a pixel together in memory (channels_last), which a CPU convolves faster.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        w_dim: int,
        demodulate: bool = True,
        up: bool = False,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, kernel, kernel))
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.gain = 1 / math.sqrt(in_channels * kernel**2)
        self.padding = kernel // 2
        self.demodulate = demodulate
        self.up = up

    def forward(self, x: Tensor, w: Tensor, added: Tensor | None = None, factor: float = 1.0) -> Tensor:
        """x (B, in, H, W), w (B, w_dim) -> (B, out, H, W), twice the size when `up`.

        The result is multiplied by `factor`; `added`, (1 or B, out, H, W), joins it in the same pass over the memory.
        """
        style = self.affine(w)
        weight = self.weight * self.gain
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            x = fir(x, pad=1, gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=self.padding)
        if not self.demodulate:
            return x * factor if added is None else added + x * factor
        with full_precision(x):
            scale = factor * (style.square() @ weight.square().sum(dim=(2, 3)).T + 1e-8).rsqrt()
        scale = scale[:, :, None, None].to(x.dtype)
        return x * scale if added is None else torch.addcmul(added.to(x.dtype), x, scale)


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` that leaves the global random generator alone; `draw_weights` fills it."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class EqualConv2d(Conv2d):
    """A convolution that starts at zero and learns at the pace of its fan-in (equalised learning rate).

    Adam moves every weight by about its learning rate in the first steps, however small the gradient; where many
    inputs add up that is a leap. Scaling the weights at run time keeps the leap small.
    """

    def forward(self, x: Tensor) -> Tensor:
        gain = 1 / math.sqrt(self.in_channels * self.kernel_size[0] * self.kernel_size[1])
        return self._conv_forward(x, self.weight * gain, self.bias)


def draw_weights(module: nn.Module, generator: torch.Generator | None) -> None:
    """Fill every plain `Conv2d` inside `module` with He's normal weights, drawn from `generator` or seed 0."""
    generator = generator or torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, Conv2d) and not isinstance(layer, EqualConv2d):
            nn.init.kaiming_normal_(layer.weight, a=0.2, generator=generator)
