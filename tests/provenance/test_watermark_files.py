"""One file serves both sides, and anything else in it is an error."""

import json

import jax
import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.provenance import text_watermarks, watermark_files
from tests.provenance.rig import KEY, MARKS, V


@pytest.mark.parametrize("name", MARKS)
def test_what_is_read_is_what_was_saved(name, tmp_path):
    mark = MARKS[name]()
    watermark_files.save(tmp_path / "mark.json", mark)
    again = watermark_files.load(tmp_path / "mark.json", vocabulary=V)
    assert jax.tree.structure(again) == jax.tree.structure(mark)
    jax.tree.map(np.testing.assert_array_equal, again, mark)


@pytest.mark.fault("watermarks: a file of a mark that lacks a setting, has another or is of another vocabulary")
@pytest.mark.parametrize(
    ("change", "message"),
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
)
def test_another_file_is_refused_by_name(change, message, tmp_path):
    file = tmp_path / "mark.json"
    watermark_files.save(file, MARKS["green list"]())
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=message) as refused:
        watermark_files.load(file)
    assert str(refused.value).startswith(str(file))


@pytest.mark.fault("watermarks: a file of a mark that lacks a setting, has another or is of another vocabulary")
def test_a_missing_setting_and_another_vocabulary_are_refused(tmp_path):
    file = tmp_path / "mark.json"
    watermark_files.save(file, MARKS["green list"]())
    with pytest.raises(DataError, match="for 64 tokens, but there are 65"):
        watermark_files.load(file, vocabulary=65)
    found = json.loads(file.read_text())
    del found["gamma"]
    file.write_text(json.dumps(found))
    with pytest.raises(DataError, match="gamma: unknown to a green list, or missing"):
        watermark_files.load(file)
    with pytest.raises(TypeError, match="delta has shape"):
        watermark_files.save(file, text_watermarks.green_list(KEY, V, delta=np.ones(3)))
