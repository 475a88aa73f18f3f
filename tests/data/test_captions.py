import numpy as np
import pytest

from gendiff.data import captions, shapes, shapes_oracle
from tests.refusals import refusals

FAR = [[0, 0, 0, 0], [2, 1, 1, 3], [-1] * 4]
ORDERED = "a small red circle at the top left and a large blue square at the bottom right"
SWAPPED = "a large blue square at the bottom right and a small red circle at the top left"


def test_a_caption_reads_as_english_and_objects_are_read_in_any_order_and_stored_by_position():
    assert captions.write(np.array([FAR, [[0, 0, 0, 0], [7, 2, 1, 1], [2, 1, 1, 3]]])) == [
        ORDERED,
        "a small red circle at the top left, a large orange triangle at the top right and a large blue square at the bottom right",
    ]
    np.testing.assert_array_equal(captions.read([SWAPPED]), [FAR])


def test_reading_inverts_writing():
    attributes = shapes.draw(shapes.Recipe(), 0, np.arange(3000)).attributes
    np.testing.assert_array_equal(captions.read(captions.write(attributes)), attributes)


def test_an_empty_scene_reads_back_and_an_unclear_one_has_a_caption():
    empty = np.full((1, 3, 4), shapes.ABSENT)
    np.testing.assert_array_equal(captions.read(captions.write(empty)), empty)
    assert captions.write(np.full((1, 3, 4), shapes_oracle.UNCLEAR)) == [captions.UNCLEAR]
    assert captions.read([]).shape == (0, 3, 4) and captions.write(np.zeros((0, 3, 4), int)) == []


@pytest.mark.parametrize(
    ("attributes", "phrase"),
    [
        ([0, 0, 0, 0], "a small red circle at the top left"),
        ([7, -1, -1, -1], "an orange object"),
        ([-1, 3, -1, 2], "a cross at the bottom left"),
        ([-1, -1, -1, -1], "an object"),
        ([-1, -1, 1, -1], "a large object"),
    ],
)
def test_a_phrase_leaves_out_what_is_not_given(attributes, phrase):
    assert captions.phrase(np.array(attributes)) == phrase


OUTSIDE = [
    "",
    "a red circle at the top left",
    "a small red circle at the top left and",
    "a small pink circle at the top left",
    "A small red circle at the top left",
    captions.UNCLEAR,
    ", ".join(f"a small red circle at the {position}" for position in shapes.POSITIONS),
]
test_a_caption_outside_the_grammar_is_refused = refusals(
    *((lambda caption=caption: captions.read([caption]), "must name one to three objects") for caption in OUTSIDE),
    (lambda: captions.read([ORDERED.replace("bottom right", "top left")]), "two objects at one position"),
)
