import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gendiff.networks import transformer
from gendiff.networks.blocks.image_transformer import ImageTransformer
from gendiff.networks.layers import GroupNorm
from tests.networks.rig import MASK, TEXT, moved, quickly

LAYER = ImageTransformer(heads=2, groups=2)
X = jax.device_put(np.random.default_rng(0).normal(size=(3, 4, 2, 8)).astype(np.float32))


def test_a_fresh_layer_is_the_identity_and_a_moved_one_is_its_formula():
    inputs = X, jnp.asarray(TEXT.tokens), jnp.asarray(MASK)
    output, variables = quickly(LAYER.init_with_output)(jax.random.key(0), *inputs)
    np.testing.assert_array_equal(output, X)
    params = moved(nn.meta.unbox(variables)["params"])

    def linear(name, x):
        return x @ params[name]["kernel"] + params[name]["bias"][None, None]

    def formula(x, tokens, mask):
        y = linear("input", GroupNorm(2).apply({"params": params["norm"]}, x).reshape(3, 8, 8))
        block = transformer.TransformerBlock(2)
        y, _ = block.apply({"params": params["block_0"]}, y, None, None, None, None, tokens, mask)
        return x + linear("output", y).reshape(x.shape)

    result, expected = quickly(lambda: (LAYER.apply({"params": params}, *inputs), formula(*inputs)))()
    np.testing.assert_allclose(result, expected, atol=1e-4, rtol=1e-4)
    assert np.abs(result - X).max() > 0.1


def test_the_group_norm_of_stable_diffusion_has_an_epsilon_of_its_own():
    def program(design):
        layer = ImageTransformer(2, 2, epsilon=0.125, design=design)
        return str(
            jax.make_jaxpr(lambda x: layer.init(jax.random.key(0), x, jnp.asarray(TEXT.tokens), jnp.asarray(MASK)))(X)
        )

    plain, stable = program("plain"), program("stable_diffusion")
    assert "0.125:" in plain and "0.125:" not in stable
    assert re.search("e-07:|1e-06:", stable)  # 10⁻⁶, which no other norm of this design has
