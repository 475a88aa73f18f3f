"""What goes into a network: images, times, labels and positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.networks import embeddings
from gendiff.networks.layers import image_inputs
from tests.refusals import refusals
from tests.tables import table


def test_sinusoidal_times_are_cosines_then_sines_at_falling_frequencies_and_all_differ():
    out = embeddings.sinusoidal(np.array([0.0, 3.0], np.float32), 4)
    np.testing.assert_allclose(out, [[1, 1, 0, 0], [np.cos(3), np.cos(0.03), np.sin(3), np.sin(0.03)]], rtol=1e-6)
    assert len(np.unique(np.asarray(embeddings.sinusoidal(np.arange(1000), 32)), axis=0)) == 1000
    with pytest.raises(ValueError, match="even"):
        embeddings.sinusoidal(np.zeros(1, np.float32), 3)


def test_a_frequency_shift_of_one_ends_at_exactly_one_ten_thousandth():
    t, angles = np.array([300.0], np.float32), 300 * np.array([1, 0.01, 1e-4])
    np.testing.assert_allclose(embeddings.sinusoidal(t, 6, 1)[0], [*np.cos(angles), *np.sin(angles)], atol=1e-5)
    for size, shift in ((2, 1), (6, 3), (6, -1)):
        with pytest.raises(ValueError, match="frequency_shift"):
            embeddings.sinusoidal(t, size, shift)


def test_grid_positions_tell_columns_then_rows():
    table = embeddings.grid_positions(2, 3, 8)
    assert table.shape == (6, 8) and len(np.unique(table.round(6), axis=0)) == 6
    np.testing.assert_allclose(table[4], [np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)] * 2)
    np.testing.assert_allclose([table[2, 4:], table[3, :4]], [[0, 0, 1, 1]] * 2)


def test_rows_take_the_null_row_for_no_label_and_nan_for_unknown_ones():
    table = jnp.arange(8.0).reshape(4, 2)
    out = jax.jit(embeddings.rows)(table, jnp.array([0, 2, NO_LABEL, 3, -2, 2**31 - 1]))
    np.testing.assert_array_equal(out[:3], table[jnp.array([0, 2, 3])])
    assert np.isnan(out[3:]).all()


def test_concrete_samples_are_looked_at_also_while_a_function_around_them_is_traced():
    bad = jnp.ones((3, 2)).at[1, 0].set(jnp.nan)
    jax.jit(lambda: image_inputs.check_finite("latent", jnp.ones((3, 2))))()
    for call in (
        lambda: image_inputs.check_finite("latent", bad),
        jax.jit(lambda: image_inputs.check_finite("latent", bad)),
    ):
        with pytest.raises(ValueError, match="in sample 1:"):
            call()
    jax.jit(lambda latent: image_inputs.check_finite("latent", latent))(bad)  # a tracer passes


@table("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_labels_of_every_integer_dtype_are_taken_and_one_label_serves_the_batch(dtype):
    for label, expected in ((np.array([1, 2], dtype), [1, 2]), (dtype(2), [2, 2]), (NO_LABEL, [NO_LABEL, NO_LABEL])):
        np.testing.assert_array_equal(embeddings.checked_label(label, 3, 2), expected)


def labelled(label):
    return lambda: embeddings.checked_label(label, 3, 2)


def images(*shape, dtype=np.float32, times=(3,)):
    return lambda: image_inputs.check(np.zeros(shape, dtype), np.zeros(times, np.float32), 4, "patch")


test_a_concrete_label_out_of_range_or_no_integer_is_refused = pytest.mark.fault(
    "guidance: label ≥ classes", "guidance: float labels"
)(
    refusals(
        *((labelled(label), "3 classes") for label in (3, -2, np.array([0, 2**32]), np.uint8(255))),
        *(
            (labelled(label), "integers", TypeError)
            for label in (1.0, np.array([0.0, 1.0]), np.array([True, False]), jnp.ones(2))
        ),
    )
)
test_images_whose_sides_the_factor_does_not_divide_and_other_times_are_refused_with_the_rule = pytest.mark.fault(
    "images: height not divisible by patch or downsampling", "images: channels first"
)(
    refusals(
        (images(3, 7, 8, 1), r"read as \(batch, height, width, channels\): .* must be multiples of 4 \(patch\)$"),
        (images(3, 8, 9, 1), r"^.*\(3, 8, 9, 1\).*multiples of 4 \(patch\)$"),
        (images(3, 1, 8, 8), "channels-first: use numpy.moveaxis"),
        (images(3, 4, 32, 32), "channels-first"),
        (images(3, 8, 8), r"images are \(batch, height, width, channels\)"),
        (images(3, 8, 8, 1, dtype=np.uint8), "floating", TypeError),
        *((images(3, 8, 8, 1, times=times), r"one time per sample, \(3,\), is needed") for times in ((2,), (), (3, 1))),
    )
)


def test_images_whose_sides_the_factor_divides_pass():
    for shape in ((3, 8, 4, 1), (3, 12, 12, 3), (3, 4, 4, 64)):
        images(*shape)()
        image_inputs.check_images(np.zeros(shape, np.float32), 4, "patch")


def test_samples_that_are_not_finite_are_named_where_they_are_known():
    x = np.zeros((12, 2, 3), np.float32)
    image_inputs.check_finite("x", x)
    x[3, 1, 2] = np.inf
    jax.jit(lambda x: image_inputs.check_finite("x", x))(x)
    with pytest.raises(ValueError, match=r"x of shape \(12, 2, 3\) has numbers that are not finite, in sample 3:"):
        image_inputs.check_finite("x", x)
    with pytest.raises(ValueError, match="in sample 0, 1, 2, 3, 4, 5, 6, 7, …:"):
        image_inputs.check_finite("latent", jnp.full((12, 2), jnp.nan))
