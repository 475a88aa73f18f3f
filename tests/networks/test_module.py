import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from tests.tables import table

X, T = np.ones((2, 3), np.float32), np.zeros((2,), np.float32)


class Affine(nn.Module):
    sizes: tuple = (3,)

    @nn.compact
    def __call__(self, x, t):
        return nn.Dense(self.sizes[0], bias_init=nn.initializers.ones)(x)


class Twin(nn.Module):
    """What an autoencoder is to this chapter: other inputs than (x, t), and more than one method."""

    dropout: float = 0.5

    def setup(self):
        self.layer, self.drop = nn.Dense(3, use_bias=False), nn.Dropout(self.dropout)

    def __call__(self, pair):
        return {"both": self.encode(pair["a"], pair["b"])}

    def encode(self, a, b):
        return self.drop(self.layer(a) * b, deterministic=not self.has_rng("dropout"))


class Counting(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        self.variable("batch_stats", "mean", lambda: jnp.zeros(()))
        return x


def test_any_linen_module_becomes_a_pure_function_with_its_own_initialisers_and_parameters_of_the_key_alone():
    params, again, other = (networks.init(Affine(), jax.random.key(seed), X, T) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert not np.array_equal(params["Dense_0"]["kernel"], other["Dense_0"]["kernel"])
    assert np.all(params["Dense_0"]["bias"] == 1) and networks.count(params) == 12
    output = networks.pure(Affine())(params, X, T)
    np.testing.assert_allclose(output, X @ params["Dense_0"]["kernel"] + 1, rtol=1e-6)


def test_fresh_parameters_are_traced_as_one_random_draw():
    """One for each parameter would be most of the time of tracing, though XLA leaves them out."""
    network = networks.TextEncoder(vocabulary=10, positions=4, width=8, depth=2, heads=2)
    ids = np.zeros((1, 3), np.int32)
    jaxpr = jax.make_jaxpr(lambda key: networks.init(network, key, ids))(jax.random.key(0))
    assert str(jaxpr).count("random_bits") == 1


def test_inputs_are_any_trees_and_a_method_is_called_by_its_name():
    a, b = jnp.asarray(X), jnp.ones((2, 3))
    params = networks.init(Twin(), jax.random.key(0), {"a": a, "b": jax.ShapeDtypeStruct((2, 3), jnp.float32)})
    call, encode = networks.pure(Twin()), networks.pure(Twin(), "encode")
    np.testing.assert_array_equal(call(params, {"a": a, "b": b})["both"], encode(params, a, b))
    assert np.any(encode(params, a, b, key=jax.random.key(1)) == 0)
    assert (
        encode.stochastic
        and encode == networks.pure(Twin(), "encode") != call
        and hash(encode) == hash(networks.pure(Twin(), "encode"))
    )
    with pytest.raises(ValueError, match="method = 'encoder': Twin has no method"):
        networks.pure(Twin(), "encoder")


@table(
    "network",
    [
        networks.DiT(2, 8, 1, 1, num_classes=2),
        networks.UNet(
            (4, 8), 1, (2,), head_size=4, groups=2, num_classes=2, modulation="shift", middle_attention=False
        ),
    ],
)
def test_a_network_runs_on_a_mesh_with_explicit_axes_and_keeps_the_batch_split(network):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    inputs = np.ones((2, 4, 4, 1), np.float32), np.zeros(2, np.float32), np.array([0, 1])
    split = jax.device_put(inputs, jax.NamedSharding(mesh, jax.P("data")))
    with jax.set_mesh(mesh):
        shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *split))
    full = jax.tree.map(
        lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype), jax.NamedSharding(mesh, jax.P())), shapes
    )
    output = jax.eval_shape(networks.pure(network), full, *split)
    assert output.shape == inputs[0].shape and output.sharding.spec[0] == "data"


def test_mutable_collections_what_is_no_module_or_cannot_be_hashed_and_no_key_are_refused_with_the_fix(unchecked):
    with pytest.raises(ValueError, match="batch_stats"):
        networks.init(Counting(), jax.random.key(0), X, T)
    with pytest.raises(TypeError, match="tuples"):
        networks.pure(Affine(sizes=[3]))
    with pytest.raises(TypeError, match="plain function"):
        networks.pure(lambda params, x, t: x)
    with pytest.raises(TypeError, match="key"):
        networks.init(Affine(), None, X, T)
