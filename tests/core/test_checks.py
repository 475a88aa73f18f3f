"""Checks at the public door: a concrete value is tested and named, a tracer passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import checks

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.in_range("eta", 1.5, 0.0, 1.0), r"eta = 1.5 is outside \[0, 1\]"),
        (lambda: checks.in_range("eta", NAN, 0.0, 1.0), r"eta = nan"),
        (lambda: checks.in_range("std", 0.0, 0.0, INF, open_low=True, open_high=True), r"std = 0 is outside \(0, inf\)"),
        (lambda: checks.in_range("std", INF, 0.0, INF, open_high=True), r"std = inf is outside \[0, inf\)"),
        (lambda: checks.in_range("bias", INF, -INF, 1.0), r"outside \(-inf, 1\]"),
        (lambda: checks.in_range("betas", np.array([0.5, 2.0]), 0.0, 1.0), r"betas = \[0.5 2. \]"),
        (lambda: checks.finite("mean", jnp.array([1.0, NAN])), "mean is not finite"),
        (lambda: checks.integer("steps", 0, 1), r"steps = 0 is outside \[1, …\]"),
        (lambda: checks.integer("steps", 11, 1, 10), r"steps = 11 is outside \[1, 10\]"),
        (lambda: checks.same_shape("x", jnp.ones(2), "noise", jnp.ones(3)), r"x has shape \(2,\) but noise has shape \(3,\)"),
        (lambda: checks.unscaled_pixels("clean", np.array([0.0, 255.0])), "like unscaled pixels; scale images"),
        (lambda: checks.one_key("key", jax.random.split(jax.random.key(0))), r"key must be one key, got a batch of shape \(2,\)"),
        (lambda: checks.choice("end", "claen", ("clean", "first")), "end = 'claen' is none of clean, first; did you mean 'clean'"),
        (lambda: checks.choice("end", "zzz", iter(("clean", "first"))), "none of clean, first$"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range(check, message):
    with pytest.raises(ValueError, match=message):
        check()


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.integer("steps", 2.0), "steps must be an integer, got 2.0"),
        (lambda: checks.integer("steps", True), "steps must be an integer, got True"),
        (lambda: checks.integer("steps", np.arange(2)), "steps must be an integer"),
        (lambda: jax.jit(lambda n: checks.integer("steps", n))(2.0), "steps must be an integer, got dtype float32"),
        (lambda: checks.floating("clean", np.zeros(2, np.uint8)), r"clean must be a floating array, got uint8; scale images to \[-1, 1\]"),
        (lambda: checks.floating("clean", [0.5]), "clean must be a floating array, got list"),
        (lambda: checks.one_key("key", None), r"key is None: pass jax.random.key\(seed\)"),
        (lambda: checks.one_key("key", jnp.zeros(2, jnp.uint32)), "wrap a legacy key with jax.random.wrap_key_data"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_the_fix(check, message):
    with pytest.raises(TypeError, match=message):
        check()


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
    def every(number, count):
        checks.in_range("eta", number, 0.0, 1.0)
        checks.finite("mean", number)
        checks.integer("steps", count, 1)
        checks.unscaled_pixels("clean", number)
        return number

    assert jax.jit(every)(7.0, -3) == 7.0
