"""One file serves both sides, and anything else in it is an error."""

import functools
import json

import jax
import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.provenance import text_watermarks, watermark_files
from tests.provenance import image_rig
from tests.provenance.rig import KEY, MARKS, V
from tests.tables import table

OF_TEXTS = functools.partial(watermark_files.load, vocabulary=V), MARKS
OF_PICTURES = functools.partial(watermark_files.load_image, shape=image_rig.S), image_rig.MARKS


@table("load, make", [(load, make) for load, marks in (OF_TEXTS, OF_PICTURES) for make in marks.values()])
def test_what_is_read_is_what_was_saved(load, make, tmp_path):
    mark = make()
    watermark_files.save(tmp_path / "mark.json", mark)
    again = load(tmp_path / "mark.json")
    assert jax.tree.structure(again) == jax.tree.structure(mark)
    jax.tree.map(np.testing.assert_array_equal, again, mark)


WRONG = [  # how it is read, the mark that was saved, what is changed, and the words of the error
    (load, make, change, message)
    for load, make, rows in (
        (
            watermark_files.load,
            MARKS["green list"],
            [
                ({"format": "other"}, "no watermark of a text"),
                ({"kind": "red list"}, "kind = 'red list' is none of green list"),
                ({"gamma": None}, "gamma = None must be float"),
                ({"delta": "2"}, "delta = '2' must be float"),
                ({"gamma": 1.5}, "gamma = 1.5 is outside"),
                ({"width": True}, "width = True must be int"),
                ({"key": "no number"}, "invalid literal"),
                ({"secret": 1}, "secret: unknown"),
                ({"payload": [9]}, "a digit of payload = 9"),
            ],
        ),
        (
            watermark_files.load_image,
            image_rig.MARKS["spread spectrum"],
            [
                ({"format": "gendiff text watermark 1"}, "no watermark of a picture: .* it is one of a text"),
                ({"kind": "green list"}, "kind = 'green list' is none of tree ring"),
                ({"masked": 1}, "masked = 1 must be bool"),
                ({"cell": True}, "cell = True must be int"),
                ({"strength": -1.0}, "strength = -1"),
                ({"shape": [16, 16]}, "must be \\(h, w, c\\)"),
                ({"shape": [16, 16, 0]}, "a side of shape = 0"),
                ({"bits": [2]}, "a bit = 2"),
                ({"radius": 6}, "radius: unknown to a spread spectrum"),
            ],
        ),
    )
    for change, message in rows
]


@pytest.mark.fault("watermarks: a file of a mark that lacks a setting, has another or is of another vocabulary")
@table("load, make, change, message", WRONG)
def test_another_file_is_refused_by_name(load, make, change, message, tmp_path):
    file = tmp_path / "mark.json"
    watermark_files.save(file, make())
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=message) as refused:
        load(file)
    assert str(refused.value).startswith(str(file))


@pytest.mark.fault("watermarks: a file of a mark that lacks a setting, has another or is of another vocabulary")
def test_a_missing_setting_and_another_vocabulary_are_refused(tmp_path):
    file = tmp_path / "mark.json"
    watermark_files.save(file, MARKS["green list"]())
    with pytest.raises(DataError, match="for 64 tokens, but there are 65"):
        watermark_files.load(file, vocabulary=65)
    content = json.loads(file.read_text())
    del content["gamma"]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="gamma: unknown to a green list, or missing"):
        watermark_files.load(file)
    with pytest.raises(TypeError, match="delta has shape"):
        watermark_files.save(file, text_watermarks.green_list(KEY, V, delta=np.ones(3)))


@pytest.mark.fault("watermarks: a file of a mark that lacks a setting, has another or is of another vocabulary")
def test_a_mark_of_the_other_kind_and_another_shape_are_refused(tmp_path):
    file = tmp_path / "mark.json"
    watermark_files.save(file, image_rig.MARKS["tree ring"]())
    with pytest.raises(DataError, match="no watermark of a text.* it is one of a picture"):
        watermark_files.load(file)
    with pytest.raises(DataError, match=r"shape \[16, 16, 1\], but pictures are \[8, 8, 1\]"):
        watermark_files.load_image(file, shape=(8, 8, 1))
