"""Networks of latents beside prompts: those that paint into a picture, and those that draw classes."""

import jax
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.commands import drawing_options, drawing_programs
from gendiff.core import records
from gendiff.core.types import NO_LABEL
from gendiff.pipelines import diffusers_schedulers
from gendiff.pipelines.stable_diffusion import edit, edits
from tests.pipelines.stable_diffusion import cheap_parts, tiny_folders
from tests.pipelines.stable_diffusion.cheap_parts import FACTOR, LEVELS, PARAMS, SHAPE, mask, picture
from tests.quickly import quickly

KEY, INDEX = jax.random.key(0), np.arange(2, dtype=np.int32)


def test_a_network_for_inpainting_sees_its_surroundings_behind_x():
    inpainting = edits.Inpainting(lambda params, x, t, *condition: x)
    x, around = (np.full((2, 2, 4, channels), value, np.float32) for channels, value in ((3, 1.0), (4, 2.0)))
    output = inpainting({}, x, np.zeros(2, np.float32), edits.Surroundings(around[:1]))
    assert output.shape == (2, 2, 4, 7) and np.array_equal(output, np.concatenate([x, around], -1))


def surroundings(**options):
    """(what a network for inpainting reads beside x, the picture that is encoded), every other pixel as latents."""
    pixels = []
    around = edits.surroundings(lambda x: pixels.append(x) or x[:, ::2, ::2], picture(), mask(), FACTOR, **options)
    return np.asarray(around.channels), pixels[0]


def test_what_is_drawn_anew_is_grey_in_the_picture_and_the_mask_is_that_of_the_first_pixels():
    channels, pixels = surroundings()
    assert np.array_equal(pixels, picture() * (1 - mask())) and not channels[0, 0, 0, 0]
    assert np.array_equal(channels, np.concatenate([mask()[:, ::2, ::2], pixels[:, ::2, ::2]], -1))


def test_a_mask_of_pixels_stands_behind_the_latents_row_by_row():
    channels, pixels = surroundings(pixels=True)
    squares = [mask()[:, row::2, column::2] for row in range(2) for column in range(2)]
    assert np.array_equal(channels, np.concatenate([pixels[:, ::2, ::2], *squares], -1))


def test_a_latent_is_drawn_anew_where_any_of_its_pixels_is():
    of_any = edits.of_latents(mask(), FACTOR)
    assert of_any[0, :, :, 0].tolist() == [[1, 0, 1, 1], [0, 0, 1, 1]]
    assert edits.binary(np.array([0.0, 0.49, 0.5, 1.0]).reshape(1, 2, 2, 1)).ravel().tolist() == [0, 0, 1, 1]


def test_a_blended_mask_is_that_of_the_middle_of_each_patch():
    mask = np.zeros((1, 8, 16, 1), np.float32)
    mask[:, :2], mask[:, :, 10:] = 1, 1  # of patches of 4 pixels, whose middle is pixels 1 and 2
    small = edits.blended(mask, factor=2, patch=2)
    rows = [[0.5, 0.5, 0.75, 1.0], [0.0, 0.0, 0.5, 1.0]]
    np.testing.assert_allclose(small[0, :, :, 0], np.repeat(np.repeat(rows, 2, 0), 2, 1))


def paints(params, x, t, label):
    """Answers what it sees of the picture."""
    return params * x[..., 4:] + label[:, None, None, None] * x[..., 3:4]


def test_such_a_network_is_told_the_picture_on_both_sides_of_guidance():
    pipeline = cheap_parts.latent(diffusion.samplers.ddim(), predict=paints, paints=True)
    change = edit(picture(), mask(), paste=False)
    labels = np.array([1, 2], np.int32)

    def expected(label):
        def predict(params, x, t):
            around = edits.surroundings(lambda x: pipeline.encoded(PARAMS, x), change.picture, change.mask, FACTOR)
            result = params * around.channels[..., 1:] + label[:, None, None, None] * around.channels[..., :1]
            return result + 0 * x

        denoise = diffusion.from_network(predict, PARAMS["network"], diffusion.parameterization.velocity())
        return diffusion.sample(KEY, denoise, diffusion.samplers.ddim(), LEVELS, SHAPE, INDEX)

    guided = quickly(pipeline.latents)(PARAMS, KEY, (labels,), (np.zeros(1, np.int32),), 3.0, INDEX, change=change)
    # linear in the label, and 0 leads away from nothing
    np.testing.assert_allclose(guided, quickly(expected)(3 * labels), atol=1e-5)


def test_a_class_is_drawn_away_from_no_class_and_the_variance_half_is_left_out():
    pipeline = cheap_parts.latent(
        diffusion.samplers.ddim(), predict=cheap_parts.predict_of_class, learned_variance=True
    )
    labels = np.array([3, 8], np.int32)
    draw = quickly(pipeline.latents)
    guided = draw(PARAMS, KEY, (labels,), (NO_LABEL,), 2.0, INDEX)
    # u + 2 (c - u), as the output is linear in the label
    alone = draw(PARAMS, KEY, (2 * labels - NO_LABEL,), None, 1.0, INDEX)
    np.testing.assert_allclose(guided, alone, atol=1e-5)


@pytest.mark.slow
def test_every_sampler_draws_on_the_straight_path_and_a_picture_does_not_depend_on_its_neighbours():
    flow = diffusers_schedulers.from_config(tiny_folders.FLOW | {"use_dynamic_shifting": False})
    text = cheap_parts.read(PARAMS["text"]["one"], np.arange(5)[None])
    for name in drawing_options.SAMPLERS:
        sampler = drawing_programs.sampler(name, None, flow.schedule)
        pipeline = records.replace(
            cheap_parts.latent(sampler), levels=flow.grid(5), parameterization=flow.parameterization
        )
        draw = quickly(lambda index, pipeline=pipeline: pipeline(PARAMS, KEY, (text,), None, 1.0, index))
        both = np.asarray(draw(np.int32([3, 17])))
        assert np.isfinite(both).all() and np.abs(both[0] - both[1]).max() > 0.1, name
        np.testing.assert_allclose(draw(np.int32([17, 5]))[0], both[1], atol=1e-5, err_msg=name)
