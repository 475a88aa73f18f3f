"""Arrays and checks: safe arithmetic, and at the public door a concrete value is tested and named while a tracer
passes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import arrays, checks
from tests.refusals import refusals

pytestmark = pytest.mark.numbers

INF, NAN = float("inf"), float("nan")


def test_the_logistic_keeps_relative_precision_in_both_tails_and_the_namespace_of_its_value():
    for value in (-700.0, -40.0, 0.0, 3.0):
        result = arrays.logistic(np.float64(value))
        assert isinstance(result, np.float64) and result == pytest.approx(
            np.exp(value) / (1 + np.exp(value)), rel=1e-14
        )
    assert isinstance(arrays.logistic(jnp.float32(-40.0)), jax.Array)
    np.testing.assert_allclose(arrays.logistic(jnp.float32(-40.0)), np.exp(-40.0), rtol=1e-5)
    assert [arrays.namespace(value) for value in (np.zeros(2), np.float32(1), jnp.zeros(2), 1.0)] == [np, np, jnp, jnp]


def test_the_next_power_of_two_is_the_number_itself_where_it_is_one_and_never_below_the_least():
    assert [arrays.power_of_two(count, 4) for count in (0, 1, 4, 5, 8, 9, 1023, 1024, 1025)] == [
        4,
        4,
        4,
        8,
        8,
        16,
        1024,
        1024,
        2048,
    ]


def test_a_safe_root_and_a_safe_quotient_have_no_gradient_where_they_are_replaced():
    value, slope = jax.vmap(jax.value_and_grad(arrays.safe_sqrt))(jnp.array([-1.0, 0.0, 4.0]))
    np.testing.assert_array_equal(value, [0.0, 0.0, 2.0])
    np.testing.assert_array_equal(slope, [0.0, 0.0, 0.25])
    quotient = jax.value_and_grad(lambda below: arrays.safe_divide(1.0, below, otherwise=7.0))
    assert (quotient(jnp.float32(0.0)), quotient(jnp.float32(2.0))) == ((7.0, 0.0), (0.5, -0.25))


def test_the_place_of_the_largest_number_is_the_first_of_equals_and_the_last_place_where_one_is_nan():
    draws = np.random.default_rng(0).integers(0, 9, (2, 30, 20)).astype(np.float32)
    np.testing.assert_array_equal(arrays.argmax(draws), draws.argmax(-1))
    np.testing.assert_array_equal(
        arrays.argmax(jnp.array([[NAN, 1.0, 0.0], [-INF, -INF, -INF], [0.0, INF, INF]])), [2, 0, 1]
    )


def test_a_number_a_batch_or_a_sample_expands_to_the_rank_and_dtype_of_its_samples():
    x = jnp.zeros((2, 3, 4), jnp.bfloat16)
    assert arrays.expand(0.5, x).shape == (1, 1, 1)
    assert arrays.expand(jnp.ones(2), x).shape == (2, 1, 1) and arrays.expand(jnp.ones(2), x).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        arrays.expand(jnp.ones(3), x)


test_a_value_out_of_range_is_named_with_its_range_and_one_of_another_kind_with_the_fix = refusals(
    (lambda: checks.in_range("eta", 1.5, 0.0, 1.0), r"eta = 1.5 is outside \[0, 1\]"),
    (lambda: checks.in_range("eta", NAN, 0.0, 1.0), r"eta = nan"),
    (lambda: checks.in_range("std", 0.0, 0.0, INF, open_low=True, open_high=True), r"std = 0 is outside \(0, inf\)"),
    (lambda: checks.in_range("std", INF, 0.0, INF, open_high=True), r"std = inf is outside \[0, inf\)"),
    (lambda: checks.in_range("bias", INF, -INF, 1.0), r"outside \(-inf, 1\]"),
    (lambda: checks.in_range("betas", np.array([0.5, 2.0]), 0.0, 1.0), r"betas = \[0.5 2. \]"),
    (lambda: checks.finite("mean", jnp.array([1.0, NAN])), "mean is not finite"),
    (lambda: checks.integer("steps", 0, 1), r"steps = 0 is outside \[1, …\]"),
    (lambda: checks.integer("steps", 11, 1, 10), r"steps = 11 is outside \[1, 10\]"),
    (lambda: checks.same_shape("x", jnp.ones(2), "y", jnp.ones(3)), r"x has shape \(2,\) but y has shape \(3,\)"),
    (lambda: checks.unscaled_pixels("clean", np.array([0.0, 255.0])), "like unscaled pixels; scale images"),
    (lambda: checks.one_key("key", jax.random.split(jax.random.key(0))), r"one key, got a batch of shape \(2,\)"),
    (
        lambda: checks.choice("end", "claen", ("clean", "first")),
        "end = 'claen' is none of clean, first; did you mean 'clean'",
    ),
    (lambda: checks.choice("end", "zzz", iter(("clean", "first"))), "none of clean, first$"),
    (lambda: checks.integer("steps", 2.0), "steps must be an integer, got 2.0", TypeError),
    (lambda: checks.integer("steps", True), "steps must be an integer, got True", TypeError),
    (lambda: checks.integer("steps", np.arange(2)), "steps must be an integer", TypeError),
    (lambda: jax.jit(lambda n: checks.integer("steps", n))(2.0), "an integer, got dtype float32", TypeError),
    (
        lambda: checks.floating("clean", np.zeros(2, np.uint8)),
        r"floating array, got uint8; scale images to \[-1, 1\]",
        TypeError,
    ),
    (lambda: checks.floating("clean", [0.5]), "clean must be a floating array, got list", TypeError),
    (lambda: checks.one_key("key", None), r"key is None: pass jax.random.key\(seed\)", TypeError),
    (
        lambda: checks.one_key("key", jnp.zeros(2, jnp.uint32)),
        "wrap a legacy key with jax.random.wrap_key_data",
        TypeError,
    ),
)


def test_values_within_their_range_pass():
    checks.in_range("eta", np.array([0.0, 1.0]), 0.0, 1.0)
    checks.finite("mean", -3)
    for count in (1, np.int64(1), jnp.int32(1)):
        checks.integer("steps", count, 1, 1)
    checks.same_shape("x", np.ones(2), "noise", jnp.ones(2))
    checks.floating("clean", jnp.zeros(2, jnp.bfloat16))
    checks.one_key("key", jax.random.key(0))
    checks.choice("end", "first", ("clean", "first"))
    for clean in (np.array([0.0, 1.0]), np.array([0.5, 200.0]), np.array([-1.0, 5.0]), np.zeros((0,))):
        checks.unscaled_pixels("clean", clean)


def test_tracers_pass_whatever_they_hold():
    def checked(number, count):
        checks.in_range("eta", number, 0.0, 1.0)
        checks.finite("mean", number)
        checks.integer("steps", count, 1)
        checks.unscaled_pixels("clean", number)
        assert not arrays.is_concrete(number)
        return number

    assert jax.jit(checked)(7.0, -3) == 7.0 and arrays.is_concrete(1.0)
