"""What passes the border, and what is refused there with the path first."""

import json
import os

import pytest

from gendiff.core import foreign_files
from gendiff.core.errors import CheckpointMismatchError, ConfigError, DataError, NonFiniteError
from tests.tables import table


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def text(content):
    return lambda path: path.write_bytes(content)


MISTAKES = {
    "none": (lambda path: None, "no such file$"),
    "a folder": (lambda path: path.mkdir(), "not a regular file"),
    "a pipe": (pipe, "not a regular file"),
    "a device": (device, "not a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path), r"cannot be read \(Too many levels of symbolic links\)"),
    "a file that grows": (lambda path: path.symlink_to("/proc/self/status"), "changes while it is read"),
    "no UTF-8": (text(b'{"a": "\xff"}'), "is no UTF-8 at byte 7"),
    "no JSON": (text(b"{"), "not JSON: Expecting property name"),
    "no object": (text(b"[]"), "must hold one JSON object, got list"),
    "nested lists": (text(b'{"a": ' + b"[" * 99_999 + b"]" * 99_999 + b"}"), "not JSON: "),
    "65 levels": (text(b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}"), "not JSON: more than 64 levels"),
    "a long integer": (text(b'{"a": 1' + b"0" * 99_999 + b"}"), "not JSON: an integer of 100000 digits"),
    "a large float": (text(b'{"a": 1e999}'), "not JSON: 1e999 is too large"),
    "half a character": (text(b'{"a": "\\ud83d"}'), "not JSON: 'utf-8' codec can't encode"),
    "NaN": (text(b'{"a": NaN}'), "not JSON: NaN is no number of JSON"),
}


@pytest.mark.fault("files: a folder, a pipe or a device in place of a file", "files: JSON that is none, or too deep")
@table("kind", MISTAKES)
def test_a_file_that_cannot_be_used_is_refused_by_its_path(tmp_path, kind):
    make, message = MISTAKES[kind]
    make(tmp_path / "file.json")
    with pytest.raises(DataError, match=rf"^{tmp_path}/file\.json: {message}"):
        foreign_files.json_object(tmp_path / "file.json")


def test_what_is_just_allowed_is_read(tmp_path):
    file, stored = tmp_path / "file.json", {"a": 10**39, "b": json.loads("[" * 62 + "]" * 62), "c": -float("inf")}
    stored["🫠"] = "🫠"  # in two halves there
    file.write_text(json.dumps(stored) + "\r\n")
    assert foreign_files.json_object(file) == stored and foreign_files.content(file, file.stat().st_size)
    assert foreign_files.text(file).endswith("}\n") and foreign_files.regular(str(file)) == file
    with pytest.raises(DataError, match="bytes, more than 9"):
        foreign_files.content(file, 9)


@pytest.mark.fault("files: a message of a megabyte, or with control characters")
@table("error", [ConfigError, DataError, CheckpointMismatchError, NonFiniteError])
def test_a_message_is_short_and_no_terminal_obeys_it(error):
    message = str(error(f"path: {'x' * 10**6}\x1b[2J\n: choose another"))
    assert len(message) <= 12 * 200 and message.startswith("path: x") and message.endswith("\\x1b[2J\n: choose another")
    lines = str(error("\n".join(map(str, range(99))))).split("\n")
    assert len(lines) == 12 and lines[-3:] == ["9", "… 88 lines …", "98"]


@table("error", [ConfigError("x"), TypeError("x"), OverflowError("x"), KeyError("x"), DataError("a.json: x")])
def test_wrong_content_is_an_error_of_its_file(error):
    with pytest.raises(DataError, match="^a.json: '?x'?$"), foreign_files.naming("a.json"):
        raise error


@table("message", ["x", "a.json: x"])
def test_a_mismatch_names_its_file_once(message):
    with pytest.raises(CheckpointMismatchError, match="^a.json: x$"), foreign_files.naming("a.json"):
        raise CheckpointMismatchError(message)
