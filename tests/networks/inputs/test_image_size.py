import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core import records
from gendiff.networks import embeddings
from gendiff.networks.inputs import condition_checks, conditioning
from tests.networks.rig import LABEL, SIZE, TEXT, T, X, reading_unet

SCORE = np.array([6.0, 2.5, 0.0], np.float32)


def test_the_six_numbers_are_embedded_one_after_the_other_not_rounded_in_bfloat16():
    rows = np.concatenate([SIZE.original, SIZE.crop, SIZE.target], 1)
    for dtype in (jnp.float32, jnp.bfloat16):
        embedded = conditioning.embedded_size(SIZE, dtype)
        assert embedded.dtype == jnp.float32 and embedded.shape == (3, 6 * 256)
        for at in range(6):
            expected = embeddings.sinusoidal(rows[:, at].astype(np.float32), 256)
            np.testing.assert_array_equal(embedded[:, 256 * at : 256 * (at + 1)], expected)


def test_a_score_stands_in_place_of_the_target_where_the_network_asks_for_it():
    scored = records.replace(SIZE, score=SCORE)
    embedded = conditioning.embedded_size(scored, jnp.float32)
    assert embedded.shape == (3, 5 * 256)
    np.testing.assert_array_equal(embedded[:, : 4 * 256], conditioning.embedded_size(SIZE, jnp.float32)[:, : 4 * 256])
    np.testing.assert_array_equal(embedded[:, 4 * 256 :], embeddings.sinusoidal(SCORE, 256))
    for expected, width in (("score", 5), (True, 6)):  # each ignores what it has no use for
        checked = condition_checks.checked_size(scored, expected, 3)
        assert conditioning.embedded_size(checked, jnp.float32).shape == (3, width * 256)
        network = reading_unet(image_size=expected)
        params = jax.eval_shape(
            lambda network=network: networks.init(network, jax.random.key(0), X, T, LABEL, TEXT, scored)
        )
        assert params["embedding"]["added_0"]["kernel"].shape[0] == 5 + width * 256
