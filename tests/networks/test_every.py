"""What every network of images promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from tests.networks.rig import LABEL, T, X, apply, dit, fresh, lowered, moved, random_params, unet
from tests.tables import table

pytestmark = pytest.mark.parametrize("build", [dit, unet])


def output(network, *inputs):
    return np.asarray(
        apply(networks.pure(network), moved(fresh(network.clone(dtype=None))), *(inputs or (X, T, LABEL)))
    )


def test_parameters_are_a_plain_float32_dict_and_the_fresh_output_is_zero(build):
    params = fresh(build())
    assert type(params) is dict and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert trees.paths(params)["embedding/label"].shape == (11, 16)
    output = apply(networks.pure(build()), params, X, T, LABEL)
    assert output.shape == X.shape and output.dtype == X.dtype and not np.any(output)


def test_an_equal_module_built_again_does_not_retrace(build):
    first, again = networks.pure(build()), networks.pure(build())
    assert first == again and hash(first) == hash(again) and first != networks.pure(build(num_classes=3))
    traces = [(output(build()), apply.traces)[1] for _ in range(2)]
    assert traces[0] == traces[1]


@pytest.mark.fault("guidance: label ≥ classes")
def test_no_label_is_the_last_row_an_unknown_one_is_nan_in_its_own_sample_and_neighbours_do_not_matter(build):
    full, params = output(build()), moved(fresh(build()))
    assert np.isfinite(full).all() and np.abs(full[2]).max() > 0
    table = params["embedding"]["label"]
    null = params | {"embedding": params["embedding"] | {"label": table.at[0].set(table[10])}}
    np.testing.assert_array_equal(full[2], apply(networks.pure(build()), null, X, T, np.array([0, 3, 0], np.int32))[2])
    unknown = output(build(), X, T, np.array([10, 3, -2], np.int32))
    assert np.isnan(unknown[[0, 2]]).all()
    np.testing.assert_array_equal(unknown[1], full[1])
    others = output(build(), np.stack([X[0], X[2] * 9, X[1]]), T[[0, 2, 1]], LABEL[[0, 2, 1]])
    np.testing.assert_array_equal(full[0], others[0])
    np.testing.assert_allclose(full[1], others[2], atol=1e-5)


def test_bfloat16_is_close_to_float32_and_the_output_keeps_the_dtype_of_x(build):
    full, half = output(build()), output(build(dtype="bfloat16"))
    assert half.dtype == jnp.float32
    assert np.sqrt(np.mean((half - full) ** 2)) < 0.05 * np.sqrt(np.mean(full**2))
    assert (
        jax.eval_shape(networks.pure(build()), fresh(build()), X.astype(jnp.bfloat16), T, LABEL).dtype == jnp.bfloat16
    )


@pytest.mark.float64
def test_x_in_float64_is_computed_in_float64_alone(build):
    with jax.enable_x64(False):
        params = fresh(build())
    jaxpr = jax.make_jaxpr(networks.pure(build()))(*trees.cast((params, X, T), jnp.float64), LABEL)
    assert "f32[" not in str(jaxpr) and jaxpr.out_avals[0].dtype == jnp.float64


def test_epsilon_padding_and_frequencies_reach_the_program_and_no_parameter(build):
    plain = lowered(build(), fresh(build()))
    fields = {"mlp_epsilon": 0.1} if build is dit else {"epsilon": 0.125, "downsample_padding": 0}
    for name, value in (fields | {"frequency_shift": 1}).items():
        text = lowered(build(**{name: value}), fresh(build()))
        assert text != plain, name
        assert name != "epsilon" or ("9.99999974E-6" in plain and "9.99999974E-6" not in text)  # it reaches every norm


@pytest.mark.fault("guidance: label ≥ classes", "guidance: float labels", "guidance: no null class")
@table(
    "changes, label, error, message",
    [
        *(({}, label, ValueError, "10 classes") for label in (np.array([0, 10, 1]), None, 10)),
        ({}, np.array([0.0, 1.0, 2.0]), TypeError, "integers"),
        ({}, np.array([0, 1]), ValueError, "shape"),
        ({"num_classes": None}, LABEL, ValueError, "without classes"),
    ],
)
def test_a_wrong_label_is_refused_with_the_number_of_classes(build, changes, label, error, message):
    with pytest.raises(error, match=message):
        networks.pure(build(**changes))(fresh(build()), X, T, label)


def test_labels_up_to_the_last_class_and_none_are_taken(build):
    label = np.array([0, 9, -1], np.int32)
    assert jax.eval_shape(lambda params: networks.pure(build())(params, X, T, label), fresh(build())).shape == X.shape


def test_remat_of_products_computes_no_product_of_a_layer_again_and_remat_all_of_them(build):
    small = {} if build is dit else {"channels": (4,), "attention": ()}

    def products(remat):
        network = build(**small, remat=remat)
        slopes = jax.make_jaxpr(jax.grad(lambda params: jnp.sum(networks.pure(network)(params, X, T, LABEL))))(params)
        return str(slopes).count("dot_general["), str(slopes).count("conv_general_dilated[")

    params = random_params(build(**small), X, T, LABEL)
    (plain, plain_convolutions), (remembered, kept_convolutions), (again, again_convolutions) = map(
        products, (False, "products", True)
    )
    # which computes attention's products twice again, and one convolution of the U-Net
    old = jax.__version__.startswith("0.10.")
    assert remembered <= plain + (4 if old else 2) < again, "of attention alone, which is computed again"
    assert kept_convolutions <= plain_convolutions + old and plain_convolutions <= again_convolutions
    with pytest.raises(ValueError, match="remat = 'dots' is none of products"):
        products("dots")
