"""The other implementations that `speed.py` times: two StyleGAN2 generators and three ways to write the degradation.

Each function gives a callable, or raises ImportError where its package is not installed (`make bench` installs them).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from unittest import mock

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from bfr_lite.degradation import low_size
from bfr_lite.degradation_params import DegradationParams
from bfr_lite.stylegan2 import GANConfig

Draw = Callable[[int], Tensor]  # batch -> pictures


def labml(config: GANConfig) -> tuple[nn.Module, Draw]:
    """The generator of labml_nn at the channels of `config`, and a function that draws with it."""
    stylegan = importlib.import_module("labml_nn.gan.stylegan")
    network = stylegan.Generator(
        config.size.bit_length() - 1, config.w_dim, config.channels(config.size), config.channel_max
    )
    rng = torch.Generator().manual_seed(0)

    def draw(batch: int) -> Tensor:
        w = torch.randn(network.n_blocks, batch, config.w_dim, generator=rng)
        noise = [
            tuple(torch.randn(batch, 1, r, r, generator=rng) for _ in range(2))
            for r in (4 * 2**level for level in range(network.n_blocks))
        ]
        return network(w, noise)

    return network, draw


def lucidrains(config: GANConfig) -> tuple[nn.Module, Draw]:
    """The generator of stylegan2_pytorch at the channels of `config`, and a function that draws with it."""
    module = _stylegan2_pytorch()
    last = config.channels(config.size)
    network = module.Generator(config.size, config.w_dim, network_capacity=last // 2, fmap_max=config.channel_max)
    rng = torch.Generator().manual_seed(0)

    def draw(batch: int) -> Tensor:
        styles = torch.randn(batch, network.num_layers, config.w_dim, generator=rng)
        return network(styles, torch.randn(batch, config.size, config.size, 1, generator=rng))

    return network, draw


def _stylegan2_pytorch() -> ModuleType:
    """The module alone. It asks for a GPU and loads a logger and a training shell on import; its generator needs none.

    So it is told that there is a GPU while it loads, and gets empty modules for what the generator does not use.
    """
    name = "stylegan2_pytorch.stylegan2_pytorch"
    if name in sys.modules:
        return sys.modules[name]
    unused = ("aim", "fire", "vector_quantize_pytorch", "torchvision", "stylegan2_pytorch.diff_augment")
    stand_ins = {missing: mock.MagicMock(__spec__=None) for missing in unused}
    with mock.patch.dict(sys.modules, stand_ins), mock.patch("torch.cuda.is_available", return_value=True):
        module = importlib.import_module(name)
    sys.modules[name] = module
    return module


def grouped(layer: nn.Module, x: Tensor, w: Tensor) -> Tensor:
    """The textbook form of `layers.ModulatedConv`: scale the weights, convolve with one group a picture."""
    style = layer.affine(w)
    weight = layer.weight * layer.gain * style[:, None, :, None, None]
    weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    batch, _, height, width = x.shape
    out = nn.functional.conv2d(x.reshape(1, -1, height, width), weight.flatten(0, 1), padding=1, groups=batch)
    return out.view(batch, -1, height, width)


# The degradation, one picture (H, W, 3) uint8 RGB at a time, by the parameters that our pipeline uses.


def _kernel_size(one: DegradationParams) -> int:
    return 2 * int(np.ceil(4 * max(one.sigma_x.item(), one.sigma_y.item()))) + 1


def opencv(picture: np.ndarray, one: DegradationParams) -> np.ndarray:
    """The stages by OpenCV: kernel, area shrink, noise, JPEG, bicubic enlarge in float, colour."""
    cv2.setNumThreads(1)
    side = picture.shape[0]
    size = _kernel_size(one)
    steps = np.arange(size, dtype=np.float32) - size // 2
    y, x = np.meshgrid(steps, steps, indexing="ij")
    cos, sin = np.cos(one.angle.item()), np.sin(one.angle.item())
    along, across = (cos * x + sin * y) / one.sigma_x.item(), (cos * y - sin * x) / one.sigma_y.item()
    kernel = np.exp(-(along**2 + across**2) / 2)
    image = cv2.filter2D(picture.astype(np.float32) / 255, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    low = low_size(side, one.down.item())
    image = cv2.resize(image, (low, low), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(one.seed.item()).standard_normal(image.shape, dtype=np.float32)
    image = ((image + one.noise.item() / 255 * noise).clip(0, 1) * 255).round().astype(np.uint8)
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, one.quality.item()])
    image = cv2.imdecode(code, cv2.IMREAD_COLOR).astype(np.float32) / 255
    image = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    if one.shift.any():
        image = (image + one.shift.numpy() / 255).clip(0, 1)
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) if one.grey.any() else image


def albumentations(size: int) -> Callable[[np.ndarray, DegradationParams], np.ndarray]:
    """The stages by albumentations: AdvancedBlur, Resize, GaussNoise, ImageCompression, Resize, RGBShift, ToGray.

    All in 8 bits, which is faster than in float.
    """
    library = importlib.import_module("albumentations")
    cv2.setNumThreads(1)

    def degrade(picture: np.ndarray, one: DegradationParams) -> np.ndarray:
        low, quality = low_size(size, one.down.item()), one.quality.item()
        sigmas, std = (one.sigma_x.item(), one.sigma_y.item()), one.noise.item() / 255
        blur = library.AdvancedBlur(
            blur_limit=(_kernel_size(one),) * 2,
            sigma_x_limit=(sigmas[0],) * 2,
            sigma_y_limit=(sigmas[1],) * 2,
            p=1,
        )
        stages = [
            blur,
            library.Resize(low, low, interpolation=cv2.INTER_AREA),
            library.GaussNoise(std_range=(std, std), p=1),
            library.ImageCompression(quality_range=(quality, quality), p=1),
            library.Resize(size, size, interpolation=cv2.INTER_CUBIC),
        ]
        if one.shift.any():
            stages.append(library.RGBShift(*((value, value) for value in one.shift[0].tolist()), p=1))
        if one.grey.any():
            stages.append(library.ToGray(p=1))
        return library.Compose(stages)(image=picture)["image"]

    return degrade


def kornia(pictures: Tensor, params: DegradationParams) -> Tensor:
    """The stages by kornia: own Gaussian each, resize, noise, differentiable JPEG (it has no other), resize, colour."""
    color = importlib.import_module("kornia.color")
    enhance = importlib.import_module("kornia.enhance")
    filters = importlib.import_module("kornia.filters")
    geometry = importlib.import_module("kornia.geometry.transform")
    side, done = pictures.shape[-1], []
    for picture, one in zip(pictures.split(1), params, strict=True):
        sigmas = torch.stack([one.sigma_y, one.sigma_x], dim=1)
        image = filters.gaussian_blur2d(picture, _kernel_size(one), sigmas)
        low = low_size(side, one.down.item())
        image = geometry.resize(image, (low, low), interpolation="bicubic", antialias=True)
        rng = torch.Generator().manual_seed(one.seed.item())
        image = (image + one.noise.item() / 255 * torch.randn(image.shape, generator=rng)).clamp(0, 1)
        padded = nn.functional.pad(image, (0, -low % 16, 0, -low % 16), mode="replicate")
        image = enhance.jpeg_codec_differentiable(padded, one.quality.float())[..., :low, :low]
        image = geometry.resize(image, (side, side), interpolation="bicubic").clamp(0, 1)
        if one.shift.any():
            image = (image + one.shift[:, :, None, None] / 255).clamp(0, 1)
        done.append(color.rgb_to_grayscale(image).expand_as(image) if one.grey.any() else image)
    return torch.cat(done)
