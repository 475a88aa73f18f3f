"""What every generator and every critic of a GAN promises."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from tests.networks import rig
from tests.networks.adversarial import adversaries
from tests.networks.adversarial.adversaries import CRITICS, EVERY, LABEL, inputs, parameters_of, run
from tests.quickly import quickly
from tests.tables import table

every_adversary = table("build", EVERY.values())


def shapes_of(network):
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *inputs(network)))


@every_adversary
def test_parameters_are_a_plain_float32_dict_and_the_answer_has_its_shape(build):
    params, network = shapes_of(build()), build()
    assert type(params) is dict and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert [leaf.shape[0] for path, leaf in trees.paths(params).items() if path.endswith("/label")] == [4], (
        "three classes and NO_LABEL"
    )
    answer = run(network)
    shapes = {"DenseGenerator": (3, 3)} | {type(build()).__name__: (3,) for build in CRITICS.values()}
    assert answer.shape == shapes.get(type(network).__name__, (3, 8, 8, 2))
    assert answer.dtype == np.float32 and np.isfinite(answer).all() and answer.std() > 0.01


@every_adversary
def test_no_answer_depends_on_other_rows_and_an_unknown_label_is_nan_in_its_own_alone(build):
    network = build()
    x, _, *more = inputs(network)
    full = run(network)
    others = run(network, np.stack([x[0], 9 * x[2], x[1]]), np.array([0, 7, 2], np.int32), *more)
    np.testing.assert_array_equal(full[0], others[0])
    np.testing.assert_allclose(full[1], others[2], rtol=1e-5, atol=1e-5)
    assert np.isnan(others[1]).all()


@every_adversary
def test_the_label_counts_and_no_label_is_the_last_row(build):
    network = build()
    x, _, *more = inputs(network)
    params = parameters_of(network)
    path = next(path for path in trees.paths(params) if path.endswith("/label")).split("/")
    table = params[path[0]][path[1]]
    null = params | {path[0]: params[path[0]] | {path[1]: jax.device_put(np.asarray(table)[[3, 1, 2, 3]])}}
    full = run(network)
    last = rig.apply(networks.pure(network), null, x, np.array([0, 2, 0], np.int32), *more)
    np.testing.assert_array_equal(full[2], last[2])
    assert np.abs(full[0] - last[0]).max() > 1e-3


@every_adversary
def test_an_equal_module_built_again_does_not_retrace(build):
    assert networks.pure(build()) == networks.pure(build()) != networks.pure(build(num_classes=2))
    traces = [(run(build()), rig.apply.traces)[1] for _ in range(2)]
    assert traces[0] == traces[1]


def products_of(build, **changes):
    """The program of a network, and the dtype of each product in it."""
    text = str(jax.make_jaxpr(networks.pure(build(**changes)))(parameters_of(build()), *inputs(build())))
    return text, re.findall(r":(\w+)\[[\d,]*\] = (?:dot_general|conv_general_dilated)\[", text)


@every_adversary
def test_precision_and_bfloat16_reach_every_product_and_the_answer_has_the_dtype_of_its_input(build):
    text, products = products_of(build)
    assert len(products) >= 2 and "HIGHEST" not in text
    assert products_of(build, precision="highest")[0].count("Precision.HIGHEST") == 2 * len(products)
    assert set(products) == {"f32"} and products_of(build, dtype="bfloat16")[1] == len(products) * ["bf16"]
    x, *conditions = inputs(build())
    for dtype, arrays in ((None, x.astype(jnp.bfloat16)), ("bfloat16", x)):
        assert (
            jax.eval_shape(networks.pure(build(dtype=dtype)), parameters_of(build()), arrays, *conditions).dtype
            == arrays.dtype
        )


@table("name", ["dcgan generator", "dense critic"])
def test_bfloat16_is_close_to_float32(name):
    full, half = run(EVERY[name]()), run(EVERY[name](dtype="bfloat16"))
    assert 0 < np.sqrt(np.mean((half - full) ** 2)) < 0.05 * np.sqrt(np.mean(full**2))


@every_adversary
@pytest.mark.float64
def test_float64_is_computed_in_float64_alone(build):
    params = parameters_of(build())
    arrays = trees.cast((params, *inputs(build())), jnp.float64)
    jaxpr = jax.make_jaxpr(networks.pure(build()))(*arrays)
    assert "f32[" not in str(jaxpr) and jaxpr.out_avals[0].dtype == jnp.float64


@every_adversary
def test_a_mesh_keeps_the_batch_split(build):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    x, *conditions = inputs(build())
    rows = jax.device_put((x, conditions[0]), jax.NamedSharding(mesh, jax.P("data")))
    rest = jax.device_put((parameters_of(build()), conditions[1:]), jax.NamedSharding(mesh, jax.P()))
    assert jax.eval_shape(networks.pure(build()), rest[0], *rows, *rest[1]).sharding.spec[0] == "data"


@every_adversary
@pytest.mark.usefixtures("unchecked")
@table(
    "changes, label, error, message",
    [
        *(({}, label, ValueError, "3 classes") for label in (np.array([0, 3, 1]), None)),
        ({}, np.array([0, 1]), ValueError, "shape"),
        ({"num_classes": None}, LABEL, ValueError, "without classes"),
        ({"num_classes": 0}, LABEL, ValueError, "num_classes = 0"),
    ],
)
def test_a_wrong_label_is_refused_with_the_number_of_classes(build, changes, label, error, message):
    x, _, *more = inputs(build())
    with pytest.raises(error, match=message):
        networks.pure(build(**changes))(parameters_of(build()), x, label, *more)


@pytest.mark.float64
def test_the_gradient_of_a_squared_input_gradient_is_that_of_finite_differences():
    """As a gradient penalty needs it. The other critics are made of the same layers."""
    network = CRITICS["dcgan"](features="discrimination")
    params, (x, label) = trees.cast((parameters_of(network), inputs(network)), jnp.float64)
    criticise, along = (
        networks.pure(network),
        jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape), params),
    )

    @quickly
    @jax.value_and_grad
    def penalty(step):
        moved = jax.tree.map(lambda leaf, direction: leaf + step * direction, params, along)
        slopes = jax.grad(lambda x: jnp.sum(criticise(moved, x, label)))(x)
        return jnp.mean(jnp.square(slopes))

    (value, exact), (more_, _), (less, _) = (penalty(step) for step in (0.0, 1e-6, -1e-6))
    assert value > 0 and abs(exact) > 1e-3 * value
    np.testing.assert_allclose((more_ - less) / 2e-6, exact, rtol=1e-5)


@table("features", ["deviation", "discrimination"])
def test_features_of_the_batch_make_rows_answer_for_each_other_in_any_order(features):
    network = CRITICS["dense"](features=features)
    x, label, *more = inputs(network)
    full, order = run(network), np.array([2, 0, 1])
    np.testing.assert_allclose(run(network, x[order], label[order], *more), full[order], rtol=1e-5, atol=1e-5)
    other = x.copy()
    other[1] = -x[1]
    assert np.abs(run(network, other, label, *more) - full)[[0, 2]].min() > 1e-4


def test_an_unknown_feature_of_the_batch_is_refused():
    network = adversaries.CRITICS["dense"](features="deviations")
    with pytest.raises(ValueError, match="did you mean 'deviation'"):
        networks.pure(network)(parameters_of(adversaries.CRITICS["dense"]()), *inputs(network))
