import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.runs.reporting import json_files
from tests.tables import table


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError(f"rate = {self.rate} is negative")


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    count: int
    flag: bool
    pair: tuple[float, float]
    many: tuple[Inner, ...]
    mode: Literal["fast", "slow"]
    maybe: int | None
    free: dict[str, Any]
    folder: Path = Path("runs")


GOOD = Outer("a", 3, True, (1.0, 2.5), (Inner(), Inner(0.2)), "fast", None, {"x": [1, "y", None]})


def test_a_dataclass_comes_back_equal(tmp_path):
    assert json_files.read(json_files.write(tmp_path / "a.json", GOOD), Outer) == GOOD


def test_numbers_that_json_lacks_come_back_and_the_file_stays_valid(tmp_path):
    path = json_files.write(tmp_path / "a.json", dataclasses.replace(GOOD, pair=(float("-inf"), float("nan"))))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is invalid JSON"))
    low, high = json_files.read(path, Outer).pair
    assert low == float("-inf") and np.isnan(high)


def test_numpy_scalars_become_numbers_and_arrays_and_functions_are_refused():
    scalars = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.float64("nan")}
    assert json_files.encode(scalars) == {"a": 0.5, "b": 3, "c": True, "d": "nan"}
    for value in (np.zeros(3), len, {1, 2}):
        with pytest.raises(TypeError, match="has no place in a JSON file"):
            json_files.encode(value)


@table(
    ("entries", "message"),
    [
        ({"name": 3}, "name: Expected `str`, got `int`"),
        ({"count": 2.5}, "count: Expected `int`, got `float`"),
        ({"count": True}, "count: Expected `int`, got `bool`"),
        ({"pair": [1]}, "pair: Expected `array` of length 2, got 1"),
        ({"pair": [1, "1"]}, "pair[1]: Expected `float`, got `str`"),
        ({"many": [{"rate": 1}, {"rate": None}]}, "many[1].rate: Expected `float`, got `null`"),
        ({"many": [{"rate": -1}]}, "many[0]: rate = -1.0 is negative"),
        ({"many": [{"rates": 1}]}, "many[0].rates: is no known field; did you mean 'rate'?"),
        ({"many": {}}, "many: Expected `array`, got `object`"),
        ({"mode": "quick"}, "mode: Invalid enum value 'quick'"),
        ({"maybe": "1"}, "maybe: Expected `int | null`, got `str`"),
        ({"folder": 3}, "folder: Expected `Path`, got `int`"),
        ({"nmae": "a"}, "nmae: is no known field; did you mean 'name'?"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(entries, message):
    with pytest.raises(DataError) as caught:
        json_files.decode(Outer, json_files.encode(GOOD) | entries, "x.json")
    assert str(caught.value) == f"x.json: {message}"


def test_a_field_without_a_default_is_needed():
    data = json_files.encode(GOOD)
    del data["count"], data["folder"]
    with pytest.raises(DataError, match=r"x\.json: Object missing required field `count`"):
        json_files.decode(Outer, data, "x.json")


@pytest.mark.fault("damaged file of results")
@table("text", ["", '{"name": ', '{"name": NaN}', "\x00\xff", None])
def test_a_broken_or_missing_file_is_an_error_with_its_path(tmp_path, text):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=rf"^{path}: {'no such file' if text is None else '(not JSON|is no UTF-8)'}"):
        json_files.read(path, Outer)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = json_files.write_bytes(tmp_path / "a.json", b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        json_files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths))[1])
    json_files.write_bytes(tmp_path / "a.json", b"new")
    assert calls == ["fsync", "replace", "fsync"]
