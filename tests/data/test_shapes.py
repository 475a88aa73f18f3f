import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gendiff.core.types import NO_LABEL
from gendiff.data import batches, shapes

RED, CIRCLE = shapes.COLOURS.index("red"), shapes.SHAPES.index("circle")
MANY = np.arange(2000)
FIRST = [[[4, 3, 0, 1], [7, 1, 0, 2], [-1, -1, -1, -1]], [[0, 3, 1, 2], [1, 1, 1, 3], [-1, -1, -1, -1]]]


@pytest.fixture(scope="module")
def scenes():
    return shapes.draw(shapes.Recipe(), 0, MANY)


def holds(attributes, *names):
    """(b, 3) whether an object has all the named values."""
    return np.all([np.any(attributes == _value(name), axis=2, where=_column(name)) for name in names], axis=0)


def _value(name):
    return next(values.index(name) for values in shapes.VOCABULARY.values() if name in values)


def _column(name):
    return np.array([name in values for values in shapes.VOCABULARY.values()])


def test_no_word_belongs_to_two_attributes():
    words = [word for values in shapes.VOCABULARY.values() for word in values]
    assert len(set(words)) == len(words)


def test_a_scene_is_a_function_of_seed_and_index_alone(scenes):
    order = np.array([1999, 3, 3, 17])
    again = shapes.draw(shapes.Recipe(), 0, order)
    np.testing.assert_array_equal(again.attributes, scenes.attributes[order])
    np.testing.assert_array_equal(again.centres, scenes.centres[order])
    assert not np.array_equal(shapes.draw(shapes.Recipe(), 1, MANY).attributes, scenes.attributes)
    assert len(shapes.draw(shapes.Recipe(), 0, np.arange(0))) == 0
    assert scenes.attributes[:2].tolist() == FIRST  # a change of these numbers is another data set


def test_objects_come_first_in_the_order_of_their_positions(scenes):
    position, there = scenes.attributes[:, :, 3], scenes.attributes[:, :, 0] != shapes.ABSENT
    assert np.all(there[:, 0]) and not np.any(there[:, 1:] & ~there[:, :-1])
    assert np.all(np.diff(position, axis=1)[there[:, 1:]] > 0)
    assert np.all((scenes.attributes == shapes.ABSENT) == ~there[:, :, None])
    assert np.all(np.isnan(scenes.centres) == ~there[:, :, None])


def test_every_value_of_an_attribute_and_every_count_is_equally_frequent(scenes):
    there = scenes.attributes[:, :, 0] != shapes.ABSENT
    counts = [np.bincount(there.sum(1), minlength=4)[1:]]
    counts += [np.bincount(scenes.attributes[:, :, column][there], minlength=len(v)) for column, v in enumerate(shapes.VOCABULARY.values())]
    for count in counts:
        spread = np.sqrt(count.mean() * (1 - 1 / len(count)))
        assert np.abs(count - count.mean()).max() < 4 * spread


def test_objects_lie_in_their_quarters_and_do_not_overlap(scenes):
    there = scenes.attributes[:, :, 0] != shapes.ABSENT
    radius = np.array(shapes.RADII)[scenes.attributes[:, :, 2]][there][:, None]
    inside = scenes.centres[there] - shapes.corner(scenes.attributes[:, :, 3][there])
    assert np.all(inside - radius >= shapes.MARGIN - 1e-12) and np.all(inside + radius <= 0.5 - shapes.MARGIN + 1e-12)
    assert np.all(np.ptp(inside - radius, axis=0) > 0.15)  # they move about


@pytest.mark.parametrize(
    "combination",
    [("red", "circle"), ("small", "top left"), ("top left",), ("blue", "cross", "large", "bottom right"), ("circle",)],
    ids=" ".join,
)
def test_a_held_out_combination_is_never_seen_and_in_every_unseen_scene_once(combination):
    recipe = shapes.Recipe(held_out=(combination,))
    seen = shapes.draw(recipe, 0, MANY).attributes
    unseen = shapes.draw(recipe, 0, MANY, unseen=True).attributes
    assert not holds(seen, *combination).any()
    np.testing.assert_array_equal(holds(unseen, *combination).sum(axis=1), 1)
    assert holds(shapes.draw(shapes.Recipe(), 0, MANY).attributes, *combination).any()  # the rule has something to leave out
    assert len(combination) == 1 or all(holds(seen, part).any() for part in combination)  # the parts are still seen


def test_a_recipe_shows_what_it_lists_and_no_more():
    recipe = shapes.Recipe(objects=(2, 2), colours=("red", "white"), sizes=("large",), positions=("top left", "bottom right"))
    found = shapes.draw(recipe, 5, np.arange(200)).attributes
    assert set(found[:, :2, 0].ravel()) == {_value("red"), _value("white")} and np.all(found[:, :2, 2] == 1)
    assert np.all(found[:, :2, 3] == [0, 3]) and np.all(found[:, 2] == shapes.ABSENT)


@pytest.mark.parametrize("by", [shapes.ATTRIBUTES, ("colour", "shape"), ("position",)], ids="-".join)
def test_labels_and_class_attributes_invert_each_other(by):
    recipe = shapes.Recipe(objects=(1, 1), colours=("white", "red", "blue"), classes_by=by)
    every = np.arange(recipe.num_classes)
    attributes = np.full((recipe.num_classes, 3, 4), shapes.ABSENT)
    attributes[:, 0] = np.where(shapes.class_attributes(recipe, every) == shapes.ABSENT, RED, shapes.class_attributes(recipe, every))
    np.testing.assert_array_equal(shapes.labels(recipe, attributes), every)
    drawn = shapes.labels(recipe, shapes.draw(recipe, 0, MANY).attributes)
    assert set(drawn) == set(every)


def test_only_a_scene_of_one_object_of_the_recipe_has_a_class():
    recipe = shapes.Recipe(colours=("red", "blue"))
    blank = np.full((4, 3, 4), shapes.ABSENT)
    blank[0, 0] = 0  # a small red circle
    blank[1, :2] = 0  # two objects
    blank[2] = -2  # unclear
    np.testing.assert_array_equal(shapes.labels(recipe, blank), [0, NO_LABEL, NO_LABEL, NO_LABEL])
    blank[0, 0, 0] = shapes.COLOURS.index("green")
    assert shapes.labels(recipe, blank)[0] == NO_LABEL


@given(st.integers(1, 50), st.integers(0, 1000))
def test_endless_batches_hold_each_number_once_in_order(batch, step):
    both = np.concatenate([batches.endless_at(batch, step), batches.endless_at(batch, step + 1)])
    np.testing.assert_array_equal(both, batch * step + np.arange(2 * batch))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"colours": ("red", "pink")}, "colours = 'pink' is none of red"),
        ({"shapes": ()}, "at least one name"),
        ({"sizes": ("small", "small")}, "none twice"),
        ({"objects": (2, 4)}, r"objects\[1\] = 4 is outside \[2, 3\]"),
        ({"objects": (0, 1)}, r"objects\[0\] = 0 is outside"),
        ({"positions": ("top left",)}, "leave 1 positions for up to 3 objects"),
        ({"held_out": (("small",), ("large",))}, "leave 0 positions"),
        ({"held_out": (("red", "blue"),)}, "at most one an attribute"),
        ({"held_out": ((),)}, "at most one an attribute"),
        ({"held_out": (("red", "circel"),)}, "did you mean 'circle'"),
        ({"classes_by": ("color",)}, "did you mean 'colour'"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        shapes.Recipe(**options)


@pytest.mark.parametrize(
    ("seed", "index", "unseen", "message"),
    [(0, MANY, True, "needs a recipe with held_out"), (0, np.array([-1]), False, "numbered 0, 1"), (-1, MANY, False, "seed = -1")],
)
def test_wrong_requests_are_refused(seed, index, unseen, message):
    with pytest.raises(ValueError, match=message):
        shapes.draw(shapes.Recipe(), seed, index, unseen=unseen)
    with pytest.raises(ValueError, match="classes 0…255"):
        shapes.class_attributes(shapes.Recipe(), np.array([256]))


def test_equal_recipes_are_equal_and_hash_alike():
    one, same = ([shapes.Recipe(held_out=(pair,)) for pair in itertools.product(("red", "blue"), ("circle", "cross"))] for _ in range(2))
    assert one == same and len({*one, *same}) == 4
