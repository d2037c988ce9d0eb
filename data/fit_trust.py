"""Give a restorer that was trained without a trust map one: only the map is fitted, its nine numbers.

BFR_LITE_DATA=... python data/fit_trust.py restorer-lite.safetensors -o with-trust.safetensors

Training faces are damaged and restored at fidelity 1, and wherever the codec's picture is nearer to the clean face than
the drawn one, the map is asked to say so: logistic regression on the decoder's finest features, as cautious as in
training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bfr_lite import Restorer, load_faces, load_generator
from bfr_lite.checkpoints import read_card, save_weights
from bfr_lite.training.batches import draw_batch, draw_portraits
from bfr_lite.training.loop import batch_indices, step_rng
from bfr_lite.training.losses import CAUTION, nearer
from bfr_lite.training.restorer import RestorerConfig

BATCH, STEPS, SEED, EVERY = 8, 100, 7, 4  # EVERY: of the places of a map, along both axes


@torch.no_grad()
def examples(restorer: Restorer) -> tuple[Tensor, Tensor]:
    """Features (N, C, h, w) of the decoder, and where the codec's picture is the nearer one, (N, 1, h, w)."""
    config, prior = RestorerConfig(restorer.preset), load_generator("lite")
    faces = load_faces("congress", split="train", size=restorer.preset.size)
    seen, wanted = [], []
    for step in range(STEPS):
        rng, indices = step_rng(SEED, step), batch_indices(SEED, step, BATCH, len(faces))
        portraits = draw_portraits(faces, indices, restorer.preset.size, rng, config.turned)
        batch = draw_batch(portraits, prior, 0, config.degradations, rng, torch.device("cpu"))
        output, stages = restorer.forward_features(batch.lq)
        answer = nearer(output.pyramid[restorer.preset.size], stages["drawn"], batch.clean)
        seen.append(stages[f"decoder.{restorer.preset.size}"][..., ::EVERY, ::EVERY])
        wanted.append(answer[..., ::EVERY, ::EVERY])
    return torch.cat(seen), torch.cat(wanted)


def fit(restorer: Restorer) -> None:
    """Find the map's weights by L-BFGS, in place."""
    seen, wanted = examples(restorer)
    layer = restorer.trust.requires_grad_(True)
    weight = torch.where(wanted > 0, 1.0, CAUTION)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(layer(seen), wanted, weight)
        value.backward()
        return value

    optimizer.step(loss)
    print(f"nearer in {wanted.mean():.0%} of the places; loss {loss().item():.3f}; bias {layer.bias.item():+.2f}")


def main() -> None:
    """Fit and write, with a line on the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("restorer", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    restorer = Restorer.from_pretrained(args.restorer)
    fit(restorer)
    card = read_card(args.restorer)
    card["training"] = {**card.get("training", {}), "trust_map": f"fitted alone by data/fit_trust.py, seed {SEED}"}
    save_weights(args.output, restorer, card)


if __name__ == "__main__":
    main()
