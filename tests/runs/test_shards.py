"""Sharded samples: what is complete stays, what is not is redone, and the end result does not depend on who was killed
when.
"""

import dataclasses
import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from gendiff.core.errors import ConfigError, DataError
from gendiff.runs import shards
from gendiff.runs.shards import Manifest
from tests.tables import table

MANIFEST = Manifest("toy", 10, 4, (2, 2, 1), (), {"seed": 0}, {"jax": "1"})


def images_of(ids: range) -> np.ndarray:
    return np.stack([np.full((2, 2, 1), id * 7 % 256, np.uint8) for id in ids])


def fill(folder, numbers=(0, 1, 2)) -> shards.Shards:
    filled, _ = shards.create(folder, MANIFEST)
    for number in numbers:
        ids = MANIFEST.ids(number)
        filled.write(number, images_of(ids), np.array(ids, np.int32) % 3, 0.5)
    return filled


def test_the_last_shard_holds_the_rest():
    assert MANIFEST.count == 3
    assert [list(MANIFEST.ids(number)) for number in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [dataclasses.replace(MANIFEST, num=num).count for num in (4, 7, 8, 9)] == [1, 2, 2, 3]


def test_equal_arrays_are_equal_bytes(tmp_path):
    first, second = fill(tmp_path / "a"), fill(tmp_path / "b", (2, 0, 1))
    for number in range(3):
        assert first.path(number).read_bytes() == second.path(number).read_bytes()
    assert first.incomplete() == second.incomplete() == {}


@table(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(
            path.read_bytes()[:99] + bytes([path.read_bytes()[99] ^ 1]) + path.read_bytes()[100:]
        ),
        lambda path: path.with_suffix(".json").write_text("{"),
        lambda path: path.with_suffix(".json").write_text(json.dumps({"sha256": 3})),
    ],
)
def test_a_shard_without_its_two_whole_files_is_not_complete(tmp_path, damage):
    filled = fill(tmp_path / "a")
    damage(filled.path(1))
    assert list(filled.incomplete()) == [1] and not filled.all_complete(verified={0, 2})
    with pytest.raises(DataError, match="shard_000001"):
        list(filled)
    with pytest.raises(DataError, match="1 of 3 shards"):
        shards.check_complete(filled)
    with pytest.raises(DataError, match="shard_000001"):
        shards.write_npz(filled, tmp_path / "all.npz")
    assert not (tmp_path / "all.npz").exists()


def forged(path, **arrays):
    """Other arrays, with the digest of their own file."""
    np.savez(path, **arrays)
    record = json.loads(path.with_suffix(".json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(record | {"sha256": digest}))


@table(
    ("arrays", "message"),
    [
        ({"arr_1": np.zeros(4, np.int32)}, "has 0 arrays named 'arr_0'"),
        ({"arr_0": np.array([print]), "arr_1": np.zeros(4, np.int32)}, "not a whole NumPy file"),
        ({"arr_0": np.zeros((4, 3, 3, 1), np.uint8), "arr_1": np.zeros(4, np.int32)}, r"holds uint8 \(4, 3, 3, 1\)"),
        ({"arr_0": np.zeros((4, 2, 2, 1)), "arr_1": np.zeros(4, np.int32)}, "holds float64 .*: remove it"),
        ({"arr_0": np.zeros((4, 2, 2, 1), np.uint8), "arr_1": np.zeros(3, np.int32)}, r"and int32 \(3,\), not"),
    ],
)
def test_arrays_that_are_none_of_the_manifest_are_refused_whatever_their_digest_says(tmp_path, arrays, message):
    filled = fill(tmp_path / "a")
    forged(filled.path(1), **arrays)
    with pytest.raises(DataError, match=f"shard_000001.*{message}"):
        list(filled)


def test_all_are_complete_when_those_of_others_are_and_bytes_known_to_be_right_are_not_read_again(tmp_path):
    filled = fill(tmp_path / "a", (0, 2))
    assert not filled.all_complete(verified={0, 2})
    filled = fill(tmp_path / "a", (1,))
    assert filled.all_complete(verified=()) and filled.all_complete(verified={0, 1, 2})
    filled.path(1).write_bytes(b"other")
    assert filled.all_complete(verified={1}) and not filled.all_complete(verified={0, 2})


def test_a_shard_under_another_number_is_not_complete(tmp_path):
    filled = fill(tmp_path / "a")
    for suffix in (".npz", ".json"):
        filled.path(1).with_suffix(suffix).write_bytes(filled.path(0).with_suffix(suffix).read_bytes())
    assert "holds samples 0" in filled.incomplete()[1]
    filled.path(2).with_suffix(".json").write_text(
        filled.path(2).with_suffix(".json").read_text().replace('"count": 2', '"count": 4')
    )
    assert "holds samples 8 … 11, not 8 … 9" in filled.incomplete()[2]


def test_of_processes_that_begin_a_folder_at_once_the_first_names_its_settings(tmp_path, monkeypatch):
    """The slower one has seen a folder without a manifest, and finds one when it comes to write its own."""
    fill(tmp_path / "a")
    manifest = tmp_path / "a" / shards.MANIFEST
    first, there = manifest.read_bytes(), Path.exists
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(()))
    monkeypatch.setattr(Path, "exists", lambda self: self != manifest and there(self))
    with pytest.raises(ConfigError, match="settings.seed"):
        shards.create(tmp_path / "a", dataclasses.replace(MANIFEST, settings={"seed": 1}))
    assert manifest.read_bytes() == first
    monkeypatch.undo()
    assert not list((tmp_path / "a").glob("*.tmp")) and not list((tmp_path / "a").glob(".*.tmp"))


def test_other_settings_are_refused_and_another_environment_is_told(tmp_path):
    fill(tmp_path / "a")
    with pytest.raises(ConfigError, match="settings.seed"):
        shards.create(tmp_path / "a", Manifest("toy", 10, 4, (2, 2, 1), (), {"seed": 1}, {"jax": "1"}))
    _, notes = shards.create(tmp_path / "a", Manifest("toy", 10, 4, (2, 2, 1), (), {"seed": 0}, {"jax": "2"}))
    assert len(notes) == 1 and "jax" in notes[0]


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "holiday.jpg").touch()
    with pytest.raises(ConfigError, match=r"holiday.jpg"):
        shards.create(tmp_path / "a", MANIFEST)
    for out in ("a.npz", "https://host/a"):
        with pytest.raises(ConfigError, match="folder"):
            shards.create(out, MANIFEST)
    with pytest.raises(DataError, match="manifest"):
        shards.existing(tmp_path / "a")


def test_processes_share_the_shards_and_arrays_name_theirs():
    assert shards.chosen(None, 5) == [0, 1, 2, 3, 4]
    assert shards.chosen("1-3", 5) == [1, 2, 3]
    assert shards.chosen("4", 5) == [4]
    parts = [shards.chosen(None, 5, process, 3) for process in range(3)]
    assert sorted(number for part in parts for number in part) == [0, 1, 2, 3, 4]
    # whatever others are asked for
    assert [shards.chosen("1-4", 5, process, 2) for process in (0, 1)] == [[2, 4], [1, 3]]
    for wrong in ("5", "3-1", "0-5", "-1", "a", "1-2-3", "", "1-", "9" * 5000):
        with pytest.raises(ConfigError, match="--shards"):
            shards.chosen(wrong, 5)


@pytest.mark.fault("a request larger than memory")
def test_sizes_out_of_range_are_refused_before_anything_is_allocated():
    tracemalloc.start()
    for num, size in ((0, 1), (10, 0), (10, 11), (3_000_000_000, 1000)):
        with pytest.raises(ConfigError, match="outside"):
            Manifest("toy", num, size, (2, 2, 1), (), {}, {})
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_one_file_of_all_samples(tmp_path):
    filled = fill(tmp_path / "a")
    shards.write_npz(filled, tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["arr_0"], images_of(range(10)))
        np.testing.assert_array_equal(stored["arr_1"], np.arange(10) % 3)
