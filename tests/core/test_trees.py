"""Records and trees: numbers are leaves, functions and settings are structure; copies own their buffers, paths are
readable.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.core import records, trees
from tests.tables import table


@records.record
class Affine:
    slope: Any
    offset: Any = 0.0
    name: str = records.static(default="affine")

    def __call__(self, x: Any) -> Any:
        return self.slope * x + self.offset


@records.record
class Sum:
    parts: tuple[Callable[[Any], Any], ...]
    then: Callable[[Any], Any]

    def __call__(self, x: Any) -> Any:
        return self.then(sum(part(x) for part in self.parts))


def double(x):
    return 2 * x


def test_fields_are_leaves_named_by_attribute_unless_static_and_records_are_frozen_values():
    record = Affine(2.0, jnp.ones(3), "line")
    assert list(trees.paths({"a": record})) == ["a/slope", "a/offset"]
    doubled = jax.tree.map(double, record)
    assert (doubled.slope, doubled.name) == (4.0, "line")
    np.testing.assert_array_equal(doubled.offset, np.full(3, 2.0))
    record = Affine(2.0)
    assert record == Affine(2.0) and hash(record) == hash(Affine(2.0)) and record != Affine(2.0, name="other")
    assert records.replace(record, offset=1.0) == Affine(2.0, 1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.slope = 3.0


LEAVES = [object(), None, (1, 2), "text", jax.ShapeDtypeStruct((), jnp.float32)]


@table("leaf", LEAVES)
def test_a_record_is_rebuilt_with_any_object_as_a_leaf_though_annotations_are_checked(leaf):
    rebuilt = jax.tree.unflatten(jax.tree.structure(Affine(1.0, 2.0)), [leaf, 2.0])
    assert rebuilt.slope is leaf and rebuilt.name == "affine"
    structure = jax.tree.structure(diffusion.guidance.interval(1.0, 0.2, 5.0))
    assert jax.tree.leaves(jax.tree.unflatten(structure, ["a", "b", "c"])) == ["a", "b", "c"]


def test_plain_functions_in_fields_and_tuples_cross_jit_and_do_not_retrace():
    traces = []

    @jax.jit
    def run(record, x):
        traces.append(None)
        return record(x)

    for slope in (3.0, 4.0):  # records among the functions keep their numbers as data
        assert float(run(Sum((double, Affine(slope)), double), 2.0)) == 2 * (4 + 2 * slope)
    assert len(traces) == 1
    assert jax.tree.leaves(Sum((double, Affine(3.0)), double)) == [3.0, 0.0]
    assert Sum((double,), double) == Sum((double,), double) != Sum((abs,), double)


def test_a_record_with_leaves_cannot_check_them_where_jax_rebuilds_it():
    with pytest.raises(TypeError, match="Checked has leaves: check them in the function that builds it"):

        @records.record
        class Checked:
            number: Any

            def __post_init__(self) -> None:
                pass


def test_a_subclass_has_the_fields_of_its_base_and_holds_functions_too():
    @records.record
    class Named(Sum):
        scale: Any = 1.0

    named = jax.jit(lambda record: record)(Named((double,), double))
    assert type(named) is Named and float(named(2.0)) == 8.0 and float(named.scale) == 1.0


def test_a_copy_survives_the_donation_of_its_original():
    original = {"kernel": jnp.arange(3.0), "name": "net"}
    copied = trees.copy(original)
    assert copied["kernel"].unsafe_buffer_pointer() != original["kernel"].unsafe_buffer_pointer()
    original["kernel"].delete()
    np.testing.assert_array_equal(copied["kernel"], np.arange(3.0))
    assert copied["name"] == "net"


def test_a_cast_changes_floating_leaves_only_and_paths_name_the_way_to_each_leaf():
    mixed = {
        "weights": [jnp.ones(2), np.zeros(3, np.float32)],
        "step": jnp.int32(3),
        "key": jax.random.key(0),
        "on": True,
        "name": "net",
    }
    cast = trees.cast(mixed, jnp.bfloat16)
    assert [leaf.dtype for leaf in cast["weights"]] == [jnp.bfloat16, jnp.bfloat16]
    assert cast["step"].dtype == jnp.int32 and cast["key"].dtype == jax.random.key(0).dtype
    assert cast["on"] is True and cast["name"] == "net"
    assert list(trees.paths(mixed)) == ["key", "name", "on", "step", "weights/0", "weights/1"]
    assert trees.paths({"pair": (1, 2)}, is_leaf=lambda node: isinstance(node, tuple)) == {"pair": (1, 2)}


def test_leaves_by_their_paths_are_a_nested_dict_again():
    tree = {"first": {"kernel": 1, "bias": 2}, "second": {"inner": {"scale": 3}}, "third": 4}
    assert trees.nested(trees.paths(tree)) == tree and trees.nested({}) == {}


@table("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_one_bad_number_anywhere_is_found_and_whole_numbers_are_finite(bad):
    assert not jax.jit(trees.all_finite)({"a": jnp.ones(3), "b": (jnp.array([0.0, bad]), 3)})
    assert (
        trees.all_finite({"a": jnp.ones(3), "count": 3})
        and trees.all_finite({"count": jnp.int32(1)})
        and trees.all_finite({})
    )
