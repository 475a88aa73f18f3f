"""The race to equal quality with diffusers: the same network and noise on both sides, tiny."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from experiments.bench import cases
from experiments.bench.config import Config, Setting

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("name", ["digits_race", "latents_race"])
def test_ddim_is_the_same_on_both_sides_and_every_scheduler_that_is_offered_runs(tmp_path, name):
    case = next(case for case in cases.ALL if case.name == name)
    result = case.measure(case, Setting(Config(tiny=True, pairs=2), tmp_path, peer=Path(sys.executable)))
    limits = {limit.name: limit.value for limit in result.limits}
    assert limits[f"{name}_agrees"] < 1e-4 and set(limits) == {
        f"{name}_{word}" for word in ("agrees", "ours", "diffusers")
    }
    assert 7 <= len(result.tables[0].rows) <= 8 and result.ratios[0].threshold == "race"
