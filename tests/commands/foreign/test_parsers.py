"""Every parser of what strangers write reads it or refuses it: what is no such file, and files in which anything may
have changed.
"""

import itertools
import json
import os
import random

import pytest

from gendiff.commands.serve.api_errors import ApiError
from tests.commands.foreign import fuzzing
from tests.commands.foreign.parsers import PARSERS
from tests.tables import table

QUICK, SLOW = 3, 6.0 if os.environ.get("CI") else 60.0
"""Tries of each parser in the quick test, and its seconds in the slow one: a minute, but where other tests wait."""
FIRST = 0 if os.environ.get("CI") else random.SystemRandom().randrange(2**24)
"""Seed of the slow test, another each time; the same in CI, where no change may fail by a fault that others made."""
KINDS = {
    "a pipe": os.mkfifo,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "nested lists": lambda file: file.write_text('{"a": ' + "[" * 99_999 + "]" * 99_999 + "}"),
    "a long integer": lambda file: file.write_text('{"a": 1' + "0" * 9999 + "}"),
}
LARGE = ("inpaint", "xl", "refiner", "sd3", "z_image", "flux_2")
"""Folders that take seconds to write."""
NAMES = [name for name in PARSERS if not name.endswith(LARGE)]
WITHOUT = {"lock"}
"""Takes a damaged file for none."""
pytestmark = pytest.mark.usefixtures("unchecked")


@table("name", NAMES)
def test_what_is_valid_is_read(tmp_path, name):
    PARSERS[name].write(tmp_path)
    assert fuzzing.read(PARSERS[name], tmp_path)


@pytest.mark.fault("files: a folder, a pipe or a device in place of a file", "files: JSON that is none, or too deep")
@table("name", [name for name in NAMES if ApiError not in PARSERS[name].errors])
def test_what_is_no_such_file_is_refused_by_its_path(tmp_path, name):
    parser = PARSERS[name]
    parser.write(tmp_path)
    for file, kind in itertools.product(parser.files, KINDS):
        valid = (tmp_path / file).rename(tmp_path / "valid")
        KINDS[kind](tmp_path / file)
        assert fuzzing.read(parser, tmp_path) is (name in WITHOUT), f"{file} as {kind}"
        (tmp_path / file).unlink()
        valid.rename(tmp_path / file)


@pytest.mark.fault("files: a file in which anything may have changed")
@table("name", NAMES)
def test_a_changed_file_is_read_or_refused(tmp_path, name):
    assert len(list(fuzzing.tried(PARSERS[name], tmp_path / "files", 0, QUICK))) == QUICK


def test_the_record_has_every_parser_and_all_its_tries_held():
    record = json.loads(fuzzing.RECORD.read_text(encoding="utf-8"))["parsers"]
    assert list(record) == list(PARSERS) and all(row["tried"] == row["held"] > 0 for row in record.values())


@pytest.mark.fault("files: a file in which anything may have changed")
@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_a_changed_file_is_read_or_refused_for_a_minute(tmp_path, name):
    parser, outcomes = PARSERS[name], []
    for seed in fuzzing.seeds(FIRST, SLOW):
        print(f"seed {seed}")  # which repeats a failure
        outcomes += fuzzing.tried(parser, tmp_path / "files", seed)
    assert name in WITHOUT or not all(outcomes)
