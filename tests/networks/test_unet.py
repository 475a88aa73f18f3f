from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from tests.networks.rig import LABEL, T, X, fresh, lowered, moved, quickly, unet


def shape(network: networks.UNet, params: Any, x: Any, count: int = 3) -> jax.ShapeDtypeStruct:
    return jax.eval_shape(networks.pure(network), params, x, T[:count], LABEL[:count])


def test_the_derivative_of_the_loss_by_forward_mode_is_its_gradient_along_the_direction():
    # one level without attention keeps the compile short; changes of size and attention have their own tests
    network = unet(channels=(4,), attention=(), middle_attention=False)
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL))
    params = moved(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))
    direction = jax.tree.map(jnp.ones_like, params)

    def loss(params: Any) -> jax.Array:
        return jnp.mean(jnp.square(networks.pure(network)(params, X, T, LABEL)))

    (value, rate), gradient = quickly(lambda p: (jax.jvp(loss, (p,), (direction,)), jax.grad(loss)(p)))(params)
    assert value > 0
    along = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    np.testing.assert_allclose(rate, along, rtol=1e-4)


@pytest.mark.parametrize("network", [unet(), unet(resampling="block", modulation="shift", remat=True)], ids=["plain", "block"])
def test_forward_over_reverse_traces_through_every_default_kind_of_layer(network: networks.UNet):
    def second(x: jax.Array) -> Any:
        params = networks.init(network, jax.random.key(0), x, T, LABEL)
        return jax.jvp(jax.grad(lambda p: networks.pure(network)(p, x, T, LABEL).sum()), (params,), (params,))[1]

    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(second, X)))


def test_remat_and_fast_backward_reach_every_block_and_every_convolution():
    def count(word: str, **changes: Any) -> int:
        return str(jax.make_jaxpr(networks.pure(unet(**changes)))(fresh(unet()), X, T, LABEL)).count(word)

    convolutions = sum(leaf.ndim == 4 for leaf in jax.tree.leaves(fresh(unet())))
    assert count("fast_backward_convolution") == 0 and count("fast_backward_convolution", convolution="fast_backward") >= convolutions
    assert count("remat", remat=True) == count("remat") + 8 + 4  # blocks, and attention beside them: one down, one amid, two up


def test_dropout_draws_only_with_a_key():
    def drawn(rate: float, **key: jax.Array) -> bool:
        return "random_bits" in str(jax.make_jaxpr(lambda p: networks.pure(unet(dropout=rate))(p, X, T, LABEL, **key))(fresh(unet())))

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


def test_attention_stands_at_the_sizes_asked_for():
    names = {"down_1_0_attention", "middle_attention", "up_1_0_attention", "up_1_1_attention"}
    assert {name for name in fresh(unet()) if name.endswith("attention")} == names


def test_attention_by_size_refuses_a_size_that_would_move_it_and_attention_by_level_stays():
    large = np.zeros((1, 16, 16, 1), np.float32)
    with pytest.raises(ValueError, match="have down_1_0_attention, which the network has not.*attention_levels"):
        shape(unet(), fresh(unet()), large, 1)
    with pytest.raises(ValueError, match="lack down_0_0_attention, which the network needs"):
        shape(unet(), fresh(unet()), large[:, :4, :4], 1)
    by_level = unet(attention=(), attention_levels=(1,))
    assert shape(by_level, fresh(unet()), large, 1).shape == large.shape
    assert lowered(by_level, fresh(unet())) == lowered(unet(), fresh(unet()))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 7, 8, 1), np.float32), "multiples of 2"),
        (np.zeros((3, 1, 8, 8), np.float32), "channels-first"),
    ],
)
def test_a_size_that_does_not_divide_or_channels_first_is_refused_with_the_rule(x: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        networks.pure(unet())(fresh(unet()), x, T, LABEL)


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
        networks.init(unet(**changes), jax.random.key(0), X, T, LABEL)
