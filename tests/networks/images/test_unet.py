import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from tests.networks.rig import LABEL, TEXT, T, X, fresh, lowered, unet
from tests.refusals import refusals
from tests.tables import table

pytestmark = pytest.mark.numbers


def shape(network, params, x):
    return jax.eval_shape(networks.pure(network), params, x, T[: len(x)], LABEL[: len(x)]).shape


@pytest.mark.parametrize(
    "network", [unet(), pytest.param(unet(resampling="block", modulation="shift", remat=True), marks=pytest.mark.slow)]
)
def test_forward_over_reverse_traces_through_every_default_kind_of_layer(network):
    def second(params, x):
        return jax.jvp(jax.grad(lambda p: networks.pure(network)(p, x, T, LABEL).sum()), (params,), (params,))[1]

    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(second, fresh(network), X)))


def traced(key=None, **changes):
    rngs, apply = {} if key is None else {"dropout": key}, unet(**changes).apply  # which writes out equal blocks
    return str(jax.make_jaxpr(lambda params: apply({"params": params}, X, T, LABEL, rngs=rngs))(fresh(unet())))


def test_remat_fast_backward_and_dropout_reach_every_block_and_every_convolution():
    plain, convolutions = traced(dropout=0.5), sum(leaf.ndim == 4 for leaf in jax.tree.leaves(fresh(unet())))
    changed = traced(jax.random.key(1), convolution="fast_backward", remat=True)
    assert "fast_backward_convolution" not in plain and changed.count("fast_backward_convolution") >= convolutions
    # blocks, and attention beside them: one down, one amid, two up
    assert changed.count("remat") == plain.count("remat") + 8 + 4
    assert "random_bits" not in plain + changed and "random_bits" in traced(jax.random.key(1), dropout=0.5)


@table(
    "network, size",
    [
        (networks.unet.adm(32, (1, 2), blocks=1, attention=(3,), num_classes=10, head_size=16), (2, 6)),
        (networks.unet.diffusers_unet((32, 64), 1, (1,), num_classes=10, out_channels=2), (12, 4)),
        (
            networks.UNet(
                (8,), blocks=1, attention=(), middle_attention=False, groups=4, num_classes=10, modulation="shift"
            ),
            (3, 1),
        ),
    ],
)
def test_every_option_maps_an_image_of_any_divisible_size_to_its_own_size(network, size):
    x = np.zeros((3, *size, 1), np.float32)
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), x, T, LABEL))
    assert shape(network, params, x) == (3, *size, network.out_channels or 1)
    assert ("down_1_0_attention" in params) == (len(network.channels) > 1)


def test_attention_stands_at_the_sizes_asked_for_refuses_a_size_that_would_move_it_and_by_level_stays():
    params, large = fresh(unet()), np.zeros((1, 16, 16, 1), np.float32)
    names = {"down_1_0_attention", "middle_attention", "up_1_0_attention", "up_1_1_attention"}
    assert {name for name in params if name.endswith("attention")} == names
    with pytest.raises(ValueError, match="have down_1_0_attention, which the network has not.*attention_levels"):
        shape(unet(), params, large)
    with pytest.raises(ValueError, match="lack down_0_0_attention, which the network needs"):
        shape(unet(), params, large[:, :4, :4])
    by_level = unet(attention=(), attention_levels=(1,))
    assert shape(by_level, params, large) == large.shape
    assert lowered(by_level, params) == lowered(unet(), params)


def test_each_level_has_its_depth_of_transformers_and_the_middle_that_of_the_last_without_biases_of_queries():
    fields = {
        "attention": (),
        "attention_levels": (0, 1),
        "heads": (1, 2),
        "transformer_depth": (1, 2),
        "transformer": "stable_diffusion",
    }
    network = unet(text_channels=6, **fields)
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL, TEXT))
    depths = {
        name: sum(part.startswith("block_") for part in params[name]) for name in params if name.endswith("attention")
    }
    last = ("down_1_0_attention", "middle_attention", "up_1_0_attention", "up_1_1_attention")
    assert depths == dict.fromkeys(last, 2) | dict.fromkeys(
        ("down_0_0_attention", "up_0_0_attention", "up_0_1_attention"), 1
    )
    block = params["middle_attention"]["block_1"]
    assert all(set(block[name]) == {"kernel"} for name in ("qkv", "cross_query", "cross_key_value"))
    assert set(block["cross_output"]) == {"kernel", "bias"} and block["mlp_0"]["kernel"].shape == (8, 2 * 4 * 8)


def called(*sizes, **changes):
    x = np.zeros((3, *sizes), np.float32) if sizes else X
    return lambda: networks.init(unet(**changes), jax.random.key(0), x, T, LABEL)


test_what_is_unknown_or_does_not_fit_is_refused_with_the_rule = pytest.mark.fault(
    "images: height not divisible by patch or downsampling", "images: channels first"
)(
    refusals(
        (called(7, 8, 1), "multiples of 2"),
        (called(1, 8, 8), "channels-first"),
        (called(modulation="scale"), "scale_shift"),
        (called(resampling="conv"), "convolution"),
        (called(convolution="fast"), "fast_backward"),
        (called(attention_implementation="flash"), "auto"),
        (called(dropout=1.0), "dropout"),
        (called(groups=3), "does not divide"),
        (called(groups=0), "groups = 0"),
        (called(head_size=0), "head_size = 0"),
        (called(channels=(64, 0)), "channels = 0"),
        (called(head_size=5), "does not divide"),
        (called(heads=(2,)), r"heads = \(2,\) must be one number, or one for each of the 2 levels"),
        (called(heads=(2, 0)), "heads = 0"),
        (called(transformer_depth=(1, 1, 1)), "for each of the 2 levels"),
        (called(transformer="gated"), "plain, stable_diffusion"),
        (called(channels=()), "no level"),
        (called(blocks=0), "blocks"),
        (called(epsilon=-1e-5), "epsilon"),
        (called(downsample_padding=2), "downsample_padding"),
        (called(attention_levels=(2,)), "attention_levels"),
        (called(frequency_shift=-1), "frequency_shift"),
        (called(precision="hihgest"), "highest"),
    )
)
