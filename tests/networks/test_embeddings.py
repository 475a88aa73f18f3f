import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.networks import embeddings


def test_sinusoidal_times_are_cosines_then_sines_at_falling_frequencies():
    out = embeddings.sinusoidal(np.array([0.0, 3.0], np.float32), 4)
    np.testing.assert_allclose(out[0], [1, 1, 0, 0])
    np.testing.assert_allclose(out[1], [np.cos(3), np.cos(0.03), np.sin(3), np.sin(0.03)], rtol=1e-6)
    with pytest.raises(ValueError, match="even"):
        embeddings.sinusoidal(np.zeros(1, np.float32), 3)


def test_a_frequency_shift_of_one_ends_at_exactly_one_ten_thousandth():
    t = np.array([300.0], np.float32)
    angles = 300 * np.array([1, 0.01, 1e-4])
    wanted = np.concatenate([np.cos(angles), np.sin(angles)])
    np.testing.assert_allclose(embeddings.sinusoidal(t, 6, 1)[0], wanted, atol=1e-5)
    for size, shift in ((2, 1), (6, 3), (6, -1)):
        with pytest.raises(ValueError, match="frequency_shift"):
            embeddings.sinusoidal(t, size, shift)


def test_all_thousand_times_differ():
    table = np.asarray(embeddings.sinusoidal(np.arange(1000), 32))
    assert len(np.unique(table, axis=0)) == 1000


def test_grid_positions_tell_columns_then_rows():
    table = embeddings.grid_positions(2, 3, 8)
    assert table.shape == (6, 8) and len(np.unique(table.round(6), axis=0)) == 6
    np.testing.assert_allclose(table[4], [np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)] * 2)
    np.testing.assert_allclose(table[2, 4:], [0, 0, 1, 1])
    np.testing.assert_allclose(table[3, :4], [0, 0, 1, 1])


def test_rows_take_the_null_row_for_no_label_and_nan_for_unknown_ones():
    table = jnp.arange(8.0).reshape(4, 2)
    label = jnp.array([0, 2, NO_LABEL, 3, -2, 2**31 - 1])
    out = jax.jit(embeddings.rows)(table, label)
    np.testing.assert_array_equal(out[:3], table[jnp.array([0, 2, 3])])
    assert np.isnan(out[3:]).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_labels_of_every_integer_dtype_are_taken_and_one_label_serves_the_batch(dtype: type):
    np.testing.assert_array_equal(embeddings.checked_label(np.array([1, 2], dtype), 3, 2), [1, 2])
    np.testing.assert_array_equal(embeddings.checked_label(dtype(2), 3, 2), [2, 2])
    np.testing.assert_array_equal(embeddings.checked_label(NO_LABEL, 3, 2), [NO_LABEL, NO_LABEL])


@pytest.mark.parametrize("label", [3, -2, np.array([0, 2**32]), np.uint8(255)])
def test_a_concrete_label_out_of_range_is_refused_with_the_number_of_classes(label: object):
    with pytest.raises(ValueError, match="3 classes"):
        embeddings.checked_label(label, 3, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", [1.0, np.array([0.0, 1.0]), np.array([True, False]), jnp.ones(2)])
def test_labels_that_are_no_integers_are_refused(label: object, unchecked: None):
    with pytest.raises(TypeError, match="integers"):
        embeddings.checked_label(label, 3, 2)  # type: ignore[arg-type]
