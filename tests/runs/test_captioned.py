"""Rows of pictures above their words."""

import numpy as np
import pytest
from PIL import Image

from gendiff.runs.reporting import captioned


def test_each_picture_is_where_it_belongs_and_something_is_written_below(tmp_path):
    rows = np.linspace(-1, 1, 2 * 3, dtype=np.float32).reshape(2, 3, 1, 1, 1) * np.ones((1, 1, 20, 30, 3), np.float32)
    captioned.grid(rows, ["a cat", "a dog"], tmp_path / "x.png", scale=2, entries={"gendiff": "ü"})
    with Image.open(tmp_path / "x.png") as image:
        pixels, text = np.asarray(image), image.text
    gap, below = captioned.GAP, captioned.SIZE + captioned.BELOW
    assert text == {"gendiff": "ü"} and pixels.shape[1] == 3 * (60 + gap) + gap
    height = pixels.shape[0] // 2
    for row in range(2):
        for number in range(3):
            top, left = row * height + gap, number * (60 + gap) + gap
            assert (pixels[top : top + 40, left : left + 60] == round(51 * (3 * row + number))).all()
        words = pixels[row * height + gap + 40 : (row + 1) * height]
        assert words.min() < 100 and (words[-below // 3 :] == 255).all()


def test_long_captions_are_broken_and_none_may_be_missing(tmp_path):
    rows = np.zeros((1, 1, 100, 100, 3), np.float32)
    sizes = []
    for words in (3, 30):
        captioned.grid(rows, [" ".join(["word"] * words)], tmp_path / "x.png")
        with Image.open(tmp_path / "x.png") as image:
            sizes.append(image.size)
    assert sizes[0][0] == sizes[1][0] and sizes[1][1] > sizes[0][1] + 100
    with pytest.raises(ValueError, match="2 captions for 1 rows"):
        captioned.grid(rows, ["a", "b"], tmp_path / "x.png")
