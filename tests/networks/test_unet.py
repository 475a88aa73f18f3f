from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from tests.networks.rig import LABEL, T, apply, lowered, moved, quickly

X = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)


def tiny(**changes: Any) -> networks.UNet:
    fields: dict[str, Any] = {"channels": (4, 8), "blocks": 1, "attention": (2,), "head_size": 4, "groups": 2, "num_classes": 10}
    return networks.UNet(**(fields | changes))


@pytest.fixture(scope="module")
def fresh() -> Any:
    return networks.init(tiny(), jax.random.key(0), X, T, LABEL)


@pytest.fixture(scope="module")
def params(fresh: Any) -> Any:
    return moved(fresh)


@pytest.fixture(scope="module")
def output(params: Any) -> np.ndarray:
    return np.asarray(apply(networks.pure(tiny()), params, X, T, LABEL))


def shape(network: networks.UNet, params: Any, x: Any, count: int = 3) -> jax.ShapeDtypeStruct:
    return jax.eval_shape(networks.pure(network), params, x, T[:count], LABEL[:count])


def test_parameters_are_a_plain_float32_dict_and_the_fresh_output_is_zero(fresh: Any):
    assert type(fresh) is dict and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(fresh))
    assert trees.paths(fresh)["embedding/label"].shape == (11, 16)
    output = apply(networks.pure(tiny()), fresh, X, T, LABEL)
    assert output.shape == X.shape and output.dtype == X.dtype and not np.any(output)


def test_an_equal_module_built_again_does_not_retrace(params: Any, output: np.ndarray):
    first, again = networks.pure(tiny()), networks.pure(tiny())
    assert first == again and hash(first) == hash(again) and first != networks.pure(tiny(blocks=2))
    traces = apply._cache_size()
    apply(again, params, X, T, LABEL)
    assert apply._cache_size() == traces


def test_no_label_is_the_last_row_and_an_unknown_label_is_nan_in_its_own_sample_only(params: Any, output: np.ndarray):
    predict = networks.pure(tiny())
    assert np.isfinite(output).all() and np.abs(output[2]).max() > 0
    null = params | {"embedding": params["embedding"] | {"label": params["embedding"]["label"].at[0].set(params["embedding"]["label"][10])}}
    np.testing.assert_array_equal(output[2], apply(predict, null, X, T, np.array([0, 3, 0], np.int32))[2])
    unknown = np.asarray(apply(predict, params, X, T, np.array([10, 3, -2], np.int32)))
    assert np.isnan(unknown[[0, 2]]).all()
    np.testing.assert_array_equal(unknown[1], output[1])


def test_a_sample_does_not_depend_on_its_neighbours(params: Any, output: np.ndarray):
    others = apply(networks.pure(tiny()), params, np.stack([X[0], X[2] * 9, X[1]]), T[[0, 2, 1]], LABEL[[0, 2, 1]])
    np.testing.assert_array_equal(output[0], others[0])
    np.testing.assert_allclose(output[1], others[2], atol=1e-5)


def test_the_derivative_of_the_loss_by_forward_mode_is_its_gradient_along_the_direction():
    # one level without attention keeps the compile short; changes of size and attention have their own tests
    network = tiny(channels=(4,), attention=(), middle_attention=False)
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL))
    params = moved(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))
    direction = jax.tree.map(jnp.ones_like, params)

    def loss(params: Any) -> jax.Array:
        return jnp.mean(jnp.square(networks.pure(network)(params, X, T, LABEL)))

    (value, rate), gradient = quickly(lambda p: (jax.jvp(loss, (p,), (direction,)), jax.grad(loss)(p)))(params)
    assert value > 0
    along = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    np.testing.assert_allclose(rate, along, rtol=1e-4)


@pytest.mark.parametrize("network", [tiny(), tiny(resampling="block", modulation="shift", remat=True)], ids=["plain", "block"])
def test_forward_over_reverse_traces_through_every_default_kind_of_layer(network: networks.UNet, fresh: Any):
    def second(x: jax.Array) -> Any:
        params = networks.init(network, jax.random.key(0), x, T, LABEL)
        return jax.jvp(jax.grad(lambda p: networks.pure(network)(p, x, T, LABEL).sum()), (params,), (params,))[1]

    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(second, X)))


def test_remat_and_fast_backward_reach_every_block_and_every_convolution(fresh: Any):
    def count(word: str, **changes: Any) -> int:
        return str(jax.make_jaxpr(networks.pure(tiny(**changes)))(fresh, X, T, LABEL)).count(word)

    convolutions = sum(leaf.ndim == 4 for leaf in jax.tree.leaves(fresh))
    assert count("fast_backward_convolution") == 0 and count("fast_backward_convolution", convolution="fast_backward") >= convolutions
    assert count("remat", remat=True) == count("remat") + 8 + 4  # blocks, and attention beside them: one down, one amid, two up


def test_bfloat16_is_close_to_float32_and_the_output_keeps_the_dtype_of_x(params: Any, output: np.ndarray):
    half = apply(networks.pure(tiny(dtype="bfloat16")), params, X, T, LABEL)
    assert half.dtype == jnp.float32
    assert np.sqrt(np.mean((half - output) ** 2)) < 0.05 * np.sqrt(np.mean(output**2))
    assert shape(tiny(), params, X.astype(jnp.bfloat16)).dtype == jnp.bfloat16


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
    ("network", "size"),
    [
        (networks.unet.adm(32, (1, 2), blocks=1, attention=(3,), num_classes=10, head_size=16), (2, 6)),
        (networks.unet.diffusers_unet((32, 64), 1, (1,), num_classes=10, out_channels=2), (12, 4)),
        (networks.UNet((8,), blocks=1, attention=(), middle_attention=False, groups=4, num_classes=10, modulation="shift"), (3, 1)),
    ],
    ids=["adm", "diffusers", "one level"],
)
def test_every_option_maps_an_image_of_any_divisible_size_to_its_own_size(network: networks.UNet, size: tuple[int, int]):
    x = jax.ShapeDtypeStruct((3, *size, 1), jnp.float32)
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), x, T, LABEL))
    assert shape(network, params, x).shape == (3, *size, network.out_channels or 1)
    assert ("down_1_0_attention" in params) == (len(network.channels) > 1)


def test_epsilon_padding_and_frequencies_reach_the_output_and_no_parameter(params: Any):
    plain = lowered(tiny(), params, X)
    norms = plain.count("1.000000e-05") + plain.count("9.99999974E-6")
    text = lowered(tiny(epsilon=0.125), params, X)
    assert norms > 0 and text.count("9.99999974E-6") == text.count("1.000000e-05") == 0
    for changes in ({"downsample_padding": 0}, {"frequency_shift": 1}):
        assert lowered(tiny(**changes), params, X) != plain, changes


def test_attention_stands_at_the_sizes_asked_for(fresh: Any):
    names = {"down_1_0_attention", "middle_attention", "up_1_0_attention", "up_1_1_attention"}
    assert {name for name in fresh if name.endswith("attention")} == names


def test_attention_by_size_refuses_a_size_that_would_move_it_and_attention_by_level_stays(fresh: Any):
    large = np.zeros((1, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="have down_1_0_attention, which the network has not.*attention_levels"):
        shape(tiny(), fresh, large, 1)
    with pytest.raises(ValueError, match="lack down_0_0_attention, which the network needs"):
        shape(tiny(), fresh, large[:, :2, :2], 1)
    by_level = tiny(attention=(), attention_levels=(1,))
    assert shape(by_level, fresh, large, 1).shape == large.shape
    assert lowered(by_level, fresh, X) == lowered(tiny(), fresh, X)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 7, 8, 1), np.float32), "multiples of 2"),
        (np.zeros((3, 1, 8, 8), np.float32), "channels-first"),
    ],
)
def test_a_size_that_does_not_divide_or_channels_first_is_refused_with_the_rule(fresh: Any, x: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        networks.pure(tiny())(fresh, x, T, LABEL)


def test_a_wrong_label_is_refused_with_the_number_of_classes(fresh: Any):
    predict = networks.pure(tiny())
    for label in (np.array([0, 10, 1]), None):
        with pytest.raises(ValueError, match="10 classes"):
            predict(fresh, X, T, label)
    with pytest.raises(TypeError, match="integers"):
        predict(fresh, X, T, np.array([0.0, 1.0, 2.0]))
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
        ({"attention_levels": (2,)}, "attention_levels"),
        ({"frequency_shift": -1}, "frequency_shift"),
        ({"precision": "hihgest"}, "highest"),
    ],
)
def test_an_option_that_is_unknown_or_does_not_fit_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        networks.init(tiny(**changes), jax.random.key(0), X, T, LABEL)
