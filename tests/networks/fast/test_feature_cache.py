"""Kept features: what is kept and given back changes nothing at the same input, and the layers behind it are not
computed again.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import feature_cache
from gendiff.scaling import accounting
from tests.networks.rig import LABEL, SIZE, TEXT, T, X, dit, joint, random_params, unet
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow

UNET_NAMES = {1: {"input", "embedding", "up_0_1", "output_norm", "output"}}
UNET_NAMES[3] = UNET_NAMES[1] | {"down_0_0", "down_0_resize", "up_0_0", "up_1_1", "up_1_1_attention", "up_1_resize"}
FLUX = {"rotary_channels": (2, 2, 4), "null_text": False}

# network, conditions, what is asked to be kept, the names of the parameters behind it
CASES = {
    "unet, the last block": (unet(), (LABEL,), networks.DeepFeatures(1), lambda name: name not in UNET_NAMES[1]),
    "unet, more than a level": (
        unet(middle_attention=False),
        (LABEL,),
        networks.DeepFeatures(3),
        lambda name: name not in UNET_NAMES[3],
    ),
    "dit, one in the middle": (dit(depth=3), (LABEL,), networks.BlockChange(1, 1), "block_1".__eq__),
    "dit, the last with a text": (joint(), (LABEL, TEXT, SIZE), networks.BlockChange(1, 1), "block_1".__eq__),
    "dit, one of either kind": (
        joint(depth=1, single_depth=2, **FLUX),
        (LABEL, TEXT, SIZE),
        networks.BlockChange(0, 1),
        {"block_0", "single_block_0"}.__contains__,
    ),
}


FAST = {"unet, more than a level"}
every_case = pytest.mark.parametrize("name", some_slow(CASES, CASES.keys() - FAST))


@functools.cache
def params_of(name):
    network, conditions, *_ = CASES[name]
    return random_params(network, X, T, *conditions)


def no_number(leaf):
    return jax.device_put(np.full(leaf.shape, np.nan, leaf.dtype))


def equations(function, *inputs):
    """What a function computes, line by line, whichever of it is returned."""
    return [
        str(equation.primitive) + str(equation.outvars[0].aval) for equation in jax.make_jaxpr(function)(*inputs).eqns
    ]


@every_case
def test_keeping_computes_what_the_network_computes_and_the_change_of_blocks(name):
    network, conditions, cache, _ = CASES[name]
    plain, keeping = (  # by apply, which writes out equal blocks
        equations(lambda p, cached=cached: network.apply({"params": p}, X, T, *conditions, *cached), params_of(name))
        for cached in ((), (cache,))
    )
    if isinstance(cache, networks.DeepFeatures):
        assert keeping == plain and len(plain) > 100
    else:
        assert len(plain) < len(keeping) <= len(plain) + 3


@every_case
def test_feature_cache_change_nothing_at_the_same_input_and_what_is_behind_them_is_not_computed(name):
    """Parameters behind them that are no numbers would show, and so would features that follow another x."""
    network, conditions, cache, behind = CASES[name]
    predict, params = networks.pure(network), params_of(name)
    broken = {part: jax.tree.map(no_number, leaves) if behind(part) else leaves for part, leaves in params.items()}
    assert sum(map(behind, params)) >= 1

    @quickly
    def run(params, broken, both):
        outputs, held = jax.vmap(lambda x: predict(params, x, T, *conditions, cache))(both)
        held = jax.tree.map(lambda leaf: leaf[0], held)
        return outputs, jax.vmap(lambda x: predict(broken, x, T, held, *conditions)[0])(both)

    full, given_back = jax.device_get(run(params, broken, np.stack([X, X + 0.1])))
    np.testing.assert_allclose(given_back[0], full[0], rtol=1e-4, atol=1e-5)
    assert np.all(np.isfinite(given_back[1]))
    assert np.abs(given_back[1] - full[0]).max() > 1e-3 and np.abs(given_back[1] - full[1]).max() > 1e-4


@pytest.mark.slow
@table("network, empty", [(unet(), networks.DeepFeatures(1)), (dit(depth=3), networks.BlockChange(0, 1))])
def test_operations_are_counted_with_feature_cache_and_without_and_parameters_are_those_of_all_layers(network, empty):
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL))
    _, cache = jax.eval_shape(networks.pure(network), params, X, T, LABEL, empty)
    full, keeping, rest = (
        accounting.count(network, X, T, LABEL, *conditions, embeddings=True) for conditions in ((), (empty,), (cache,))
    )
    assert full == keeping and full.parameters == rest.parameters
    assert 0.05 * full.forward_flops < rest.forward_flops < 0.5 * full.forward_flops


def traced(network, *cache, conditions=(LABEL,)):
    """Called with shapes."""

    def run():
        params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, *conditions))
        return jax.eval_shape(networks.pure(network), params, X, T, *conditions, *cache)

    return run


RESIDUALS = networks.Residuals((), np.zeros((3, 4, 2, 8), np.float32))

test_feature_cache_that_do_not_fit_are_refused = refusals(
    (traced(unet(), networks.DeepFeatures(0)), r"shallow = 0 is outside \[1, 3\]"),
    (traced(unet(), networks.DeepFeatures(4)), r"shallow = 4 is outside \[1, 3\]"),
    (traced(unet(), networks.DeepFeatures(1, jnp.zeros((3, 4, 2, 4)))), r"features have shape \(3, 4, 2, 4\)"),
    (traced(unet(), networks.DeepFeatures(1), RESIDUALS), "residuals change every level"),
    (traced(unet(), networks.BlockChange(0, 0)), "a block change was given to a network that keeps none: a DiT"),
    (traced(dit(), networks.DeepFeatures(1)), "deep features were given to a network that keeps none: a U-Net"),
    (traced(dit(depth=2), networks.BlockChange(0, 2)), r"last = 2 is outside \[0, 1\]"),
    (traced(dit(depth=2), networks.BlockChange(1, 0)), "last = 0 is outside"),
    (
        traced(dit(), networks.BlockChange(0, 0, jnp.zeros((3, 4, 16)))),
        r"the change has shape \(3, 4, 16\), but the tokens have",
    ),
)


def test_what_is_kept_is_a_record_of_arrays_whose_numbers_are_no_data():
    assert jax.tree.leaves(networks.DeepFeatures(2)) == jax.tree.leaves(networks.BlockChange(0, 1)) == []
    assert networks.DeepFeatures(2) == feature_cache.DeepFeatures(2) != networks.DeepFeatures(1)
