import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.metrics import validation


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, jnp.bfloat16])
def test_any_real_numbers_become_float64(dtype):
    assert validation.as_features("x", np.ones((2, 3), dtype)).dtype == np.float64
    assert validation.as_features("x", jnp.ones((2, 3), jnp.bfloat16)).dtype == np.float64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(3), r"x must be features \(n, d\), got shape \(3,\)"),
        (np.zeros((3, 2, 2)), "flatten images with gendiff.metrics.features.pixels"),
        (np.zeros((1, 3)), r"shape \(1, 3\): at least 2 rows"),
        (np.zeros((3, 0)), r"shape \(3, 0\)"),
        (np.array([[0, 1], [np.nan, 0], [np.inf, 1]]), "x: 2 of 3 rows hold NaN or infinity, the first is row 1"),
        (np.zeros((3, 2), complex), "real numbers, got complex128"),
        (np.zeros((3, 2), bool), "real numbers, got bool"),
        (np.array([["a"], ["b"]]), "real numbers"),
    ],
)
def test_features_that_cannot_be_measured_are_refused_with_counts(value, message):
    with pytest.raises(ValueError, match=message):
        validation.as_features("x", value)


def test_different_numbers_of_features_are_refused_with_both():
    with pytest.raises(ValueError, match="a has 3 features per row but b has 4"):
        validation.as_feature_pair("a", np.zeros((2, 3)), "b", np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3), "whole numbers of an integer dtype, got float64"),
        (np.zeros(2, int), r"shape \(2,\), but 3 rows need \(3,\)"),
        (np.array([0, -1, -1]), "2 negative labels of 3"),
    ],
)
def test_labels_that_name_no_class_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        validation.as_labels("labels", labels, 3)
