"""Images with texts, and a question with its answer for each: digits, emoji and scenes of shapes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Integer

from experiments.tasks import captions, rendering, scene_questions, shapes
from gendiff.core import checks
from gendiff.data import scaling
from gendiff.data.emoji import Emoji

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class CaptionedImages(NamedTuple):
    """Images with a caption, a question and its answer for each.

    Attributes:
        images: in [-1, 1].
        texts: the caption of each.
        questions: one about each.
        answers: to them.
    """

    images: Float32[np.ndarray, "n h w c"]
    texts: list[str]
    questions: list[str]
    answers: list[str]


def captioned_digits(images: Float32[np.ndarray, "n h w c"], labels: Integer[np.ndarray, "n"]) -> CaptionedImages:
    """Caption digits as "a three" or "an eight"; the question is "which digit is this?" and its answer the name.

    Args:
        images: (n, h, w, c) of one digit each.
        labels: (n,) 0 … 9.

    Raises:
        TypeError: for labels that are no integers.
        ValueError: for a label out of range, and another number of them.
    """
    checks.ids("labels", labels, len(DIGIT_NAMES))
    if len(labels) != len(images):
        raise ValueError(f"labels has {len(labels)} entries, but there are {len(images)} images")
    names = [DIGIT_NAMES[label] for label in labels]
    texts = [f"{'an' if name == 'eight' else 'a'} {name}" for name in names]
    return CaptionedImages(images, texts, ["which digit is this?"] * len(names), names)


def captioned_emoji(drawings: Emoji, rows: Sequence[int] | Int[np.ndarray, "n"]) -> CaptionedImages:
    """Render emoji with their names as texts; the question is "what is this?" and its answer the name.

    Hold out whole concepts by `emoji.split`: a name is the answer of one drawing alone.

    Args:
        drawings: with captions.
        rows: (n,) which of them.

    Raises:
        ValueError: for drawings without captions.
    """
    if not drawings.captions:
        raise ValueError("drawings have no captions: they are made by emoji.source(size, captions=True)")
    pixels = np.array([drawings.image(int(row)) for row in rows], np.uint8).reshape(
        len(rows), drawings.size, drawings.size, 3
    )
    names = [drawings.captions[row] for row in rows]
    return CaptionedImages(np.asarray(scaling.to_unit(pixels, 256)), names, ["what is this?"] * len(names), list(names))


def captioned_shapes(
    recipe: shapes.Recipe,
    size: int,
    seed: int,
    index: Int[np.ndarray, "n"],
    *,
    kinds: Sequence[str] = scene_questions.KINDS,
    unseen: bool = False,
) -> CaptionedImages:
    """Draw scenes of shapes with captions, and questions whose answers follow from the scene.

    Picture i and its texts are a function of (seed, index[i]) and the settings. Combinations are held out by the
    recipe, such as `shapes.Recipe(held_out=scene_questions.held_out_pairs())`: neither pictures nor texts show them,
    unless `unseen` asks for them alone.

    Args:
        recipe: which scenes there are.
        size: pixels per side, >= 16.
        seed: 0 … 2³² - 1.
        index: (n,) the numbers 0, 1, … of the scenes in that stream.
        kinds: of questions, as for `scene_questions.ask`.
        unseen: each scene shows a held-out combination in one object, and the question is about that object.

    Raises:
        ValueError: as `shapes.draw`, `rendering.render` and `scene_questions.ask` do.
    """
    scenes = shapes.draw(recipe, seed, index, unseen=unseen)
    pictures = np.asarray(scaling.round_to_levels(rendering.render(scenes, size), 256))
    questions = scene_questions.ask(recipe, scenes.attributes, seed, index, kinds=kinds, unseen=unseen)
    answers = scene_questions.answer(questions, scenes.attributes)
    return CaptionedImages(pictures, captions.write(scenes.attributes), questions, answers)
