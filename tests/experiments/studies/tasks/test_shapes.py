"""Scenes are a function of seed and index with stated frequencies, and their captions read back."""

import numpy as np
import pytest

from experiments.tasks import captions, shapes, shapes_oracle
from gendiff.core.types import NO_LABEL
from tests.refusals import refusals
from tests.tables import table

RED, WHITE, GREEN = (shapes.COLOURS.index(name) for name in ("red", "white", "green"))
WORDS = list(shapes.VOCABULARY.values())
MANY = np.arange(2000)
FIRST = [[[4, 3, 0, 1], [7, 1, 0, 2], [-1, -1, -1, -1]], [[0, 3, 1, 2], [1, 1, 1, 3], [-1, -1, -1, -1]]]


@pytest.fixture(scope="module")
def scenes():
    return shapes.draw(shapes.Recipe(), 0, MANY)


def holds(attributes, *names):
    """(b, 3) whether an object has all the named values."""
    places = [
        next((column, words.index(name)) for column, words in enumerate(WORDS) if name in words) for name in names
    ]
    return np.all([attributes[:, :, column] == value for column, value in places], axis=0)


def test_a_scene_is_a_function_of_seed_and_index_alone(scenes):
    order = np.array([1999, 3, 3, 17])
    again = shapes.draw(shapes.Recipe(), 0, order)
    np.testing.assert_array_equal(again.attributes, scenes.attributes[order])
    np.testing.assert_array_equal(again.centres, scenes.centres[order])
    assert not np.array_equal(shapes.draw(shapes.Recipe(), 1, MANY).attributes, scenes.attributes)
    assert len(shapes.draw(shapes.Recipe(), 0, np.arange(0))) == 0
    assert scenes.attributes[:2].tolist() == FIRST  # a change of these numbers is another data set


def test_objects_come_first_in_the_order_of_their_positions_lie_in_their_quarters_and_do_not_overlap(scenes):
    position, there = scenes.attributes[:, :, 3], scenes.attributes[:, :, 0] != shapes.ABSENT
    assert np.all(there[:, 0]) and not np.any(there[:, 1:] & ~there[:, :-1])
    assert np.all(np.diff(position, axis=1)[there[:, 1:]] > 0)
    assert np.all((scenes.attributes == shapes.ABSENT) == ~there[:, :, None])
    assert np.all(np.isnan(scenes.centres) == ~there[:, :, None])
    radius = np.array(shapes.RADII)[scenes.attributes[:, :, 2]][there][:, None]
    inside = scenes.centres[there] - shapes.corner(position[there])
    assert np.all(inside - radius >= shapes.MARGIN - 1e-12) and np.all(inside + radius <= 0.5 - shapes.MARGIN + 1e-12)
    assert np.all(np.ptp(inside - radius, axis=0) > 0.15)  # they move about


def test_every_value_of_an_attribute_and_every_count_is_equally_frequent_and_no_word_belongs_to_two_attributes(scenes):
    assert len(set().union(*WORDS)) == sum(map(len, WORDS))
    there = scenes.attributes[:, :, 0] != shapes.ABSENT
    counts = [np.bincount(there.sum(1), minlength=4)[1:]]
    counts += [
        np.bincount(scenes.attributes[:, :, column][there], minlength=len(words)) for column, words in enumerate(WORDS)
    ]
    for count in counts:
        spread = np.sqrt(count.mean() * (1 - 1 / len(count)))
        assert np.abs(count - count.mean()).max() < 4 * spread


@table(
    "combination",
    [("red", "circle"), ("small", "top left"), ("top left",), ("blue", "cross", "large", "bottom right"), ("circle",)],
)
def test_a_held_out_combination_is_never_seen_and_in_every_unseen_scene_once(combination):
    recipe = shapes.Recipe(held_out=(combination,))
    seen_attributes = shapes.draw(recipe, 0, MANY).attributes
    unseen = shapes.draw(recipe, 0, MANY, unseen=True).attributes
    assert not holds(seen_attributes, *combination).any()
    np.testing.assert_array_equal(holds(unseen, *combination).sum(axis=1), 1)
    # the rule has something to leave out
    assert holds(shapes.draw(shapes.Recipe(), 0, MANY).attributes, *combination).any()
    assert len(combination) == 1 or all(
        holds(seen_attributes, part).any() for part in combination
    )  # the parts are still seen


def test_a_recipe_shows_what_it_lists_and_no_more():
    recipe = shapes.Recipe(
        objects=(2, 2), colours=("red", "white"), sizes=("large",), positions=("top left", "bottom right")
    )
    attributes = shapes.draw(recipe, 5, np.arange(200)).attributes
    assert set(attributes[:, :2, 0].ravel()) == {RED, WHITE} and np.all(attributes[:, :2, 2] == 1)
    assert np.all(attributes[:, :2, 3] == [0, 3]) and np.all(attributes[:, 2] == shapes.ABSENT)


@table("by", [shapes.ATTRIBUTES, ("colour", "shape"), ("position",)])
def test_labels_and_class_attributes_invert_each_other(by):
    recipe = shapes.Recipe(objects=(1, 1), colours=("white", "red", "blue"), classes_by=by)
    labels = np.arange(recipe.num_classes)
    attributes = np.full((recipe.num_classes, 3, 4), shapes.ABSENT)
    attributes[:, 0] = np.where(
        shapes.class_attributes(recipe, labels) == shapes.ABSENT, RED, shapes.class_attributes(recipe, labels)
    )
    np.testing.assert_array_equal(shapes.labels(recipe, attributes), labels)
    assert set(shapes.labels(recipe, shapes.draw(recipe, 0, MANY).attributes)) == set(labels)


def test_only_a_scene_of_one_object_of_the_recipe_has_a_class():
    recipe = shapes.Recipe(colours=("red", "blue"))
    blank = np.full((4, 3, 4), shapes.ABSENT)
    blank[0, 0] = 0  # a small red circle
    blank[1, :2] = 0  # two objects
    blank[2] = -2  # unclear
    np.testing.assert_array_equal(shapes.labels(recipe, blank), [0, NO_LABEL, NO_LABEL, NO_LABEL])
    blank[0, 0, 0] = GREEN
    assert shapes.labels(recipe, blank)[0] == NO_LABEL


def test_equal_recipes_are_equal_and_hash_alike():
    one, same = ([shapes.Recipe(held_out=((colour, "circle"),)) for colour in ("red", "blue")] for _ in range(2))
    assert one == same and len({*one, *same}) == 2


test_a_recipe_or_a_request_that_cannot_be_is_refused = refusals(
    (lambda: shapes.Recipe(colours=("red", "pink")), "colours = 'pink' is none of red"),
    (lambda: shapes.Recipe(shapes=()), "at least one name"),
    (lambda: shapes.Recipe(sizes=("small", "small")), "none twice"),
    (lambda: shapes.Recipe(objects=(2, 4)), r"objects\[1\] = 4 is outside \[2, 3\]"),
    (lambda: shapes.Recipe(objects=(0, 1)), r"objects\[0\] = 0 is outside"),
    (lambda: shapes.Recipe(positions=("top left",)), "leave 1 positions for up to 3 objects"),
    (lambda: shapes.Recipe(held_out=(("small",), ("large",))), "leave 0 positions"),
    (lambda: shapes.Recipe(held_out=(("red", "blue"),)), "at most one an attribute"),
    (lambda: shapes.Recipe(held_out=((),)), "at most one an attribute"),
    (lambda: shapes.Recipe(held_out=(("red", "circel"),)), "did you mean 'circle'"),
    (lambda: shapes.Recipe(classes_by=("color",)), "did you mean 'colour'"),
    (lambda: shapes.draw(shapes.Recipe(), 0, MANY, unseen=True), "needs a recipe with held_out"),
    (lambda: shapes.draw(shapes.Recipe(), 0, np.array([-1])), "numbered 0, 1"),
    (lambda: shapes.draw(shapes.Recipe(), -1, MANY), "seed = -1"),
    (lambda: shapes.class_attributes(shapes.Recipe(), np.array([256])), "classes 0…255"),
)


# Captions.

FAR = [[0, 0, 0, 0], [2, 1, 1, 3], [-1] * 4]
ORDERED = "a small red circle at the top left and a large blue square at the bottom right"
SWAPPED = "a large blue square at the bottom right and a small red circle at the top left"


def test_a_caption_reads_as_english_and_objects_are_read_in_any_order_and_stored_by_position():
    assert captions.write(np.array([FAR, [[0, 0, 0, 0], [7, 2, 1, 1], [2, 1, 1, 3]]])) == [
        ORDERED,
        "a small red circle at the top left, a large orange triangle at the top right and a large blue square at the "
        "bottom right",
    ]
    np.testing.assert_array_equal(captions.read([SWAPPED]), [FAR])


def test_reading_inverts_writing_also_of_an_empty_scene_and_an_unclear_one_has_a_caption(scenes):
    for attributes in (scenes.attributes, np.full((1, 3, 4), shapes.ABSENT)):
        np.testing.assert_array_equal(captions.read(captions.write(attributes)), attributes)
    assert captions.write(np.full((1, 3, 4), shapes_oracle.UNCLEAR)) == [captions.UNCLEAR]
    assert captions.read([]).shape == (0, 3, 4) and captions.write(np.zeros((0, 3, 4), int)) == []


def test_a_phrase_leaves_out_what_is_not_given():
    assert captions.phrase(np.array([0, 0, 0, 0])) == "a small red circle at the top left"
    assert captions.phrase(np.array([7, -1, -1, -1])) == "an orange object"
    assert captions.phrase(np.array([-1, 3, -1, 2])) == "a cross at the bottom left"
    assert captions.phrase(np.array([-1, -1, -1, -1])) == "an object"
    assert captions.phrase(np.array([-1, -1, 1, -1])) == "a large object"


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
