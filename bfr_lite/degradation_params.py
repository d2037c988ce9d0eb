"""What a degradation may be (ranges) and what it was (parameters)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor


class DegradationError(ValueError):
    """Degradation ranges or parameters that cannot be used; the message says what would work."""


@dataclass(frozen=True)
class DegradationRanges:
    """What `Degradation.sample` draws from, uniformly between (low, high), in published units.

    `blur`: Gaussian sigma in pixels of a 512 px picture, at most 100. `down`: shrink factor, at least 0.1.
    `noise`: Gaussian sigma in 1/255. `jpeg`: quality 1 to 100, or None for no JPEG. `isotropic`: share of
    round kernels. `shift`: each colour moves by up to this many 1/255, in a share `shift_share` of pictures;
    `grey_share` of them lose all colour.
    """

    blur: tuple[float, float] = (0.0, 0.0)
    down: tuple[float, float] = (1.0, 1.0)
    noise: tuple[float, float] = (0.0, 0.0)
    jpeg: tuple[int, int] | None = None
    isotropic: float = 0.5
    shift: float = 0.0
    shift_share: float = 0.0
    grey_share: float = 0.0

    def __post_init__(self) -> None:
        limits = {"blur": (0, 100), "down": (0.1, math.inf), "noise": (0, 255), "jpeg": (1, 100)}
        for name, (least, most) in limits.items():
            given = getattr(self, name)
            if given is not None and not least <= given[0] <= given[1] <= most:
                raise DegradationError(f"{name} must be (low, high) with {least} <= low <= high <= {most}, got {given}")
        for name in ("isotropic", "shift_share", "grey_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise DegradationError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


# Wang et al. 2021 (GFPGAN), its training code; Zhou et al. 2022 (CodeFormer), stage 2; Lin et al. 2023 (DiffBIR),
# stage 1, which is for pictures of any kind (its face model takes DifFace's). With "none" a restorer is shown that a
# clean face is to be left alone, with "shrunk" one that was only small in its photo: the most common damage of all, and
# without blur, noise or JPEG outside the published ranges.
NAMED_RANGES = {
    "none": DegradationRanges(),
    "shrunk": DegradationRanges(down=(1, 16)),
    "gfpgan": DegradationRanges((0.1, 10), (0.8, 8), (0, 20), (60, 100), 0.5, 20, 0.3, 0.01),
    "codeformer": DegradationRanges((1, 15), (4, 30), (0, 20), (30, 80)),
    "diffbir": DegradationRanges((0.1, 12), (1, 12), (0, 15), (30, 100)),
}


@dataclass(frozen=True, eq=False, repr=False)
class DegradationParams:
    """What happens to each of B pictures; every field is a tensor whose first axis is B.

    `sigma_x`, `sigma_y` in pixels of the picture at hand, along axes turned by `angle` radians; `down`
    factor; `noise` in 1/255; `quality` of JPEG, 0 for none; `shift` (B, 3) in 1/255; `grey` bool; `seed` of
    the noise pattern. An index or a slice gives parameters again, so `params[2]` fits `images[2:3]`.
    """

    sigma_x: Tensor
    sigma_y: Tensor
    angle: Tensor
    down: Tensor
    noise: Tensor
    quality: Tensor
    shift: Tensor
    grey: Tensor
    seed: Tensor

    def _map(self, function: Callable[[Tensor], Tensor]) -> DegradationParams:
        return DegradationParams(*(function(getattr(self, field.name)) for field in fields(self)))

    def noise_pattern(self, height: int, width: int) -> Tensor:
        """The noise of one picture before it is scaled, (1, 3, height, width), on the CPU.

        From the picture's own seed: the same on any device and in any batch.
        """
        return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(self.seed.item()))

    def __len__(self) -> int:
        return len(self.seed)

    def __getitem__(self, index: int | slice) -> DegradationParams:
        picked = range(len(self))[index]
        rows = [picked] if isinstance(picked, int) else list(picked)
        return self._map(lambda tensor: tensor[rows])

    def __iter__(self) -> Iterator[DegradationParams]:
        rows = zip(*(getattr(self, field.name).split(1) for field in fields(self)), strict=True)
        return (DegradationParams(*row) for row in rows)

    def __repr__(self) -> str:
        return "\n".join(
            f"blur {p.sigma_x.item():.2f} x {p.sigma_y.item():.2f} px, {p.angle.rad2deg().item():.0f}°; "
            f"down {p.down.item():.2f}; noise {p.noise.item():.1f}/255; JPEG {p.quality.item() or 'none'}; "
            f"shift {p.shift[0].round().int().tolist()}/255{'; grey' * p.grey.item()}; seed {p.seed.item()}"
            for p in self
        )
