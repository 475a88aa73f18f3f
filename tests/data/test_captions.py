import numpy as np
import pytest

from gendiff.data import captions, shapes, shapes_oracle

FAR = [[0, 0, 0, 0], [2, 1, 1, 3], [-1] * 4]


@pytest.fixture(scope="module")
def attributes():
    return shapes.draw(shapes.Recipe(), 0, np.arange(3000)).attributes


def test_a_caption_reads_as_english():
    three = [[0, 0, 0, 0], [7, 2, 1, 1], [2, 1, 1, 3]]
    assert captions.write(np.array([FAR, three])) == [
        "a small red circle at the top left and a large blue square at the bottom right",
        "a small red circle at the top left, a large orange triangle at the top right and a large blue square at the bottom right",
    ]


def test_reading_inverts_writing(attributes):
    np.testing.assert_array_equal(captions.read(captions.write(attributes)), attributes)


def test_different_scenes_have_different_captions(attributes):
    assert len(set(captions.write(attributes))) == len(np.unique(attributes, axis=0))


def test_objects_are_read_in_any_order_and_stored_by_position():
    swapped = "a large blue square at the bottom right and a small red circle at the top left"
    np.testing.assert_array_equal(captions.read([swapped]), [FAR])


def test_an_empty_scene_reads_back_and_an_unclear_one_has_a_caption():
    empty = np.full((1, 3, 4), shapes.ABSENT)
    np.testing.assert_array_equal(captions.read(captions.write(empty)), empty)
    assert captions.write(np.full((1, 3, 4), shapes_oracle.UNCLEAR)) == [captions.UNCLEAR]
    assert captions.read([]).shape == (0, 3, 4) and captions.write(np.zeros((0, 3, 4), int)) == []


@pytest.mark.parametrize(
    ("object_", "said"),
    [
        ([0, 0, 0, 0], "a small red circle at the top left"),
        ([7, -1, -1, -1], "an orange object"),
        ([-1, 3, -1, 2], "a cross at the bottom left"),
        ([-1, -1, -1, -1], "an object"),
        ([-1, -1, 1, -1], "a large object"),
    ],
)
def test_a_phrase_leaves_out_what_is_not_given(object_, said):
    assert captions.phrase(np.array(object_)) == said


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a red circle at the top left",
        "a small red circle at the top left and",
        "a small pink circle at the top left",
        "A small red circle at the top left",
        captions.UNCLEAR,
        ", ".join(f"a small red circle at the {position}" for position in shapes.POSITIONS),
    ],
)
def test_a_caption_outside_the_grammar_is_refused(caption):
    with pytest.raises(ValueError, match="must name one to three objects"):
        captions.read([caption])


def test_two_objects_at_one_position_are_refused():
    with pytest.raises(ValueError, match="two objects at one position"):
        captions.read(["a small red circle at the top left and a large blue square at the top left"])
