"""Trees: copies own their buffers, casts touch floating leaves only, paths are readable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import trees


def mixed():
    return {"weights": [jnp.ones(2), np.zeros(3, np.float32)], "step": jnp.int32(3), "key": jax.random.key(0), "on": True, "name": "net"}


def test_a_copy_survives_the_donation_of_its_original():
    original = {"kernel": jnp.arange(3.0), "name": "net"}
    copied = trees.copy(original)
    assert copied["kernel"].unsafe_buffer_pointer() != original["kernel"].unsafe_buffer_pointer()
    original["kernel"].delete()
    np.testing.assert_array_equal(copied["kernel"], np.arange(3.0))
    assert copied["name"] == "net"


def test_a_cast_changes_floating_leaves_only():
    cast = trees.cast(mixed(), jnp.bfloat16)
    assert [leaf.dtype for leaf in cast["weights"]] == [jnp.bfloat16, jnp.bfloat16]
    assert cast["step"].dtype == jnp.int32 and cast["key"].dtype == jax.random.key(0).dtype
    assert cast["on"] is True and cast["name"] == "net"


def test_paths_are_the_names_on_the_way_to_each_leaf():
    assert list(trees.paths(mixed())) == ["key", "name", "on", "step", "weights/0", "weights/1"]
    assert trees.paths({"pair": (1, 2)}, is_leaf=lambda node: isinstance(node, tuple)) == {"pair": (1, 2)}


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_one_bad_number_anywhere_is_found(bad):
    tree = {"a": jnp.ones(3), "b": (jnp.array([0.0, bad]), 3)}
    assert not jax.jit(trees.all_finite)(tree)
    assert trees.all_finite({"a": tree["a"], "count": 3})


def test_a_tree_without_floating_leaves_is_finite():
    assert trees.all_finite({"count": jnp.int32(1)}) and trees.all_finite({})
