"""Average the weights of restorers that were trained on from the same one, each by other pictures.

python data/average_weights.py runs/a/restorer-lite.safetensors runs/b/restorer-lite.safetensors -o mean.safetensors

After Wortsman et al., "Model soups" (arXiv 2203.05482): networks that set out from one trained network lie in one
valley, and their mean is often better than each, at no cost when it is used. Runs that set out from random weights have
no mean worth having.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch

from bfr_lite import Restorer
from bfr_lite.checkpoints import fit, read_card, save_weights


@torch.no_grad()
def average(paths: list[Path]) -> Restorer:
    """The restorer whose every weight is the mean of theirs. Raises `WeightsError` when their sizes differ."""
    mean, *others = (Restorer.from_pretrained(path) for path in paths)
    states = [other.state_dict() for other in others]
    for path, state in zip(paths[1:], states, strict=True):
        fit(copy.deepcopy(mean), state, path)  # says what does not fit
    for name, value in mean.state_dict().items():
        value.copy_(torch.stack([value, *(state[name] for state in states)]).mean(dim=0))
    return mean


def main() -> None:
    """Average and write, with what was averaged on the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("restorers", type=Path, nargs="+", metavar="RESTORER", help="safetensors of one size")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    averaged = [read_card(path).get("sha256", str(path)) for path in args.restorers]
    save_weights(args.output, average(args.restorers), {**read_card(args.restorers[0]), "average_of": averaged})


if __name__ == "__main__":
    main()
