import pytest

from gendiff.core.errors import CheckpointCorruptError
from gendiff.training import digests


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "state" / "d").mkdir(parents=True)
    (tmp_path / "state" / "d" / "values").write_bytes(bytes(range(256)))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "_CHECKPOINT_METADATA").write_text("{}")
    digests.write(tmp_path)
    return tmp_path


def test_untouched_files_pass_also_when_the_commit_rewrote_its_metadata_and_added_a_file(folder):
    (folder / "_CHECKPOINT_METADATA").write_text('{"commit": 1}')
    (folder / "commit_success.txt").write_text("done")
    digests.verify(folder, "step 1")


def test_every_flipped_bit_is_found(folder):
    path = folder / "state" / "d" / "values"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 31):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(CheckpointCorruptError, match="step 1 is corrupt: item state: state/d/values"):
            digests.verify(folder, "step 1")


def test_all_bad_files_are_named_at_once(folder):
    (folder / "empty").write_bytes(b"1")
    (folder / "state" / "d" / "values").unlink()
    with pytest.raises(CheckpointCorruptError, match="empty has 1 bytes instead of 0.*values is missing"):
        digests.verify(folder, "step 1")


def test_edited_listing_is_found(folder):
    path = folder / digests.NAME
    path.write_text(path.read_text().replace('"size": 256', '"size": 255'))
    with pytest.raises(CheckpointCorruptError, match="its own sha256 differs"):
        digests.verify(folder, "step 1")
