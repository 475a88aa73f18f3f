"""Decoded pictures: the corners, which a decoder does not learn."""

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.commands.text_to_image import published
from gendiff.commands.trained_networks import FOLDER
from gendiff.diffusion import samplers

EMOJI = FOLDER / "emoji.safetensors"
CORNERS, INSIDE = np.ix_((0, -1), (0, -1)), np.ix_((1, -2), (1, -2))


@pytest.mark.slow
def test_the_corners_of_decoded_emoji_are_white_and_no_other_pixel_is_touched():
    trained, _ = published.read(EMOJI)
    picture = np.ones((1, trained.side, trained.side, 3), np.float32)
    picture[:, 20:44, 20:44] = np.array([0.9, 0.6, -0.7])  # an orange square on white
    latents = trained.latents(picture)
    plain, mended = (
        np.array(jax.jit(decode)(trained.params["decoder"], latents))[0]
        for decode in (networks.pure(trained.autoencoder, "decode"), trained.pipeline(samplers.ddim()).decode)
    )
    off = 127.5 * np.abs(np.clip(mended[CORNERS], -1, 1) - 1)
    assert off.mean() < 3 and off.max() < 12, off
    np.testing.assert_array_equal(mended[CORNERS], plain[INSIDE])
    assert not np.array_equal(mended[CORNERS], plain[CORNERS])
    assert trained.pipeline(samplers.ddim()).decode is trained.pipeline(samplers.ddim()).decode  # programs are shared
    plain[CORNERS] = mended[CORNERS]
    np.testing.assert_array_equal(plain, mended)
