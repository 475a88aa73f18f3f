"""`sample RUN` of the multimodal experiment: what it refuses, and the picture that it leaves."""

import jax
import numpy as np
import pytest

from experiments import catalogue, multimodal
from experiments.multimodal import documents, draw, measures
from experiments.multimodal.config import BOTH
from experiments.multimodal.draw import SampleOptions
from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from tests.experiments.studies import smoke


def test_captions_are_those_of_the_digits_in_turn():
    assert draw.captions()[:4] == ["a zero", "a one", "a two", "a three"] and draw.captions()[8] == "an eight"


def test_an_unknown_caption_and_a_file_that_is_there_or_is_no_png_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--caption 'a thre' is unknown; did you mean 'a three'"):
        draw.check(SampleOptions(caption="a thre"), tmp_path / "x.png")
    (there := tmp_path / "there.png").write_bytes(b"old")
    with pytest.raises(ConfigError, match="exists: add --force"):
        draw.check(SampleOptions(), there)
    draw.check(SampleOptions(force=True), there)
    with pytest.raises(ConfigError, match=r"must be named \.png"):
        draw.check(SampleOptions(), tmp_path / "x.gif")


@pytest.mark.slow
def test_a_smoke_run_is_sampled_and_a_picture_depends_on_seed_and_caption_alone(tmp_path, capsys):
    folder, out = tmp_path / "run", tmp_path / "made" / "threes.png"
    smoke.run("multimodal", folder, capsys)
    words = ["sample", str(folder), "--caption", "a three", "--num", "3", "--out", str(out)]
    assert command_line.main(words, catalogue.EXPERIMENTS) == 0
    assert out.is_file() and "3 pictures" in capsys.readouterr().out
    config = multimodal.EXPERIMENT.smoke
    params = documents.init(config, BOTH, jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), params)
    threes = measures.draw(config, params, np.full(5, 3))
    np.testing.assert_allclose(measures.draw(config, params, np.full(3, 3)), threes[:3], atol=1e-5)
    assert np.abs(measures.draw(config, params, np.full(3, 3), 9) - threes[:3]).max() > 1e-3
