import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.training import compatibility


def test_outline_is_json_and_holds_for_arrays_numbers_and_keys():
    flat = {"a": jnp.zeros((2, 3), jnp.bfloat16), "b": np.float32(1), "k": jax.random.key(0)}
    outline = compatibility.outline(flat)
    assert (
        outline == compatibility.as_json("outline", outline) and compatibility.in_outline(outline, dict(outline)) == []
    )
    assert compatibility.outline(compatibility.from_outline(outline)) == outline
    assert outline["a"] == {"shape": [2, 3], "dtype": "bfloat16"} and outline["b"]["shape"] == []
    assert outline["k"]["dtype"].startswith("key")


def test_width_of_floats_is_ignored_on_request_and_shape_is_not():
    narrow, wide, long = (compatibility.outline({"a": jnp.zeros(*a)}) for a in ((2, jnp.bfloat16), (2,), (3,)))
    assert len(compatibility.in_outline(narrow, wide)) == 1
    assert [len(compatibility.in_outline(narrow, other, ignore_float_width=True)) for other in (wide, long)] == [0, 1]


def test_configurations_differ_by_value_type_and_presence():
    rows = compatibility.in_config(
        {"a": 1, "b": {"c": "1", "d": {}}, "e": None}, {"a": 1, "b": {"c": 1}, "f": float("nan")}
    )
    assert [row[0] for row in rows] == ["b.c", "b.d", "e", "f"]
    assert compatibility.in_config({"nan": float("nan")}, {"nan": float("nan")}) == []


def test_key_that_may_differ_stands_for_all_below_it_and_for_no_namesake():
    rows = [("run.steps", "1", "2"), ("runner", "1", "2"), ("run", "1", "2")]
    matter, free = compatibility.split(rows, ("run",))
    assert matter == [rows[1]] and free == [rows[0], rows[2]]


def test_refusal_shows_every_row_under_headings_shortens_what_is_long_and_counts_what_it_leaves_out():
    with pytest.raises(
        CheckpointMismatchError, match=r"(?s)wrong \(2 differences\):\n  path +stored +wanted\n  a +1 +2\n  bb +- +3"
    ):
        compatibility.refuse("wrong", [("a", "1", "2"), ("bb", "-", "3")], ("path", "stored", "wanted"))
    compatibility.refuse("right", [], ("path", "stored", "wanted"))
    text = compatibility.table([(str(n), "x" * 100, "y") for n in range(9)], most=7)
    assert text.splitlines()[-1] == "  … and 2 more" and "x" * 59 + "…" in text and "x" * 60 not in text


def test_what_json_cannot_hold_is_refused_with_its_name():
    with pytest.raises(ConfigError, match="meta must be JSON"):
        compatibility.as_json("meta", {"array": np.zeros(2)})
