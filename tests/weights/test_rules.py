"""Rules from foreign names to ours: every array is used once, and back again bit for bit."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from gendiff.core.errors import CheckpointMismatchError
from gendiff.weights import layouts, rules
from tests.tables import table

RULES = (
    *rules.convolution("stem", "input"),
    *rules.norm("stages.{block}.norm", "block_{block}/norm"),
    *rules.linear("stages.{block}.q stages.{block}.k stages.{block}.v", "block_{block}/qkv"),
    *rules.linear("stages.{copy}.time", "time", copies=2),
)


def dense(rng, *shape):
    return {
        "kernel": jnp.asarray(rng.normal(size=shape), jnp.float32),
        "bias": jnp.asarray(rng.normal(size=shape[-1:]), jnp.float32),
    }


def network():
    rng = np.random.default_rng(0)
    blocks = {
        f"block_{i}": {"norm": {"scale": jnp.arange(4.0) + i, "bias": jnp.arange(4.0) - i}, "qkv": dense(rng, 4, 12)}
        for i in range(2)
    }
    return {"input": dense(rng, 3, 3, 2, 4), "time": dense(rng, 8, 4), **blocks}


def equal(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), first, second)))


def foreign(**changes):
    arrays = rules.to_theirs(network(), RULES) | changes
    return {name: array for name, array in arrays.items() if array is not None}


def refused(arrays, rules_of_all=RULES):
    with pytest.raises(CheckpointMismatchError) as caught:
        rules.to_ours(arrays, rules_of_all, network())
    return str(caught.value)


def test_parameters_return_from_foreign_names_bit_for_bit_and_only_shapes_of_ours_matter():
    ours = network()
    shapes = jax.eval_shape(lambda: ours)
    assert equal(rules.to_ours(rules.to_theirs(ours, RULES), RULES, shapes), ours)


def test_foreign_names_layouts_parts_and_copies_are_those_of_the_rules():
    ours, theirs = network(), foreign()
    assert len(theirs) == 2 + 2 * (2 + 6 + 2)
    assert (
        theirs["stem.weight"].shape == (4, 2, 3, 3)
        and theirs["stem.weight"][3, 1, 0, 2] == ours["input"]["kernel"][0, 2, 1, 3]
    )
    np.testing.assert_array_equal(theirs["stages.1.k.weight"], ours["block_1"]["qkv"]["kernel"][:, 4:8].T)
    np.testing.assert_array_equal(theirs["stages.1.v.bias"], ours["block_1"]["qkv"]["bias"][8:])
    np.testing.assert_array_equal(theirs["stages.0.norm.weight"], ours["block_0"]["norm"]["scale"])
    np.testing.assert_array_equal(theirs["stages.0.time.weight"], theirs["stages.1.time.weight"])
    assert all(array.flags.c_contiguous for array in theirs.values())


@table("layout", [layouts.LINEAR, (layouts.LINEAR, layouts.NeighbourPairs(4), layouts.LINEAR)])
def test_parts_of_unequal_shares_are_split_and_joined_by_them(layout):
    grouped = rules.linear("q k v", "qkv", layout, shares=(3, 1, 2))
    ours = {"qkv": dense(np.random.default_rng(1), 5, 24)}
    theirs = rules.to_theirs(ours, grouped)
    assert {name: array.shape for name, array in theirs.items() if "weight" in name} == {
        "q.weight": (12, 5),
        "k.weight": (4, 5),
        "v.weight": (8, 5),
    }
    np.testing.assert_array_equal(theirs["q.weight"], ours["qkv"]["kernel"][:, :12].T)
    np.testing.assert_array_equal(theirs["v.bias"], ours["qkv"]["bias"][16:])
    assert equal(rules.to_ours(theirs, grouped, ours), ours)
    exchanged = theirs | {"k.weight": theirs["v.weight"], "v.weight": theirs["k.weight"]}
    with pytest.raises(
        CheckpointMismatchError, match=r"k.weight has shape \(8, 5\), but qkv/kernel of shape \(5, 24\) needs \(4, 5\)"
    ):
        rules.to_ours(exchanged, grouped, ours)


def test_shares_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"shares = \(3, 1\) has 2 entries for 3 names"):
        rules.linear("q k v", "qkv", shares=(3, 1))
    with pytest.raises(ValueError, match="layout = .* has 2 entries for 3 names"):
        rules.linear("q k v", "qkv", (layouts.LINEAR, layouts.SAME))
    with pytest.raises(ValueError, match=r"shares = \(3, 0, 1\) must be at least 1"):
        rules.linear("q k v", "qkv", shares=(3, 0, 1))
    ours = {"qkv": dense(np.random.default_rng(1), 5, 24)}
    theirs = rules.to_theirs(ours, rules.linear("q k v", "qkv", shares=(3, 1, 2)))
    with pytest.raises(CheckpointMismatchError, match=r"qkv/kernel of shape \(5, 24\) cannot hold q.weight"):
        rules.to_ours(theirs, rules.linear("q k v", "qkv", shares=(3, 1, 3)), ours)


@table("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_floating_formats_become_the_dtype_of_the_network(dtype):
    params = rules.to_ours({name: array.astype(dtype) for name, array in foreign().items()}, RULES, network())
    assert params["time"]["kernel"].dtype == jnp.float32
    np.testing.assert_array_equal(
        params["time"]["kernel"], np.asarray(network()["time"]["kernel"]).astype(dtype).astype(np.float32)
    )


@pytest.mark.fault("weights: names missing or left over")
def test_whatever_is_missing_or_left_over_is_named_with_the_path_that_waits_for_it():
    message = refused(foreign(**{"stages.1.k.weight": None, "stages.2.norm.weight": np.ones(4, np.float32)}))
    assert "1 missing: stages.1.k.weight (for block_1/qkv/kernel)" in message
    assert "1 left over: stages.2.norm.weight" in message


def test_a_long_list_is_cut_and_counted():
    message = refused(foreign(**{f"extra.{i}": np.ones(1, np.float32) for i in range(9)}))
    assert "9 left over: extra.0" in message and "and 3 more" in message and "extra.8" not in message


TIME = "stages.1.time.bias"


@table(
    "name, shape, message",
    [
        ("stem.weight", (4, 5, 3, 3), "(4, 5, 3, 3), but input/kernel of shape (3, 3, 2, 4) needs (4, 2, 3, 3)"),
        ("stem.bias", (), "(), but input/bias of shape (4,) needs (4,)"),
        ("stages.0.q.weight", (12, 4), "(12, 4), but block_0/qkv/kernel of shape (4, 12) needs (4, 4)"),
    ],
)
def test_an_array_of_another_shape_is_named_with_both_shapes(name, shape, message):
    assert f"1 wrong: {name} has shape {message}" in refused(foreign(**{name: np.ones(shape, np.float32)}))


def test_integers_are_refused():
    assert "stem.bias holds int8, but input/bias needs floating numbers" in refused(
        foreign(**{"stem.bias": np.ones(4, np.int8)})
    )


def test_copies_that_are_not_equal_are_named():
    message = refused(foreign(**{TIME: foreign()[TIME] + np.float32(1e-6)}))
    assert f"1 wrong: {TIME} differs from stages.0.time.bias, but the network has one time/bias" in message


def test_a_parameter_of_ours_without_a_rule_or_with_two_is_named_in_both_directions():
    for changed in (RULES[2:], (*RULES, *rules.convolution("trunk", "input"))):
        assert "input/kernel, input/bias" in refused(foreign(), changed) or "input/bias, input/kernel" in refused(
            foreign(), changed
        )
        with pytest.raises(
            CheckpointMismatchError, match="2 parameters of the network have no rule, or more than one: input/"
        ):
            rules.to_theirs(network(), changed)


def test_a_layout_that_cannot_hold_the_parameter_is_named():
    changed = (*rules.linear("stem", "input", layouts.Patches(5)), *RULES[2:])
    ours = network() | {"input": dense(np.random.default_rng(0), 18, 4)}
    with pytest.raises(
        CheckpointMismatchError,
        match=r"input/kernel of shape \(18, 4\) cannot hold stem.weight of shape \(4, 2, 3, 3\)",
    ):
        rules.to_ours(foreign(), changed, ours)


def test_equal_rules_are_equal_and_hash_alike():
    assert rules.norm("a", "b") == rules.norm("a", "b") and len({*rules.norm("a", "b"), *rules.norm("a", "b")}) == 2
    assert rules.linear("a", "b", layouts.Patches(2)) != rules.linear("a", "b", layouts.Patches(4))


def test_a_number_in_braces_is_whole_and_the_rest_of_a_path_is_literal():
    rule = rules.Rule("down_{block}/a.b", ("x.{block}",))
    assert rule.numbers("down_12/a.b") == {"block": "12"}
    assert [rule.numbers(path) for path in ("down_resize/a.b", "down_1/a_b", "down_1/a.b/c", "up/down_1/a.b")] == [
        None
    ] * 4
