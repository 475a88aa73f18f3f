import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import training
from gendiff.training import precision
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

pytestmark = pytest.mark.numbers

PARAMS, X, T = {"w": np.eye(3, dtype=np.float32)}, np.ones((2, 3), np.float32), np.array([501.0, 999.0], np.float32)


def network(params, x, t, *condition):
    return jnp.dot(x, params["w"]) + t[:, None].astype(x.dtype)


def test_network_computes_in_the_dtype_answers_in_that_of_x_and_gives_float32_gradients():
    dtypes = {}

    def spy(params, x, t, *condition):
        dtypes.update(params=params["w"].dtype, x=x.dtype, t=t.dtype, condition=[c.dtype for c in condition])
        return network(params, x, t)

    apply = precision.apply(spy, precision.Precision("bfloat16"))
    assert apply(PARAMS, X, T, jnp.array([1, 2]), jnp.ones(2)).dtype == jnp.float32
    assert dtypes == {
        "params": jnp.bfloat16,
        "x": jnp.bfloat16,
        "t": jnp.float32,
        "condition": [jnp.int32, jnp.bfloat16],
    }
    assert jax.grad(lambda params: apply(params, X, T).sum())(PARAMS)["w"].dtype == jnp.float32


def test_parameters_in_float32_keep_what_a_step_in_bfloat16_is_too_coarse_to_add():
    predict = precision.apply(network, precision.Precision("bfloat16"))

    def loss(params, key, x):
        return jnp.mean(predict(params, x, T)), {}

    optimizer = optax.adam(1e-4)  # beside 1, bfloat16 knows no step below 0.0039
    state = training.start(PARAMS, optimizer, jax.random.key(0))
    after, metrics = quickly(training.make_step(loss, optimizer))(state, X)
    np.testing.assert_allclose(after.params["w"], PARAMS["w"] - 1e-4, atol=1e-6)
    assert all(
        leaf.dtype == jnp.float32
        for leaf in jax.tree.leaves((after.params, after.ema, after.optimizer_state[0].mu, metrics["loss"]))
    )


def test_float32_changes_no_bit():
    np.testing.assert_array_equal(precision.apply(network, precision.Precision())(PARAMS, X, T), network(PARAMS, X, T))


@table("matmul", ["default", "high", "highest"])
def test_matmul_precision_reaches_the_product(matmul):
    text = str(
        jax.make_jaxpr(precision.apply(lambda params, x, t: x @ params["w"], precision.Precision(matmul=matmul)))(
            PARAMS, X, T
        )
    )
    assert matmul.upper() in text


def test_rebuilt_wrapper_is_equal_and_does_not_retrace():
    first, second = (precision.apply(network, precision.Precision("bfloat16")) for _ in range(2))
    assert first == second and hash(first) == hash(second)
    traces = []
    call = jax.jit(lambda apply, *arguments: (traces.append(1), apply(*arguments))[1], static_argnums=0)
    call(first, PARAMS, X, T), call(second, PARAMS, X, T)
    assert len(traces) == 1


def test_description_holds_both_settings():
    described = precision.describe(precision.Precision("bfloat16", "high"))
    assert described["compute"] == "bfloat16" and described["matmul"] == "high" and described["x64"] is False


def applied(**options):
    return precision.apply(network, precision.Precision(**options))(PARAMS, X, T)


test_unknown_settings_and_float64_without_64_bits_are_refused = refusals(
    (lambda: applied(compute="bfloat"), "did you mean"),
    (lambda: applied(matmul="higher"), "did you mean"),
    (lambda: applied(compute="float64"), "jax_enable_x64"),
)
