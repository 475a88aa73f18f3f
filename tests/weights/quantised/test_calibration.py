"""Hessians are the mean of x xᵀ of what each matrix is multiplied with."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core import packed, trees
from gendiff.weights import quantised
from gendiff.weights.quantised import calibration, gptq
from tests.networks.rig import random_params
from tests.refusals import refusals

TOKENS = np.random.default_rng(0).integers(0, 50, (3, 2, 12)).astype(np.int32)
MODEL = networks.LanguageModel(vocabulary=50, context=16, width=32, depth=1, heads=4, key_value_heads=2)
PARAMS = random_params(MODEL, TOKENS[0])
RULES = quantised.linear(quantised.int4(16, search=True), tables=True)


def two_layers(params, x):
    return jnp.tanh(networks.fast.product_of_rows(x, params["first"]["kernel"])) @ params["second"]


def test_a_hessian_is_the_mean_of_the_outer_products_of_the_inputs_over_all_batches():
    batches = [(np.random.default_rng(i).normal(size=(5 + i, 4)).astype(np.float32),) for i in range(3)]
    params = {"first": {"kernel": np.ones((4, 3), np.float32)}, "second": np.ones((3, 2), np.float32)}
    (path, hessian), *others = calibration.hessians(
        two_layers, params, batches, quantised.linear(RULES[0].kind)
    ).items()
    rows = np.concatenate([batch for (batch,) in batches]).astype(np.float64)
    assert path == "first/kernel" and not others
    np.testing.assert_allclose(hessian, rows.T @ rows / len(rows), rtol=1e-5, atol=1e-6)


def test_every_matrix_of_a_language_model_has_one_and_gptq_with_them_loses_less_of_its_outputs():
    """On the texts of the calibration: each layer, with the inputs that it has before anything is rounded."""
    result = calibration.hessians(networks.pure(MODEL), PARAMS, [(tokens,) for tokens in TOKENS], RULES)
    assert {path: hessian.shape for path, hessian in result.items()} == {
        **{f"block_0/{name}/kernel": (32, 32) for name in ("mlp_0", "output", "qkv")},
        **{"block_0/mlp_1/kernel": (128, 128), "token": (32, 32)},
    }
    arrays = trees.paths(PARAMS)
    methods = quantised.quantise(PARAMS, RULES), gptq.quantise(PARAMS, result, RULES)
    nearest, corrected = (trees.paths(each, is_leaf=packed.is_packed) for each in methods)
    for path, hessian in result.items():
        table = path == "token"
        lost = [gptq.output_error(arrays[path], each[path], hessian, table=table) for each in (nearest, corrected)]
        assert lost[1] < lost[0], path
    assert jax.tree.structure(methods[0]) == jax.tree.structure(methods[1])


KERNEL = {"first": {"kernel": np.ones((4, 3), np.float32)}, "second": np.ones((3, 2), np.float32)}
ROWS = [(np.ones((2, 4), np.float32),)]
SECOND = [quantised.Packing("second", quantised.int4())]
test_a_calibration_without_inputs_is_refused = refusals(
    (lambda: calibration.hessians(two_layers, KERNEL, [], quantised.linear(quantised.int4())), "batches is empty"),
    (
        lambda: calibration.hessians(lambda params, x: x, KERNEL, ROWS, SECOND),
        "no array is multiplied",
    ),
)
