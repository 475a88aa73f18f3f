import jax.numpy as jnp
import numpy as np

from gendiff.networks import embeddings, image_size
from tests.networks.rig import SIZE


def test_the_six_numbers_are_embedded_one_after_the_other_not_rounded_in_bfloat16():
    rows = np.concatenate([SIZE.original, SIZE.crop, SIZE.target], 1)
    for dtype in (jnp.float32, jnp.bfloat16):
        embedded = image_size.embedded(SIZE, dtype)
        assert embedded.dtype == jnp.float32 and embedded.shape == (3, 6 * 256)
        for at in range(6):
            wanted = embeddings.sinusoidal(rows[:, at].astype(np.float32), 256)
            np.testing.assert_array_equal(embedded[:, 256 * at : 256 * (at + 1)], wanted)
