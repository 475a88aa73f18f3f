"""Checkpoints that are damaged, in the wrong place or cannot be made: every file in every way, every step under another
number.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import threading
import time

import pytest

from gendiff.core.errors import CheckpointCorruptError, CheckpointMismatchError
from gendiff.training import digests
from gendiff.training.checkpoints import Checkpoints
from tests.tables import table
from tests.training import linear
from tests.training.linear import restore


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the steps 2 and 4 of a run, not to be changed."""
    return linear.written(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def files_of(step):
    return sorted(path for path in step.rglob("*") if path.is_file())


def largest_of(step):
    return max(files_of(step / "state"), key=lambda path: path.stat().st_size)


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


# Orbax writes these two after the digests: they hold the time of the commit
REWRITTEN = ("_CHECKPOINT_METADATA", "commit_success.txt")


@pytest.mark.fault(
    "flipped byte in a checkpoint", "truncated file of a checkpoint", "missing file or metadata of a checkpoint"
)
@table("damage", [flipped, lambda content: content[:-1], lambda content: b"", lambda content: None])
def test_damage_of_any_file_is_an_error_naming_step_and_item_or_changes_no_value(folder, damage):
    step = folder / "4"
    items = set()
    with Checkpoints(folder) as checkpoints:
        for path in files_of(step):
            original, name = path.read_bytes(), path.relative_to(step)
            if (content := damage(original)) is None:
                path.unlink()
            else:
                path.write_bytes(content)
            try:
                restored = checkpoints.restore(4, linear.start())
            except CheckpointCorruptError as error:
                assert re.match(rf"step 4 .*item {name.parts[0]}", str(error)), error
                items.add(name.parts[0])
            else:
                assert name.as_posix() in REWRITTEN, name
                linear.assert_bitwise_equal(restored.state, linear.train(linear.start(), 0, 4))
            path.write_bytes(original)
        assert items >= {"meta", "state", digests.NAME}
        assert checkpoints.restore(4, linear.start()).step == 4


@pytest.mark.fault("missing file or metadata of a checkpoint")
@table("name", ["state", "meta"])
def test_missing_item_is_an_error_naming_step_and_item(folder, name):
    shutil.move(folder / "4" / name, folder.parent / name)
    with pytest.raises(CheckpointCorruptError, match=f"step 4 .*item {name}"):
        restore(folder, 4)
    shutil.move(folder.parent / name, folder / "4" / name)


@pytest.mark.fault("swapped, renamed or linked checkpoint")
def test_a_swapped_renamed_or_linked_step_is_refused_with_both_numbers_and_gone_past(folder):
    (folder / "4").rename(folder / "6")
    (folder / "5").symlink_to(folder / "2")
    shutil.copytree(folder / "2", folder / "3")
    for step, written in ((3, 2), (5, 2), (6, 4)):
        with pytest.raises(
            CheckpointCorruptError,
            match=rf"step {step} is corrupt: item digests.json: .* was written as step {written}",
        ):
            restore(folder, step)
    with Checkpoints(folder) as checkpoints, pytest.warns(UserWarning, match="going back") as warned:
        assert checkpoints.latest_valid() == 2
    assert len(warned) == 3


def test_a_listing_of_before_steps_were_recorded_is_taken_with_a_warning_and_one_of_later_is_refused(folder):
    path = folder / "4" / digests.NAME
    listing = json.loads(path.read_text())

    def store(**changes):
        stored = {name: value for name, value in (listing | changes).items() if value is not None and name != "sha256"}
        signed = stored if "format" in stored else stored["files"]
        path.write_text(
            json.dumps(stored | {"sha256": hashlib.sha256(json.dumps(signed, sort_keys=True).encode()).hexdigest()})
        )

    store(format=None, step=None)
    with pytest.warns(UserWarning, match="before steps were recorded"):
        assert restore(folder, 4).step == 4
    store(format=2)
    with pytest.raises(CheckpointMismatchError, match="format 2"):
        restore(folder, 4)
    for changes in ({"step": None}, {"files": {"a": {"size": 1}}}, {"files": {"a": 3}}):
        store(**changes)
        with pytest.raises(CheckpointCorruptError, match="item digests.json: .* lacks its step, or the size or sha256"):
            restore(folder, 4)


@table(
    "changes",
    [
        {"config": ...},
        {"meta": ...},
        {"leaves": ...},
        {"leaves": {"params/dense/bias": {"shape": [2]}}},
        {"leaves": {"params/dense/bias": {"shape": 2, "dtype": "float32"}}},
        {"leaves": {"params/dense/bias": {"shape": [2], "dtype": "float33"}}},
        {"config": ["a"]},
        {"description": 3},
    ],
)
def test_metadata_that_lack_a_field_are_an_error_even_where_their_digest_fits(written, folder, changes):
    stored = json.loads((written / "4" / "meta" / "metadata").read_text()) | changes
    text = json.dumps({name: value for name, value in stored.items() if value is not ...})
    (folder / "4" / "meta" / "metadata").write_text(text)
    (folder / "4" / digests.NAME).unlink()
    digests.write(folder / "4", 4)
    with Checkpoints(folder, read_only=True) as checkpoints:
        for read in (checkpoints.contents, checkpoints.written_with, lambda: checkpoints.restore(4, linear.start())):
            with pytest.raises(CheckpointCorruptError, match="step 4 of .*, item meta, lacks"):
                read()


def waits_for_something(thread):
    """Whether a thread would keep the process from ending: it is no daemon, has not ended, and is no idle worker of a
    pool.
    """
    frame = sys._current_frames().get(thread.ident)
    return (
        not thread.daemon
        and frame is not None
        and not frame.f_code.co_filename.endswith(os.path.join("futures", "thread.py"))
    )


def left_waiting(before, seconds=2.0):
    """Threads that are new and still wait for something after so long: a worker of a pool that has just begun or ended
    does not.
    """
    end = time.monotonic() + seconds
    while (
        left := [each for each in set(threading.enumerate()) - before if waits_for_something(each)]
    ) and time.monotonic() < end:
        time.sleep(0.01)
    return left


@pytest.mark.fault("a checkpoint's folder cannot be made")
def test_a_folder_that_cannot_be_made_is_an_error_at_once_and_leaves_no_thread_waiting(folder):
    aside, begin = folder.with_name("aside"), time.monotonic()
    with Checkpoints(folder) as checkpoints:
        before = set(threading.enumerate())
        folder.rename(aside)
        folder.write_text("a file")
        with pytest.raises(
            OSError,
            match=r"step 6 could not be saved: Not a directory. It needs about \d\d+ bytes; 0 were written, \d+ are "
            r"free",
        ):
            checkpoints.save(6, linear.start())
        assert not left_waiting(before)
        folder.unlink()
        aside.rename(folder)
        assert checkpoints.restore(4, linear.start()).step == 4
        assert checkpoints.save(6, linear.start())
    assert sorted(os.listdir(folder)) == ["2", "4", "6"]
    assert time.monotonic() - begin < 5


@table("content", ["", "{", "[]", '{"files": {}, "sha256": "0"}'])
def test_damaged_digests_are_an_error(folder, content):
    (folder / "4" / digests.NAME).write_text(content)
    with pytest.raises(CheckpointCorruptError, match=digests.NAME):
        restore(folder, 4)


def test_digests_find_every_flipped_bit_and_name_all_bad_files_at_once_and_allow_what_a_commit_rewrites(tmp_path):
    values, content = tmp_path / "state" / "values", bytes(range(256))
    values.parent.mkdir()
    values.write_bytes(content)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "_CHECKPOINT_METADATA").write_text("{}")
    digests.write(tmp_path, 1)
    (tmp_path / "_CHECKPOINT_METADATA").write_text('{"commit": 1}')
    (tmp_path / "commit_success.txt").write_text("done")
    digests.verify(tmp_path, 1)
    for bit in range(0, 8 * len(content), 31):
        values.write_bytes((int.from_bytes(content) ^ 1 << bit).to_bytes(len(content)))
        with pytest.raises(CheckpointCorruptError, match="step 1 is corrupt: item state: state/values"):
            digests.verify(tmp_path, 1)
    values.unlink()
    (tmp_path / "empty").write_bytes(b"1")
    with pytest.raises(CheckpointCorruptError, match="empty has 1 bytes instead of 0.*values is missing"):
        digests.verify(tmp_path, 1)


@pytest.mark.fault("truncated file of a checkpoint", "newest checkpoint damaged, --resume latest-valid")
def test_latest_valid_walks_back_from_a_truncated_file_and_says_so(folder):
    largest = largest_of(folder / "4")
    largest.write_bytes(largest.read_bytes()[:-1])
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(CheckpointCorruptError, match="step 4 .*item state.*bytes instead of"):
            checkpoints.restore(4, linear.start())
        with pytest.warns(UserWarning, match="step 4 is corrupt.*going back"):
            assert checkpoints.latest_valid() == 2
        restored = checkpoints.restore(2, linear.start())
        checkpoints.discard_after(2)
        assert checkpoints.steps() == [2]
        assert checkpoints.save(4, linear.train(restored.state, 2, 4))
        linear.assert_bitwise_equal(checkpoints.restore(None, linear.start()).state, linear.train(linear.start(), 0, 4))


def test_latest_valid_raises_where_nothing_is_intact_and_is_none_where_nothing_is(folder, tmp_path):
    for step in ("2", "4"):
        (folder / step / digests.NAME).unlink()
    with (
        Checkpoints(folder) as checkpoints,
        pytest.warns(UserWarning),
        pytest.raises(CheckpointCorruptError, match="none of 2 steps"),
    ):
        checkpoints.latest_valid()
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.latest_valid() is None and checkpoints.latest() is None
