import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from tests.networks.rig import LABEL, T, X, random_params
from tests.networks.rig import dit as tiny
from tests.quickly import in_numpy
from tests.refusals import refusals
from tests.tables import table


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="layer")(x), x


class Outer(nn.Module):
    @nn.compact
    def __call__(self, x):
        first, _ = Inner(name="inner")(x)
        second, _ = Inner(name="other")(first)
        return second


def numbers():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    return random_params(Outer(), x), x


@table("layer", ["inner", "inner/layer"])
def test_the_first_array_that_a_layer_answers_stands_beside_the_output(layer):
    params, x = numbers()
    output, intermediate = jax.jit(networks.with_intermediate(Outer(), layer))(params, x)
    inner = jax.device_get(params["inner"]["layer"])
    np.testing.assert_allclose(intermediate, np.asarray(x) @ inner["kernel"] + inner["bias"], rtol=1e-5)
    np.testing.assert_array_equal(output, jax.jit(networks.pure(Outer()))(params, x))


def test_the_gradient_goes_through_both_answers():
    params, x = numbers()
    through = jax.grad(lambda params: networks.with_intermediate(Outer(), "inner")(params, x)[1].sum())(params)
    assert np.any(through["inner"]["layer"]["kernel"]) and not np.any(through["other"]["layer"]["kernel"])


def test_equal_modules_and_layers_make_equal_functions():
    first, same, other = (networks.with_intermediate(Outer(), layer) for layer in ("inner", "inner", "other"))
    assert first == same != other and hash(first) == hash(same) and first != networks.pure(Outer())


def test_the_tokens_of_a_dit_after_a_block_depend_on_that_block_and_none_after_also_where_blocks_are_computed_again():
    network = tiny(depth=2, remat=True)

    params, shapes = random_params(network, X, T, LABEL), []

    def squared(blocks):
        output, tokens = networks.with_intermediate(network, "block_0")(params | blocks, X, T, LABEL)
        shapes.append(output.shape)
        return jnp.sum(jnp.square(tokens)), tokens

    slope, tokens = in_numpy(jax.grad(squared, has_aux=True))({name: params[name] for name in ("block_0", "block_1")})
    assert shapes[0] == X.shape and tokens.shape == (3, 8, 16) and np.abs(tokens).max() > 0.1
    assert np.any(slope["block_0"]["qkv"]["kernel"]) and not np.any(slope["block_1"]["qkv"]["kernel"])


test_mistakes_are_refused = refusals(
    (
        lambda: networks.with_intermediate(Outer(), "inner/none")(*numbers()),
        "layer = 'inner/none': Outer calls no .*; it has inner, other",
    ),
    (lambda: networks.with_intermediate(len, "inner"), r"flax\.linen Module", TypeError),
    (lambda: networks.with_intermediate(Outer(), "inner", "encode"), "Outer has no method of that name"),
)
