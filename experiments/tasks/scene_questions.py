"""Questions about scenes of coloured shapes, and their answers from the attributes of a scene, its own or those read
from its pixels.

Colours and shapes are asked for by each other, as in "what colour is the square?" and "what shape is the red object?",
or by a place, as in "what colour is the object at the top left?". Numbers are those of a pair, as in "how many red
circles are there?".
"""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from experiments.tasks import shapes
from gendiff.core import checks

KINDS = ("count", "colour", "shape", "colour at a place", "shape at a place")
BY_PLACE = (KINDS[0], *KINDS[3:])
"""Kinds that ask for colours and shapes by the place of an object, so that words say nothing about the answer."""
NUMBERS = ("zero", "one", "two", "three")
UNCLEAR = "unclear"
"""The answer for a scene that the oracle could not read, and where not exactly one object is meant."""
_COLOUR, _SHAPE, _POSITION = ("|".join(names) for names in (shapes.COLOURS, shapes.SHAPES, shapes.POSITIONS))
_PLURALS = tuple(f"{shape}es" if shape.endswith("s") else f"{shape}s" for shape in shapes.SHAPES)
_QUESTIONS = {
    "count": re.compile(f"how many ({_COLOUR}) ({'|'.join(_PLURALS)}) are there\\?"),
    "colour": re.compile(f"what colour is the ({_SHAPE})\\?"),
    "shape": re.compile(f"what shape is the ({_COLOUR}) object\\?"),
    "colour at a place": re.compile(f"what colour is the object at the ({_POSITION})\\?"),
    "shape at a place": re.compile(f"what shape is the object at the ({_POSITION})\\?"),
}
_NAMED_AND_ASKED = {"colour": (1, 0), "shape": (0, 1), "colour at a place": (3, 0), "shape at a place": (3, 1)}
"""Columns of attributes: the one that a question names, and the one that it asks for."""
_NAMES = tuple(shapes.VOCABULARY.values())


def ask(
    recipe: shapes.Recipe,
    attributes: Int[np.ndarray, "b 3 4"],
    seed: int,
    index: Int[np.ndarray, "b"],
    *,
    kinds: Sequence[str] = KINDS,
    unseen: bool = False,
) -> list[str]:
    """Draw one question per scene: each is a function of its scene, seed, its own index and the settings.

    The kind is uniform over those that the scene allows: a colour is asked of a shape that the scene has once, a shape
    of a colour that it has once. Half of the questions for a number name what an object is; the others name another
    pair of colour and shape that shares one of the two with it, and the answer may be zero.

    Args:
        recipe: which scenes there are.
        attributes: (b, 3, 4) as in `shapes.Scenes`, with at least one object in each.
        seed: the stream, 0 … 2³² - 1, such as that of `shapes.draw`.
        index: (b,) the numbers 0, 1, … of the questions in that stream.
        kinds: names of KINDS.
        unseen: False never names a pair of colour and shape that the recipe holds out. True asks about an object that
            shows a held-out combination; the other pair, if it asks for one, is held out, too, where there is another
            held-out pair.

    Raises:
        ValueError: for unknown kinds, numbers out of range, a scene that allows none of the kinds, and with `unseen`
            one that shows no held-out combination.
    """
    for kind in kinds:
        checks.choice("kinds", kind, KINDS)
    checks.integer("seed", seed, 0, 2**32 - 1)
    if len(index) != len(attributes) or (len(index) and index.min() < 0):
        raise ValueError(f"index must hold one number 0, 1, … for each of {len(attributes)} scenes, got {index}")
    named = _pairs(recipe, unseen)
    related = not (unseen and named)  # to the object; held-out pairs are few, so any of them will do
    named = named or _pairs(recipe, False)
    uniform = (np.random.default_rng((int(seed), int(unseen), int(i), 1)).random(4) for i in index)
    return [
        _question(recipe, scene[scene[:, 0] >= 0], numbers, kinds, named, unseen, related)
        for scene, numbers in zip(attributes, uniform, strict=True)
    ]


def answer(questions: Sequence[str], attributes: Int[np.ndarray, "b 3 4"]) -> list[str]:
    """Answer each question about its scene.

    Args:
        questions: (b,) as `ask` writes them.
        attributes: (b, 3, 4) of the scenes, or what `shapes_oracle.read` says of pictures.

    Returns:
        One of `choices(question)`, or UNCLEAR.

    Raises:
        ValueError: for questions of another form, and another number of them.
    """
    if len(questions) != len(attributes):
        raise ValueError(f"{len(questions)} questions need as many scenes, got {len(attributes)}")
    return [_answer(*_parsed(question), scene) for question, scene in zip(questions, attributes, strict=True)]


def kind(question: str) -> str:
    """Return which of KINDS a question is of.

    Raises:
        ValueError: for a question of another form.
    """
    return _parsed(question)[0]


def choices(question: str) -> tuple[str, ...]:
    """Return the answers that a question may have, for a comparison of their likelihoods.

    Raises:
        ValueError: for a question of another form.
    """
    kind = _parsed(question)[0]
    return NUMBERS if kind == "count" else _NAMES[_NAMED_AND_ASKED[kind][1]]


def held_out_pairs(
    colours: Sequence[str] = shapes.COLOURS, kinds: Sequence[str] = shapes.SHAPES
) -> tuple[tuple[str, str], ...]:
    """Choose pairs of colour and shape to hold out: colour c with shape s where c - s is a multiple of the number of
    shapes.

    So each colour is seen with all shapes but one, and of m shapes 1/m of all pairs are held out: with all 8 colours
    and 4 shapes, 8 of 32. The recipe is `shapes.Recipe(held_out=held_out_pairs())`.

    Args:
        colours: those of the recipe.
        kinds: its shapes, at least 2.

    Raises:
        ValueError: for one shape, of which nothing would be left.
    """
    if len(kinds) < 2:
        raise ValueError(f"kinds = {tuple(kinds)}: with fewer than 2 shapes, every colour would be held out")
    return tuple(
        (colour, kind) for c, colour in enumerate(colours) for s, kind in enumerate(kinds) if (c - s) % len(kinds) == 0
    )


def held_out_objects() -> tuple[tuple[str, ...], ...]:
    """Choose whole objects to hold out, a quarter of all: those of colour c, shape s, size z and position p where
    c + s + 2z + p is a multiple of 4.

    So each colour is seen with each shape. Which shape an object cannot have depends on its colour, size and position
    together: beside any two of them, all shapes are seen. The recipe is `shapes.Recipe(held_out=held_out_objects())`.
    """
    numbered = (enumerate(values) for values in (shapes.COLOURS, shapes.SHAPES, shapes.SIZES, shapes.POSITIONS))
    return tuple(
        (colour, kind, size, position)
        for (c, colour), (s, kind), (z, size), (p, position) in itertools.product(*numbered)
        if (c + s + 2 * z + p) % len(shapes.SHAPES) == 0
    )


def _question(
    recipe: shapes.Recipe,
    objects: np.ndarray,
    uniform: np.ndarray,
    kinds: Sequence[str],
    named: list[tuple[int, int]],
    unseen: bool,
    related: bool,
) -> str:
    meant = np.array([not unseen or _is_held_out(recipe, each) for each in objects], bool)
    possible = {"count": meant}
    for kind, (column, _) in _NAMED_AND_ASKED.items():
        possible[kind] = meant & (np.sum(objects[:, column] == objects[:, column, None], axis=1) == 1)
    allowed = [kind for kind in kinds if possible[kind].any()]
    if not allowed:
        raise ValueError(
            f"a scene of {len(objects)} objects allows no question of kinds = {tuple(kinds)}: add 'count' to them"
        )
    kind = _pick(allowed, uniform[0])
    colour, shape, _, position = objects[_pick(np.flatnonzero(possible[kind]), uniform[1])]
    if kind == "colour":
        return f"what colour is the {shapes.SHAPES[shape]}?"
    if kind == "shape":
        return f"what shape is the {shapes.COLOURS[colour]} object?"
    if kind != "count":
        return f"what {kind.split()[0]} is the object at the {shapes.POSITIONS[position]}?"
    others = [(c, s) for c, s in named if (c == colour) != (s == shape) or not (related or (c, s) == (colour, shape))]
    if uniform[2] < 0.5 and others:
        colour, shape = _pick(others, uniform[3])
    return f"how many {shapes.COLOURS[colour]} {_PLURALS[shape]} are there?"


def _answer(kind: str, words: tuple[str, ...], scene: np.ndarray) -> str:
    if np.any(scene < shapes.ABSENT):
        return UNCLEAR
    objects = scene[scene[:, 0] >= 0]
    if kind == "count":
        colour, shape = shapes.COLOURS.index(words[0]), _PLURALS.index(words[1])
        return NUMBERS[int(np.sum((objects[:, 0] == colour) & (objects[:, 1] == shape)))]
    column, answer_column = _NAMED_AND_ASKED[kind]
    meant = objects[objects[:, column] == _NAMES[column].index(words[0])]
    return _NAMES[answer_column][meant[0, answer_column]] if len(meant) == 1 else UNCLEAR


def _parsed(question: str) -> tuple[str, tuple[str, ...]]:
    for kind, pattern in _QUESTIONS.items():
        if match := pattern.fullmatch(question):
            return kind, match.groups()
    raise ValueError(
        f"question {question!r} is none of 'how many red circles are there?' and its like; `ask` writes them"
    )


def _pairs(recipe: shapes.Recipe, unseen: bool) -> list[tuple[int, int]]:
    """The pairs of colour and shape that the recipe shows (unseen=False) or holds out, in whatever size and
    position.
    """
    pairs = [(colour, shape) for colour in recipe.colours for shape in recipe.shapes]
    chosen = [
        pair for pair in pairs if any(set(pair).issuperset(combination) for combination in recipe.held_out) == unseen
    ]
    return [(shapes.COLOURS.index(colour), shapes.SHAPES.index(shape)) for colour, shape in chosen]


def _is_held_out(recipe: shapes.Recipe, attributes: Int[np.ndarray, "4"]) -> bool:
    names = {values[value] for values, value in zip(_NAMES, attributes, strict=True)}
    return any(names.issuperset(combination) for combination in recipe.held_out)


def _pick(values: Any, uniform: float) -> Any:
    """One of several values, by a number in [0, 1)."""
    return values[int(uniform * len(values))]
