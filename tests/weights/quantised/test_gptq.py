"""GPTQ is the greedy optimum of its paper, column by column, and better than round to nearest where inputs agree."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import packed, trees
from gendiff.weights import quantised
from gendiff.weights.quantised import gptq
from tests.refusals import refusals
from tests.tables import table

RNG = np.random.default_rng(0)
IN, OUT = 64, 12
KERNEL = RNG.normal(size=(IN, OUT)).astype(np.float32)
MIXED = RNG.normal(size=(IN, IN)) * np.geomspace(3.0, 0.05, IN)
INPUTS = RNG.normal(size=(400, IN)) @ MIXED
CORRELATED = (INPUTS.T @ INPUTS / len(INPUTS)).astype(np.float32)
KINDS = {
    "searched": quantised.int4(16, search=True, scale_dtype="float32"),
    "symmetric": quantised.int4(32, scale_dtype="float32"),
    "asymmetric": quantised.int4(32, symmetric=False, scale_dtype="float32"),
    "bfloat16": quantised.int4(32),
    "no groups": quantised.int4(None, scale_dtype="float32"),
}


def dense(kernel):
    return np.asarray(kernel.dense(jnp.float32))


def reference(kernel, hessian, kind, order, damping=0.01):
    """Optimal brain quantisation in float64: after each input the inverse Hessian loses its row and column, and what
    is left takes the best correction (Eq. 2 and 3). No Cholesky factor, no blocks.
    """
    scale, minimum = (
        None if each is None else np.asarray(kind.by_input(each, IN), np.float64)
        for each in kind.grid(jnp.asarray(kernel.T), jnp.asarray(np.diagonal(hessian)))
    )
    weights, result = kernel.T.astype(np.float64).copy(), np.zeros((OUT, IN))
    hessian = hessian.astype(np.float64)
    inverse = np.linalg.inv(hessian + damping * np.diagonal(hessian).mean() * np.eye(IN))
    for j in order:
        if minimum is None:
            low = -8 if kind.search else -7
            result[:, j] = scale[:, j] * np.clip(np.round(weights[:, j] / scale[:, j]), low, 7)
        else:
            steps = np.clip(np.round((weights[:, j] - minimum[:, j]) / scale[:, j]), 0, 15)
            result[:, j] = scale[:, j] * steps + minimum[:, j]
        lost = (weights[:, j] - result[:, j]) / inverse[j, j]
        weights -= np.outer(lost, inverse[j])
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
        inverse[j] = inverse[:, j] = 0.0
    return result.T


@table("by_activity", [False, True])
@table("kind", list(KINDS))
def test_each_weight_is_that_of_the_greedy_optimum_in_float64(kind, by_activity):
    """But for ties: a weight in the middle of two levels is rounded to either."""
    order = np.argsort(-np.diagonal(CORRELATED), kind="stable") if by_activity else np.arange(IN)
    exact = reference(KERNEL, CORRELATED, KINDS[kind], order)
    result = dense(gptq.kernel(KERNEL, CORRELATED, KINDS[kind], by_activity=by_activity, block=16))
    same = np.isclose(result, exact, rtol=1e-4, atol=1e-5).all(0)
    assert same.sum() >= OUT - 1, "one output may have met a tie, after which it goes another way"


@table("kind", list(KINDS))
def test_with_the_identity_as_hessian_it_is_round_to_nearest(kind):
    kernel = gptq.kernel(KERNEL, 3.0 * np.eye(IN), KINDS[kind])
    nearest = quantised.packed_array(KERNEL, KINDS[kind])
    np.testing.assert_array_equal(kernel.values, nearest.values)
    np.testing.assert_allclose(kernel.scale.astype(np.float32), nearest.scale.astype(np.float32), rtol=1e-6)


def test_outputs_on_correlated_inputs_lose_less_than_by_round_to_nearest():
    for name, kind in KINDS.items():
        nearest = gptq.output_error(KERNEL, quantised.packed_array(KERNEL, kind), CORRELATED)
        for by_activity in (False, True):
            kernel = gptq.kernel(KERNEL, CORRELATED, kind, by_activity=by_activity)
            lost = gptq.output_error(KERNEL, kernel, CORRELATED)
            assert lost < (0.9 if name == "no groups" else 0.6) * nearest, (name, by_activity)
            off = INPUTS @ (dense(kernel) - KERNEL)
            assert lost == pytest.approx(np.mean(off**2) / np.mean((INPUTS @ KERNEL) ** 2), rel=1e-3)


def test_the_size_of_a_block_changes_nothing_beyond_rounding():
    kernels = [dense(gptq.kernel(KERNEL, CORRELATED, KINDS["symmetric"], block=block)) for block in (1, 16, 99)]
    for other in kernels[1:]:
        assert np.isclose(other, kernels[0], atol=1e-5).all(0).sum() >= OUT - 1


def test_a_table_is_the_kernel_the_other_way_round():
    kind = KINDS["searched"]
    kernel, rows = gptq.kernel(KERNEL, CORRELATED, kind), gptq.kernel(KERNEL.T, CORRELATED, kind, table=True)
    assert rows.table and rows.shape == (OUT, IN)
    np.testing.assert_array_equal(dense(rows), dense(kernel).T)


def test_inputs_that_are_always_0_are_rounded_to_nearest_and_disturb_nothing():
    dead = np.zeros(IN, bool)
    dead[[3, 17, 63]] = True
    hessian = np.where(dead[:, None] | dead[None], 0.0, CORRELATED).astype(np.float32)
    for kind in (KINDS["symmetric"], KINDS["asymmetric"]):
        result = dense(gptq.kernel(KERNEL, hessian, kind))
        nearest = dense(quantised.packed_array(KERNEL, kind))
        np.testing.assert_allclose(result[dead], nearest[dead], rtol=1e-6)
    nearest = quantised.packed_array(KERNEL, KINDS["symmetric"])
    nothing = gptq.kernel(KERNEL, np.zeros((IN, IN)), KINDS["symmetric"])
    np.testing.assert_array_equal(nothing.values, nearest.values)


def test_a_last_group_that_is_not_full_has_its_bytes():
    kernel = gptq.kernel(KERNEL[:40], CORRELATED[:40, :40], KINDS["symmetric"])
    nearest = quantised.packed_array(KERNEL[:40], KINDS["symmetric"])
    assert quantised.nbytes(kernel) == quantised.nbytes(nearest) and dense(kernel).shape == (40, OUT)
    np.testing.assert_array_equal(kernel.scale, nearest.scale)


def test_parameters_are_packed_by_the_rules_and_their_hessians():
    params = {"layer": {"kernel": KERNEL, "bias": np.zeros(OUT, np.float32)}, "token": KERNEL.T}
    kind = KINDS["symmetric"]
    rules = quantised.Packing("kernel$", kind), quantised.Packing("token$", quantised.int8(), table=True)
    result = gptq.quantise(params, {"layer/kernel": CORRELATED}, rules)
    kinds = {path: packed.is_packed(leaf) for path, leaf in trees.paths(result, is_leaf=packed.is_packed).items()}
    assert kinds == {"layer/bias": False, "layer/kernel": True, "token": True}
    np.testing.assert_array_equal(result["layer"]["kernel"].values, gptq.kernel(KERNEL, CORRELATED, kind).values)
    np.testing.assert_array_equal(result["token"].values, quantised.quantise(params, rules)["token"].values)


SYMMETRIC = KINDS["symmetric"]
TILTED = CORRELATED + np.eye(IN, k=1, dtype=np.float32) * CORRELATED.max()
ENDLESS = np.where(np.eye(IN) > 0, np.inf, CORRELATED)
test_what_gptq_cannot_pack_is_refused = refusals(
    (lambda: gptq.kernel(KERNEL, CORRELATED[:5, :5], SYMMETRIC), r"hessian has shape \(5, 5\): \(64, 64\) is needed"),
    (lambda: gptq.kernel(KERNEL, TILTED, SYMMETRIC), "it is not symmetric"),
    (lambda: gptq.kernel(KERNEL, -CORRELATED, SYMMETRIC), "its diagonal is negative"),
    (lambda: gptq.kernel(KERNEL, ENDLESS, SYMMETRIC), "hessian is not finite"),
    (
        lambda: gptq.kernel(
            KERNEL, np.ones((IN, IN)) - 0.9 * np.eye(IN) * 0 - 2 * np.eye(IN, k=1) - 2 * np.eye(IN, k=-1), SYMMETRIC
        ),
        "it is not positive",
    ),
    (lambda: gptq.kernel(KERNEL, CORRELATED, SYMMETRIC, damping=0.0), "damping = 0 is outside"),
    (lambda: gptq.kernel(KERNEL, CORRELATED, SYMMETRIC, block=0), "block = 0 is outside"),
    (lambda: gptq.kernel(KERNEL[None], CORRELATED, SYMMETRIC), "is no matrix"),
    (lambda: gptq.kernel(KERNEL.astype(int), CORRELATED, SYMMETRIC), "array", TypeError),
    (lambda: gptq.kernel(KERNEL, CORRELATED, quantised.int8()), "is none of 4 bits", TypeError),
    (lambda: gptq.quantise({"kernel": KERNEL}, {}, quantised.linear(SYMMETRIC)), "there is no Hessian of kernel"),
    (lambda: gptq.quantise({"kernel": KERNEL}, {}, [quantised.Packing("token$", SYMMETRIC)]), "fits the rules"),
)
