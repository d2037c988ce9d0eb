"""Checks of lab 1: the degradation pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bfr_lite.blur import blur, gaussian_kernels
from bfr_lite.degradation import Degradation, low_size
from bfr_lite.degradation_params import DegradationParams, DegradationRanges
from bfr_lite.images import resize
from bfr_lite.jpeg import jpeg
from bfr_lite.labs.checking import Check, draw

JPEG_ATOL = 2 / 255  # what a last bit before JPEG may become after it


def add_noise(images: Tensor, sigma: float, seed: int) -> Tensor:
    """(B, 3, H, W) in [0, 1] plus Gaussian noise of `sigma` grey levels of 255 from `seed`, clamped to [0, 1]."""
    return (images + sigma / 255 * draw(*images.shape, seed=seed)).clamp(0, 1)


def check_gaussian_kernel(gaussian_kernel: Callable[[float, float, float, int], Tensor]) -> None:
    """Check `gaussian_kernel(sigma_x, sigma_y, angle, radius)`: (2 radius + 1, 2 radius + 1), its sum 1."""
    check = Check("gaussian_kernel", "notebook 01, Blur")
    check.own(gaussian_kernel)
    for shape in ((1.5, 1.5, 0.0), (3.0, 1.0, 0.0), (3.0, 1.0, 0.5)):
        _check_kernel(check, gaussian_kernel, *shape, radius=math.ceil(4 * max(shape)))
    for radius in (7, 20):
        _check_kernel(check, gaussian_kernel, 3.0, 1.0, 0.5, radius, atol=1e-3)
    check.passed("sums to 1, has the right widths and turns the right way")


def _check_kernel(
    check: Check, kernel: Callable, sigma_x: float, sigma_y: float, angle: float, radius: int, atol: float = 1e-4
) -> None:
    on = f"sigma_x={sigma_x}, sigma_y={sigma_y}, angle={angle}, radius={radius}"

    def bell(sigma_x: float, sigma_y: float, angle: float) -> Tensor:
        """The package's kernel, continued or cut to the radius that was asked for."""
        made = gaussian_kernels(*(torch.tensor([value]) for value in (sigma_x, sigma_y, angle)))[0]
        spare = radius - made.shape[-1] // 2
        cut = F.pad(made, (spare,) * 4)
        return cut / cut.sum()

    wanted = bell(sigma_x, sigma_y, angle)
    got = check.call(kernel, sigma_x, sigma_y, angle, radius, on=on)
    if isinstance(got, Tensor) and got.shape == wanted.shape and abs(got.sum().item() - 1) > 1e-4:
        check.fail(
            f"the kernel sums to {got.sum().item():.4g}, not to 1, on {on}: it would change the brightness of a "
            "picture. Divide it by its sum."
        )
    check.same(
        got,
        wanted,
        on,
        {
            "x and y are swapped (the kernel is transposed): with `indexing='ij'` the first grid that `torch.meshgrid` "
            "returns grows downwards, it is y.": lambda: wanted.T,
            "the kernel turns the wrong way: along is cos·x + sin·y, across is cos·y − sin·x.": lambda: wanted.flip(0),
            "the angle is in radians already.": lambda: bell(sigma_x, sigma_y, math.radians(angle)),
            "sigma is a width: square it, or divide x by sigma before you square.": lambda: bell(
                sigma_x**0.5, sigma_y**0.5, angle
            ),
            "the ½ in the exponent is missing.": lambda: bell(sigma_x / 2**0.5, sigma_y / 2**0.5, angle),
        },
        atol=atol,
    )


def check_add_noise(add_noise_: Callable[[Tensor, float, int], Tensor]) -> None:
    """Check `add_noise(images, sigma, seed)`: Gaussian, in grey levels of 255, repeatable, clamped."""
    check = Check("add_noise", "notebook 01, Noise")
    check.own(add_noise_)
    images, sigma, seed = draw(2, 3, 7, 9).sigmoid(), 60.0, 3  # odd, or pictures drawn one by one would get the same
    on = f"images of shape {tuple(images.shape)}, sigma={sigma}, seed={seed}"
    state = torch.get_rng_state()
    got = check.call(add_noise_, images, sigma, seed, on=on)
    if not torch.equal(torch.get_rng_state(), state):
        torch.set_rng_state(state)
        check.fail(
            "draws from PyTorch's global random numbers. Make a generator of your own, "
            "`torch.Generator().manual_seed(seed)`, and hand it to `torch.randn`."
        )
    pattern = draw(*images.shape, seed=seed)
    flat = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
    rng = torch.Generator().manual_seed(seed)
    apart = torch.stack([torch.randn(images.shape[1:], generator=rng) for _ in images])
    check.same(
        got,
        add_noise(images, sigma, seed),
        on,
        {
            "sigma is in grey levels of 255: divide it by 255.": lambda: (images + sigma * pattern).clamp(0, 1),
            "the result leaves [0, 1]: clamp it.": lambda: images + sigma / 255 * pattern,
            "the noise is uniform; `torch.randn` draws Gaussian noise.": lambda: (images + sigma / 255 * flat).clamp(
                0, 1
            ),
            "the noise is uniform, if centred; `torch.randn` draws Gaussian noise.": lambda: (
                images + sigma / 255 * (2 * flat - 1)
            ).clamp(0, 1),
            "the noise is drawn picture by picture: draw that of the whole batch in one call.": lambda: (
                images + sigma / 255 * apart
            ).clamp(0, 1),
            "`seed` is not used.": lambda: add_noise(images, sigma, 0),
            "every picture gets the same noise: draw a pattern of the shape of `images`.": lambda: (
                images + sigma / 255 * draw(*images.shape[1:], seed=seed)
            ).clamp(0, 1),
        },
    )
    check.passed("Gaussian, in the right unit, the same from the same seed, clamped")


def check_damage(damage: Callable[[Tensor, Tensor, float, float, int, int], Tensor]) -> None:
    """Check `damage(image, kernel, down, noise, quality, seed)`: blur, shrink, noise, JPEG, enlarge, in that order."""
    check = Check("damage", "notebook 01, The chain")
    check.own(damage)
    for size, down, seed in ((64, 2.3, 5), (48, 3.0, 6)):
        _check_damage(check, damage, size, make_params(sigma=2.0, down=down, noise=12.0, quality=40, seed=seed))
    check.passed("five stages in the right order")


def _check_damage(check: Check, damage: Callable, size: int, one: DegradationParams) -> None:
    image = resize(draw(1, 3, 8, 8).sigmoid(), size)
    kernel = gaussian_kernels(one.sigma_x, one.sigma_y, one.angle)
    settings = (one.down.item(), one.noise.item(), one.quality.item(), one.seed.item())
    down, noise, quality, seed = settings
    on = f"an image of {size} px, down={down:g}, noise={noise:g}, quality={quality}, seed={seed}"
    stages = {
        "blur": lambda x: blur(x, kernel),
        "shrink": lambda x: resize(x, low_size(size, down)),
        "cut": lambda x: resize(x, int(size / down)),
        "noise": lambda x: add_noise(x, noise, seed),
        "jpeg": lambda x: jpeg(x, quality),
        "enlarge": lambda x: resize(x, size),
        "repeat": lambda x: F.interpolate(x, size),
    }

    def chain(order: str) -> Callable[[], Tensor]:
        def run() -> Tensor:
            x = image
            for name in order.split():
                x = stages[name](x)
            return x

        return run

    check.same(
        check.call(damage, image, kernel, *settings, on=on),
        Degradation(DegradationRanges(), size).apply(image, one),
        on,
        {
            "the order is wrong: it shrinks before it blurs.": chain("shrink blur noise jpeg enlarge"),
            "the order is wrong: noise comes after JPEG. A sensor adds noise before any file is written.": chain(
                "blur shrink jpeg noise enlarge"
            ),
            "the order is wrong: noise comes before shrinking, which averages it away.": chain(
                "blur noise shrink jpeg enlarge"
            ),
            "the order is wrong: noise comes before blur.": chain("noise blur shrink jpeg enlarge"),
            "the order is wrong: it enlarges before JPEG, so the blocks come out too small.": chain(
                "blur shrink noise enlarge jpeg"
            ),
            "the order is wrong: noise and JPEG come after enlarging.": chain("blur shrink enlarge noise jpeg"),
            "the size in between is cut down to a whole number: `low_size(side, down)` rounds.": chain(
                "blur cut noise jpeg enlarge"
            ),
            "the blur is missing.": chain("shrink noise jpeg enlarge"),
            "the noise is missing.": chain("blur shrink jpeg enlarge"),
            "JPEG is missing.": chain("blur shrink noise enlarge"),
            "the picture stays small: enlarge it to its old size at the end.": chain("blur shrink noise jpeg"),
            "it enlarges by repeating pixels: use `resize`.": chain("blur shrink noise jpeg repeat"),
        },
        atol=JPEG_ATOL,
        share=0.95,
    )


def make_params(sigma: float, down: float, noise: float, quality: int, seed: int) -> DegradationParams:
    """Parameters for one picture: round blur of `sigma` pixels, no change of colour."""
    return DegradationParams(
        sigma_x=torch.tensor([sigma]),
        sigma_y=torch.tensor([sigma]),
        angle=torch.zeros(1),
        down=torch.tensor([down]),
        noise=torch.tensor([noise]),
        quality=torch.tensor([quality]),
        shift=torch.zeros(1, 3),
        grey=torch.tensor([False]),
        seed=torch.tensor([seed]),
    )


def check_round_straight_through(round_straight_through: Callable[[Tensor], Tensor]) -> None:
    """Check `round_straight_through(values)`: rounded on the way forward, the identity on the way back."""
    check = Check("round_straight_through", "notebook 01, A JPEG that gradients can cross")
    check.own(round_straight_through)
    values = (3 * draw(3, 7)).requires_grad_()
    on = f"values of shape {tuple(values.shape)}"
    got = check.call(round_straight_through, values, on=on)
    check.same(
        got,
        values.round(),
        on,
        {
            "the values come out unrounded: detach the difference of `rounded` and `values`, and add it to `values`.": (
                lambda: values
            ),
            "it rounds down: `Tensor.round` goes to the nearest.": values.floor,
            "this is a smooth rounding: its values are not whole numbers, and its slope is 0 where they are.": lambda: (
                values.round() + (values - values.round()) ** 3
            ),
        },
    )
    pull, none = draw(3, 7, seed=1), torch.zeros_like(values)
    if not got.requires_grad:
        check.fail("no gradient comes back: too much is detached. `values` itself must stay in the graph.")
    (gradient,) = torch.autograd.grad((got * pull).sum(), values, allow_unused=True)
    check.same(
        none if gradient is None else gradient,
        pull,
        f"the gradient for {on}",
        {
            "the gradient is 0: rounding is a staircase, flat almost everywhere. Pass the gradient around it.": (
                lambda: none
            ),
        },
    )
    check.passed("rounds, and hands gradients on as they come")
