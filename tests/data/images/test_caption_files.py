"""Captions beside pictures, in text files or in one table."""

import json

import pytest

from gendiff.core.errors import DataError
from gendiff.data import caption_files
from tests.tables import table


def pictures(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def listed(folder, *entries):
    (folder / "metadata.jsonl").write_text(
        "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)
    )


def line(name, text):
    return {"file_name": name, "text": text}


def test_each_picture_has_the_text_file_of_its_name_or_its_line_of_the_table_of_its_folder(tmp_path):
    first, second = pictures(tmp_path / "a", "1.png", "2.b.jpg"), pictures(tmp_path / "b", "1.png")
    (tmp_path / "a" / "1.txt").write_text("\ufeff a red circle \n", encoding="utf-8")
    (tmp_path / "a" / "2.b.txt").write_text("ein grüner Kreis", encoding="utf-8")
    listed(tmp_path / "b", line("1.png", " a blue square"), "", line("other.png", "of no picture here"))
    assert caption_files.read([*first, *second]) == ("a red circle", "ein grüner Kreis", "a blue square")
    assert caption_files.read([str(second[0])]) == ("a blue square",) and caption_files.read([]) == ()
    listed(tmp_path / "b", '{"file_name": "1.png", "text": "two\u2028lines"}')
    assert caption_files.read([str(second[0])]) == ("two\u2028lines",)


def test_files_that_hold_captions_are_told_from_pictures_and_from_what_holds_neither(tmp_path):
    pictures(tmp_path, "1.png", "2.b.jpg", "1.txt", "2.b.txt", "metadata.jsonl", "notes.txt", "2.txt")
    beside = caption_files.among(sorted(tmp_path.iterdir()))
    assert {file.name for file in beside} == {"1.txt", "2.b.txt", "metadata.jsonl"}


BAD = {
    "none": (
        lambda folder: None,
        "2 of 2 pictures have no caption .1.png, 2.png.: write each into a text file of the same name, as 1.txt",
    ),
    "one of two": (lambda folder: (folder / "1.txt").write_text("a"), "1 of 2 pictures have no caption .2.png."),
    "two for one": (
        lambda folder: [(folder / "1.txt").write_text("a"), listed(folder, line("1.png", "a"), line("2.png", "b"))],
        "1.png: has a caption in 1.txt and one in metadata.jsonl",
    ),
    "empty": (lambda folder: (folder / "1.txt").write_text(" \n"), "1.png: its caption is empty"),
    "no text": (lambda folder: (folder / "1.txt").write_bytes(b"\xff\xfe\xff"), "1.txt: is no UTF-8 at byte 0"),
    "no JSON": (lambda folder: listed(folder, "{"), "metadata.jsonl: line 1: not JSON"),
    "no object": (lambda folder: listed(folder, line("1.png", "a"), "[]"), "line 2 must hold"),
    "no caption in it": (lambda folder: listed(folder, {"file_name": "1.png"}), "line 1 must hold"),
    "a name twice": (
        lambda folder: listed(folder, line("1.png", "a"), line("1.png", "b")),
        "line 2 names 1.png a second time",
    ),
}


@pytest.mark.fault("text: captions of pictures that are missing or damaged")
@table("change, message", BAD.values())
def test_what_is_missing_or_damaged_is_named_path_first(tmp_path, change, message):
    files = pictures(tmp_path / "a", "1.png", "2.png")
    change(tmp_path / "a")
    with pytest.raises(DataError, match=message) as caught:
        caption_files.read(files)
    assert str(caught.value).startswith(str(tmp_path))
