"""The restorer: the codec reads the damaged face, the StyleGAN2 prior draws the restored one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bfr_lite import presets
from bfr_lite.checkpoints import WeightsError, fit, load_weights, read_card, weights_path
from bfr_lite.codec import AsymmetricCodec, Block, CodecOutput
from bfr_lite.images import to_batch, to_square
from bfr_lite.mmrb import MMRB
from bfr_lite.presets import Preset
from bfr_lite.stylegan2 import Conditions, Generator
from bfr_lite.trust import TrustMap


@dataclass(frozen=True)
class RestorerOutput:
    """What the restorer makes of a batch of B damaged faces.

    Attributes:
        image: (B, 3, size, size) restored faces in about [0, 1].
        ws, conditions, pyramid: as in `CodecOutput`; the conditions as the generator got them, scaled by fidelity.
        trust: (B, 1, size, size) in [0, 1], how much of `pyramid[size]` is in the image, scaled by fidelity.
    """

    image: Tensor
    ws: Tensor
    conditions: Conditions
    pyramid: dict[int, Tensor]
    trust: Tensor


class Restorer(nn.Module):
    """Codec and generator, with a trust map and a fidelity knob.

    The generator draws a face as the codec's codes and conditions say. Where there is little to repair, the codec's own
    picture (the input, corrected) is nearer to the truth than any drawing. A trust map, read off the decoder's
    features, says where, and the two pictures are blended by it. (Our addition, see notebook 05: of the paper only the
    abstract is known, and it has no such map.)

    Fidelity f in [0, 1] scales conditions and trust by a smooth step of it, see `knob`: at 0 the generator draws from
    the latent codes alone and trusts what it knows of faces; at 1 both act in full and the picture follows the input.
    CodeFormer (arXiv 2206.11253, 3.3) weighs its feature transforms in the same way, by w.

    Args:
        preset: sizes.
        block: residual block of the encoder, `MMRB` unless another one is to be compared.
        generator: random source of the initial weights.
    """

    def __init__(self, preset: Preset, block: Block = MMRB, generator: torch.Generator | None = None):
        super().__init__()
        self.preset = preset
        self.codec = AsymmetricCodec(preset.codec, block, generator)
        self.generator = Generator(preset.gan, generator)
        self.trust = TrustMap(preset.codec)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike = "lite") -> Restorer:
        """The shipped restorer of a preset ("lite"), or one from a safetensors file of `bfr-lite train restorer`.

        Raises `FileNotFoundError` when there are no such weights, `WeightsError` when they are damaged or do not fit.
        """
        path = weights_path(source, "restorer")
        state, name = load_weights(path), read_card(path).get("preset", "lite")
        try:
            named = presets.preset(name)
        except (ValueError, TypeError) as error:
            raise WeightsError(f"the card of {path} names no preset: {error}") from error
        restorer = cls(named.enlarging(bilinear="generator.enlarges_bilinearly" in state))
        fit(restorer, state, path)
        return restorer.eval().requires_grad_(False)

    def adopt_prior(self, prior: Generator) -> None:
        """Start from a trained prior: its weights, and its average face as the point the codes are measured from."""
        fit(self.generator, prior.state_dict(), "the prior")
        self.codec.mean_ws.copy_(prior.w_avg.expand_as(self.codec.mean_ws))

    def forward(
        self, lq: Tensor, fidelity: float | Tensor = 1.0, noise: torch.Generator | None = None
    ) -> RestorerOutput:
        """Restore damaged faces (B, 3, size, size) in [0, 1], with gradients.

        `fidelity` is one number or a tensor (B,), in [0, 1]. Raises `ImageError` or `ValueError` for bad input.
        """
        return self.forward_features(lq, fidelity, noise)[0]

    def forward_features(
        self, lq: Tensor, fidelity: float | Tensor = 1.0, noise: torch.Generator | None = None
    ) -> tuple[RestorerOutput, dict[str, Tensor]]:
        """As `forward`, with the features of every stage: those of `read`, then `generator.R` and `drawn`."""
        read, stages = self.read(lq)
        output, drawn = self.draw(read, stages["trust"], fidelity, noise)
        return output, stages | drawn

    def read(self, lq: Tensor) -> tuple[CodecOutput, dict[str, Tensor]]:
        """The half of `forward_features` that the knob leaves alone: what the codec says of damaged faces, and stages.

        The stages are the codec's features (`encoder.R`, `decoder.R`) and `trust` (B, 1, size, size), at fidelity 1.
        """
        read, stages = self.codec.forward_features(lq)
        return read, stages | {"trust": self.trust(stages).to(lq.dtype)}

    def draw(
        self, read: CodecOutput, trust: Tensor, fidelity: float | Tensor = 1.0, noise: torch.Generator | None = None
    ) -> tuple[RestorerOutput, dict[str, Tensor]]:
        """The half that the knob changes: draw what was read, and blend. Raises `ValueError` for a bad fidelity."""
        conditions = scale_conditions(read.conditions, fidelity)
        trust = trust * knob(fidelity, len(trust)).to(trust)
        drawn, features = self.generator.forward_features(read.ws, conditions, noise)
        image = drawn.lerp(read.pyramid[self.preset.size].to(drawn.dtype), trust)
        stages = {"drawn": drawn} | {f"generator.{r}": value for r, value in features.items()}
        return RestorerOutput(image, read.ws, conditions, read.pyramid, trust), stages

    @torch.no_grad()
    def restore(
        self, image: Tensor | np.ndarray | Image.Image | str | os.PathLike, fidelity: float = 0.5, batch_size: int = 16
    ) -> Tensor | np.ndarray | Image.Image:
        """Restore one aligned face or a batch, and return the kind given, `size` pixels wide and high.

        Args:
            image: (3, H, W) or (B, 3, H, W) float tensor in [0, 1]; (H, W, 3) or (B, H, W, 3) uint8 array; PIL picture;
                or a path, for which a PIL picture comes back. Other sizes are resized first.
            fidelity: 0 trusts the prior, 1 the input.
            batch_size: faces at a time; bounds the memory of large batches.

        Raises `ImageError` for anything else, and for pictures that are not square: an aligned face is;
        `FileNotFoundError` for a path that leads nowhere, `ValueError` for a fidelity or batch size out of range.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        batch, as_given = to_batch(image)
        device = self.codec.mean_ws.device
        restored = [
            self(to_square(part, self.preset.size).to(device), fidelity).image.clamp(0, 1)
            for part in batch.float().split(batch_size)
        ]
        return as_given(torch.cat(restored).to(batch))

    @torch.no_grad()
    def features(self, lq: Tensor, fidelity: float = 1.0) -> dict[str, Tensor]:
        """Every stage by name: `encoder.R`, `decoder.R`, `condition.R.scale`, `condition.R.shift`, `pyramid.R`, `ws`,
        `generator.R` for each resolution R; `drawn` (the generator's picture), `trust`, `image` (their blend)."""
        output, stages = self.forward_features(lq, fidelity)
        for r, (scale, shift) in output.conditions.items():
            stages |= {f"condition.{r}.scale": scale, f"condition.{r}.shift": shift}
        stages |= {f"pyramid.{r}": picture for r, picture in output.pyramid.items()}
        return {**stages, "ws": output.ws, "trust": output.trust, "image": output.image}


def knob(fidelity: float | Tensor, count: int) -> Tensor:
    """What fidelity f, one number or (count,), multiplies by: f^2 (3 - 2 f), shape (1, 1, 1, 1) or (count, 1, 1, 1).

    A few percent of the conditions do most of their work. The step starts slowly, so that the knob's tenths share it
    more evenly, and still gives half at one half.

    Raises `ValueError` outside [0, 1] or for another shape.
    """
    values = torch.as_tensor(fidelity, dtype=torch.float32)
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError(f"fidelity must lie in [0, 1], got {fidelity}: 0 trusts the prior, 1 the input")
    if values.ndim and values.shape != (count,):
        raise ValueError(
            f"fidelity must be one number or one for each of the {count} pictures, got shape {tuple(values.shape)}"
        )
    values = values.view(-1, 1, 1, 1)
    return values.square() * (3 - 2 * values)


def scale_conditions(conditions: Conditions, fidelity: float | Tensor) -> Conditions:
    """Conditions times the smooth step of fidelity, see `knob`, whose errors it raises."""
    strength = knob(fidelity, len(next(iter(conditions.values()))[0]))
    return {r: (scale * strength.to(scale), shift * strength.to(shift)) for r, (scale, shift) in conditions.items()}
