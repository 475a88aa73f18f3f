"""What is made of a trained run of images: functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion, pipelines
from tests.commands.images.test_images import command, photographs, run

pytest.importorskip("grain")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("trained")
    assert run(*command(photographs(place / "photos", damaged=0), place / "run")) == 0
    return place / "run"


def test_the_functions_of_an_opened_run_draw_what_sample_draws(trained, tmp_path):
    options = ("--num", "4", "--steps", "3", "--sampler", "ddim", "--seed", "2", "--out", str(tmp_path / "drawn.npz"))
    assert run("sample", str(trained), *options) == 0
    opened, index = pipelines.open_run(trained), jnp.arange(4)
    levels = diffusion.grids.trailing(opened.schedule, 3)
    denoise = opened.denoiser(index % opened.num_classes)
    images = diffusion.sample(jax.random.key(2), denoise, diffusion.samplers.ddim(), levels, opened.shape, index)
    with np.load(tmp_path / "drawn.npz") as stored:
        np.testing.assert_allclose(stored["images"], np.clip(images, -1, 1), atol=1.01 / 127.5)  # rounded to a value of a byte
    assert opened.classes == ("dark", "light")
