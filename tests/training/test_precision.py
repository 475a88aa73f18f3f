import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.training import precision


def network(params, x, t, *condition):
    return x @ params["w"] + t[:, None].astype(x.dtype)


def inputs():
    return {"w": jnp.eye(3)}, jnp.ones((2, 3)), jnp.array([501.0, 999.0])


def test_network_computes_in_the_dtype_and_answers_in_that_of_x():
    seen = {}

    def spy(params, x, t, *condition):
        seen.update(params=params["w"].dtype, x=x.dtype, t=t.dtype, condition=[c.dtype for c in condition])
        return network(params, x, t)

    output = precision.apply(spy, precision.Precision("bfloat16"))(*inputs(), jnp.array([1, 2]), jnp.ones(2))
    assert output.dtype == jnp.float32
    assert seen == {"params": jnp.bfloat16, "x": jnp.bfloat16, "t": jnp.float32, "condition": [jnp.int32, jnp.bfloat16]}


def test_float32_changes_no_bit():
    np.testing.assert_array_equal(precision.apply(network, precision.Precision())(*inputs()), network(*inputs()))


def test_gradients_to_float32_params_are_float32():
    apply = precision.apply(network, precision.Precision("bfloat16"))
    params, x, t = inputs()
    assert jax.grad(lambda params: apply(params, x, t).sum())(params)["w"].dtype == jnp.float32


@pytest.mark.parametrize("matmul", ["default", "high", "highest"])
def test_matmul_precision_reaches_the_product(matmul):
    apply = precision.apply(lambda params, x, t: x @ params["w"], precision.Precision(matmul=matmul))
    text = str(jax.make_jaxpr(apply)(*inputs()))
    assert {"default": "DEFAULT", "high": "HIGH", "highest": "HIGHEST"}[matmul] in text


def test_rebuilt_wrapper_is_equal_and_does_not_retrace():
    first, second = (precision.apply(network, precision.Precision("bfloat16")) for _ in range(2))
    assert first == second and hash(first) == hash(second)
    call = jax.jit(lambda apply, *arguments: apply(*arguments), static_argnums=0)
    call(first, *inputs()), call(second, *inputs())
    assert call._cache_size() == 1


def test_description_holds_both_settings():
    described = precision.describe(precision.Precision("bfloat16", "high"))
    assert described["compute"] == "bfloat16" and described["matmul"] == "high" and described["x64"] is False


def test_float64_without_64_bits_is_refused():
    with pytest.raises(ValueError, match="jax_enable_x64"):
        precision.apply(network, precision.Precision("float64"))(*inputs())


@pytest.mark.parametrize("options", [{"compute": "bfloat"}, {"matmul": "higher"}])
def test_unknown_settings_are_refused(options):
    with pytest.raises(ValueError, match="did you mean"):
        precision.Precision(**options)
