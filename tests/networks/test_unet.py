import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.core.types import NO_LABEL

X = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
T = np.array([0.0, 500.0, 999.0], np.float32)
LABEL = np.array([0, 9, NO_LABEL], np.int32)


def tiny(**changes: Any) -> networks.UNet:
    fields: dict[str, Any] = {"channels": (8, 16), "blocks": 1, "attention": (4,), "head_size": 8, "groups": 4, "num_classes": 10}
    return networks.UNet(**(fields | changes))


quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # half of the time to compile
apply = jax.jit(lambda predict, params, *inputs: predict(params, *inputs), static_argnums=0)


@jax.jit
def moved(params: Any) -> Any:
    """Parameters away from the zeros that hide half of the network, by a fixed pattern."""
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.sin(1.0 + 7.0 * jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), params)


@pytest.fixture(scope="module")
def fresh() -> Any:
    return networks.init(tiny(), jax.random.key(0), X, T, LABEL)


@pytest.fixture(scope="module")
def params(fresh: Any) -> Any:
    return moved(fresh)


def test_parameters_are_a_plain_float32_dict_and_the_fresh_output_is_zero(fresh: Any):
    assert type(fresh) is dict and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(fresh))
    assert trees.paths(fresh)["embedding/label"].shape == (11, 32)
    output = apply(networks.pure(tiny()), fresh, X, T, LABEL)
    assert output.shape == X.shape and output.dtype == X.dtype and not np.any(output)


def test_an_equal_module_built_again_does_not_retrace(params: Any):
    first, again = networks.pure(tiny()), networks.pure(tiny())
    assert first == again and hash(first) == hash(again) and first != networks.pure(tiny(blocks=2))
    apply(first, params, X, T, LABEL)
    traces = apply._cache_size()
    apply(again, params, X, T, LABEL)
    assert apply._cache_size() == traces


def test_no_label_is_the_last_row_and_an_unknown_label_is_nan_in_its_own_sample_only(params: Any):
    predict = networks.pure(tiny())
    output = np.asarray(apply(predict, params, X, T, LABEL))
    assert np.isfinite(output).all() and np.abs(output[2]).max() > 0
    null = params | {"embedding": params["embedding"] | {"label": params["embedding"]["label"].at[0].set(params["embedding"]["label"][10])}}
    np.testing.assert_array_equal(output[2], apply(predict, null, X, T, np.array([0, 9, 0], np.int32))[2])
    unknown = np.asarray(apply(predict, params, X, T, np.array([10, 9, -2], np.int32)))
    assert np.isnan(unknown[[0, 2]]).all()
    np.testing.assert_array_equal(unknown[1], output[1])


def test_a_sample_does_not_depend_on_its_neighbours(params: Any):
    predict = networks.pure(tiny())
    together = apply(predict, params, X, T, LABEL)
    others = apply(predict, params, np.stack([X[0], X[2] * 9, X[1]]), T[[0, 2, 1]], LABEL[[0, 2, 1]])
    np.testing.assert_array_equal(together[0], others[0])
    np.testing.assert_allclose(together[1], others[2], atol=1e-5)


def test_gradients_agree_between_modes_remat_and_fast_backward():
    # one level keeps the compiles short; strided and resized convolutions have their own tests
    one = {"channels": (8,), "attention": (), "middle_attention": True}
    params = moved(networks.init(tiny(**one), jax.random.key(0), X, T, LABEL))
    direction = jax.tree.map(jnp.ones_like, params)

    def loss(network: networks.UNet) -> Callable[[Any], jax.Array]:
        return lambda params: jnp.mean(jnp.square(networks.pure(network)(params, X, T, LABEL)))

    def second(params: Any) -> Any:  # forward over reverse
        return jax.jvp(jax.value_and_grad(loss(tiny(**one))), (params,), (direction,))

    (value, gradient), (rate, curvature) = quickly(second)(params)
    assert value > 0 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(curvature))
    along = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    np.testing.assert_allclose(rate, along, rtol=1e-4)
    for changes in ({"remat": True}, {"convolution": "fast_backward"}):
        other = quickly(jax.grad(loss(tiny(**one, **changes))))(params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * float(jnp.abs(a).max()) + 1e-7), gradient, other)


@pytest.mark.parametrize(
    "network", [tiny(), tiny(remat=True), tiny(resampling="block", modulation="shift")], ids=["plain", "remat", "block"]
)
def test_forward_over_reverse_traces_through_every_default_kind_of_layer(network: networks.UNet):
    def second(x: jax.Array) -> Any:
        params = networks.init(network, jax.random.key(0), x, jnp.asarray(T), jnp.asarray(LABEL))
        return jax.jvp(jax.grad(lambda p: networks.pure(network)(p, x, T, LABEL).sum()), (params,), (params,))[1]

    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(second, X)))


def test_bfloat16_is_close_to_float32_and_the_output_keeps_the_dtype_of_x(params: Any):
    full = np.asarray(apply(networks.pure(tiny()), params, X, T, LABEL))
    half = apply(networks.pure(tiny(dtype="bfloat16")), params, X, T, LABEL)
    assert half.dtype == jnp.float32
    assert np.sqrt(np.mean((half - full) ** 2)) < 0.05 * np.sqrt(np.mean(full**2))
    shape = jax.eval_shape(networks.pure(tiny()), params, X.astype(jnp.bfloat16), T, LABEL)
    assert shape.dtype == jnp.bfloat16


@pytest.mark.float64
def test_x_in_float64_is_computed_in_float64_alone(params: Any):
    inputs = trees.cast(params, jnp.float64), X.astype(np.float64), T.astype(np.float64), LABEL
    jaxpr = jax.make_jaxpr(networks.pure(tiny()))(*inputs)
    assert "f32[" not in str(jaxpr) and jaxpr.out_avals[0].dtype == jnp.float64


def test_dropout_draws_only_with_a_key(params: Any):
    def drawn(rate: float, **key: jax.Array) -> bool:
        return "random_bits" in str(jax.make_jaxpr(lambda p: networks.pure(tiny(dropout=rate))(p, X, T, LABEL, **key))(params))

    assert drawn(0.5, key=jax.random.key(1)) and not drawn(0.5) and not drawn(0.0, key=jax.random.key(1))


@pytest.mark.parametrize(
    "network",
    [
        networks.unet.adm(32, (1, 2), blocks=1, attention=(4,), num_classes=10, head_size=16),
        networks.unet.diffusers_unet((32, 64), 1, (1,), num_classes=10, out_channels=2),
        networks.UNet((8,), blocks=1, attention=(), middle_attention=False, groups=4, num_classes=10, modulation="shift", heads=2),
    ],
    ids=["adm", "diffusers", "one level"],
)
def test_every_option_maps_an_image_of_any_divisible_size_to_its_own_size(network: networks.UNet):
    for size in ((2, 6), (12, 4)):
        x = jax.ShapeDtypeStruct((3, *size, 1), jnp.float32)
        network_here = network.clone(attention=(max(size) // 2,)) if network.attention else network

        def call(x: jax.Array, network: networks.UNet = network_here) -> jax.Array:
            params = networks.init(network, jax.random.key(0), x, jnp.asarray(T), jnp.asarray(LABEL))
            return networks.pure(network)(params, x, jnp.asarray(T), jnp.asarray(LABEL))

        assert jax.eval_shape(call, x).shape == (3, *size, network.out_channels or 1)


def test_epsilon_padding_and_frequencies_reach_the_output_and_no_parameter(params: Any):
    plain = apply(networks.pure(tiny()), params, X, T, LABEL)
    for changes in ({"epsilon": 1e-2}, {"downsample_padding": 0}, {"frequency_shift": 1}):
        assert np.abs(apply(networks.pure(tiny(**changes)), params, X, T, LABEL) - plain).max() > 1e-4, changes


def test_attention_stands_at_the_sizes_asked_for(fresh: Any):
    assert {name for name in fresh if name.endswith("attention")} == {
        "down_1_0_attention",
        "middle_attention",
        "up_1_0_attention",
        "up_1_1_attention",
    }


def test_attention_by_size_refuses_a_size_that_would_move_it_and_attention_by_level_stays(fresh: Any):
    large, times = np.zeros((1, 16, 16, 1), np.float32), T[:1]
    with pytest.raises(ValueError, match="have down_1_0_attention, which the network has not.*attention_levels"):
        jax.eval_shape(networks.pure(tiny()), fresh, large, times, LABEL[:1])
    with pytest.raises(ValueError, match="lack down_0_0_attention, which the network needs"):
        jax.eval_shape(networks.pure(tiny()), fresh, large[:, :4, :4], times, LABEL[:1])
    by_level = tiny(attention=(), attention_levels=(1,))
    assert jax.eval_shape(networks.pure(by_level), fresh, large, times, LABEL[:1]).shape == large.shape
    same = [str(jax.make_jaxpr(networks.pure(network))(fresh, X, T, LABEL)) for network in (tiny(), by_level)]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 7, 8, 1), np.float32), "multiples of 2"),
        (np.zeros((3, 8, 9, 1), np.float32), r"\(3, 8, 9, 1\)"),
        (np.zeros((3, 1, 8, 8), np.float32), "channels-first"),
        (np.zeros((3, 4, 32, 32), np.float32), "channels-first"),
    ],
)
def test_a_size_that_does_not_divide_or_channels_first_is_refused_with_the_rule(fresh: Any, x: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        networks.pure(tiny())(fresh, x, T, LABEL)


def test_a_wrong_label_is_refused_with_the_number_of_classes(fresh: Any):
    predict = networks.pure(tiny())
    with pytest.raises(ValueError, match="10 classes"):
        predict(fresh, X, T, np.array([0, 10, 1]))
    with pytest.raises(TypeError, match="integers"):
        predict(fresh, X, T, np.array([0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="10 classes"):
        predict(fresh, X, T)
    with pytest.raises(ValueError, match="shape"):
        predict(fresh, X, T, np.array([0, 1]))
    with pytest.raises(ValueError, match="without classes"):
        networks.pure(tiny(num_classes=None))(fresh, X, T, LABEL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modulation": "scale"}, "scale_shift"),
        ({"resampling": "conv"}, "convolution"),
        ({"convolution": "fast"}, "fast_backward"),
        ({"attention_implementation": "flash"}, "auto"),
        ({"dropout": 1.0}, "dropout"),
        ({"groups": 3}, "does not divide"),
        ({"head_size": 5}, "does not divide"),
        ({"channels": ()}, "no level"),
        ({"blocks": 0}, "blocks"),
        ({"epsilon": -1e-5}, "epsilon"),
        ({"downsample_padding": 2}, "downsample_padding"),
        ({"frequency_shift": -1}, "frequency_shift"),
        ({"precision": "hihgest"}, "highest"),
    ],
)
def test_an_option_that_is_unknown_or_does_not_fit_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        networks.init(tiny(**changes), jax.random.key(0), X, T, LABEL)
