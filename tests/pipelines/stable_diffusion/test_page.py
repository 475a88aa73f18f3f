"""The page on Stable Diffusion: what it shows in Python runs on a tiny folder, and its guidance by a function is short
and climbs.
"""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from gendiff.core.low_rank import LowRank
from gendiff.pipelines.stable_diffusion import adapters, open_model
from gendiff.weights import lora_files
from tests.pipelines.stable_diffusion import tiny_folders
from tests.quickly import quickly

PAGE = Path(__file__).parents[3] / "experiments" / "documentation" / "pages" / "stable_diffusion.md"
FIRST, GUIDANCE, ADAPTERS = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
SMALLER = {"512": "16", "steps=30": "steps=2", "range(10)": "range(3)"}


def test_guidance_by_a_function_of_ones_own_takes_at_most_15_lines():
    lines = [line for line in GUIDANCE.splitlines() if line.strip()]
    assert "def score(" in GUIDANCE and len(lines) <= 15


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a block in a folder with what the page names. The names that the blocks define stay."""
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    folder = tiny_folders.write(tmp_path / "stable-diffusion-v1-5", "stable")
    tiny_folders.write_control(tmp_path / "sd-controlnet-canny")
    factors = (np.full(shape, 0.1, np.float32) for shape in ((8, 2), (2, 32)))
    trees = {"text_encoder": {"block_1": {"mlp_0": {"kernel": LowRank(*factors)}}}}
    lora_files.save(tmp_path / "style.safetensors", trees, adapters.adaptable(open_model(folder)))
    monkeypatch.chdir(tmp_path)
    names = {"edges": np.full((1, 16, 16, 3), 0.5, np.float32)}

    def run(block):
        for theirs, ours in SMALLER.items():
            block = block.replace(theirs, ours)
        with monkeypatch.context() as patch, jax.numpy_rank_promotion("allow"):  # as users have it
            patch.setattr(jax, "jit", quickly)
            exec(compile(block, str(PAGE), "exec"), names)
        return names

    return run


@pytest.mark.slow
def test_the_page_draws_climbs_and_follows_a_hint(run):
    assert run(FIRST)["pictures"].shape == (2, 16, 16, 3)
    names = run(GUIDANCE)
    before = jax.random.normal(jax.random.key(1), names["start"].shape)
    assert names["climb"](names["start"])[0] > names["climb"](before)[0]
    plain = np.asarray(names["pictures"])
    assert np.abs(np.asarray(run(ADAPTERS)["pictures"]) - plain).max() > 0.01
