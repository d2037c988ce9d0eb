"""The mean of restorers that were trained on from one."""

import importlib.util
from pathlib import Path

import pytest
import torch

from bfr_lite import Restorer, preset
from bfr_lite.checkpoints import WeightsError, save_weights

SCRIPT = Path(__file__).parents[2] / "data" / "average_weights.py"


@pytest.fixture(scope="module")
def average():
    spec = importlib.util.spec_from_file_location("average_weights", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.average


def write(path, name, seed):
    save_weights(path, Restorer(preset(name), generator=torch.Generator().manual_seed(seed)), {"preset": name})
    return path


def test_every_weight_is_the_mean(average, tmp_path):
    paths = [write(tmp_path / f"{seed}.safetensors", "tiny", seed) for seed in range(3)]
    states = [Restorer.from_pretrained(path).state_dict() for path in paths]
    for name, value in average(paths).state_dict().items():
        torch.testing.assert_close(value, sum(state[name] for state in states) / 3)
    assert any(not torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_restorers_of_other_sizes_are_refused(average, tmp_path):
    paths = [write(tmp_path / f"{name}.safetensors", name, 0) for name in ("tiny", "lite")]
    with pytest.raises(WeightsError, match=r"lite\.safetensors does not fit this network"):
        average(paths)
