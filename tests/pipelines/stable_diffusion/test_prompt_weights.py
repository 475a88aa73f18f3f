"""Weights in prompts: groups with a number are weights, everything else is text."""

import pytest

from gendiff.pipelines.stable_diffusion import prompt_weights
from gendiff.pipelines.stable_diffusion.prompt_weights import parse
from tests.refusals import refusals
from tests.tables import table


@table(
    "text, parts",
    [
        ("", ()),
        ("a cat", (("a cat", 1.0),)),
        ("a (red:1.3) cat", (("a ", 1.0), ("red", 1.3), (" cat", 1.0))),
        ("(red: .5 )", (("red", 0.5),)),
        ("(a (b:2) c:0.5)", (("a ", 0.5), ("b", 1.0), (" c", 0.5))),
        ("(a:0)", (("a", 0.0),)),
        ("a cat (sitting)", (("a cat (sitting)", 1.0),)),
        ("a cat ((sitting:2))", (("a cat (", 1.0), ("sitting", 2.0), (")", 1.0))),
        ("time: 12:30", (("time: 12:30", 1.0),)),
        ("(at 12:3)", (("at 12", 3.0),)),
        (r"\(red:1.3\)", (("(red:1.3)", 1.0),)),
        (r"(\(:1.5)", (("(", 1.5),)),
        ("a) (b:2", (("a) (b:2", 1.0),)),
        ("(:2)", ()),
    ],
)
def test_a_group_with_a_number_is_a_weight_and_all_else_is_text(text, parts):
    assert parse(text) == tuple((words, pytest.approx(weight)) for words, weight in parts)


def test_a_prompt_without_weights_is_one_part_whatever_its_letters():
    text = "a photo, of [a] {cat} (in: the) garden | 4:3 \\ / ()"
    assert parse(text) == ((text, 1.0),)


def test_deep_groups_and_many_open_ones_are_no_error():
    assert parse("(" * 4000 + "a" + ":1)" * 4000) == (("a", 1.0),)
    assert parse("(" * 8000) == (("(" * 8000, 1.0),)


test_a_weight_above_the_largest_is_refused = refusals(
    (lambda: parse("(a:11)"), r"the weight of a part of the prompt = 11 is outside \[0, 10\]"),
    (lambda: parse(f"((a:{prompt_weights.LARGEST}):2)"), "= 20 is outside"),
)
