import sysconfig

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.data import text
from tests.tables import table


def test_the_manual_of_python_is_many_texts_in_the_order_of_their_names():
    manual = text.python_manual()
    assert list(manual.names) == sorted(set(manual.names)) and len(set(manual.texts)) > 60
    assert sum(map(len, manual.texts)) > 400_000


def test_the_sources_of_python_are_its_modules_without_tests_and_without_the_manual():
    sources = text.python_sources()
    assert list(sources.names) == sorted(set(sources.names)) and "json/decoder.py" in sources.names
    assert not [
        name for name in sources.names if {"test", "tests", "site-packages", "pydoc_data"} & set(name.split("/"))
    ]
    assert "class JSONDecoder" in sources.texts[sources.names.index("json/decoder.py")]


@pytest.mark.fault("missing data")
def test_a_python_without_sources_is_refused_with_its_folder_and_files_that_are_no_text_are_left_out(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    for name, content in (("empty.py", b" "), ("latin.py", b"# caf\xe9"), ("test/a.py", b"a = 1"), ("b.pyc", b"b = 1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"^{tmp_path}: holds no sources"):
        text.python_sources()
    (tmp_path / "c.py").write_text("c = 'é'", encoding="utf-8")
    assert text.python_sources() == text.Documents(("c.py",), ("c = 'é'",))


def test_a_text_whose_long_lines_mostly_stand_in_a_text_before_it_is_left_out():
    lines = [f"a long line with number {number}" for number in range(6)]
    first, half, most = (
        "\n".join(part) for part in (lines[:4], [lines[0], lines[4]], [f"  {lines[1]} ", lines[2], lines[5]])
    )
    documents = text.Documents(tuple("abcd"), (first, half, most, "short\nshort"))
    assert text.without_copies(documents).names == ("a", "b", "d")
    assert text.without_copies(documents, 0.7).names == ("a", "b", "c", "d")
    assert text.without_copies(documents, 0.0).names == ("a", "d")
    assert text.without_copies(text.Documents((), ())) == text.Documents((), ())
    with pytest.raises(ValueError, match="share"):
        text.without_copies(documents, 1.5)


def test_a_folder_is_read_in_the_order_of_names_whatever_order_the_files_were_written_in(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.txt", "b/c.md", "a.rst"):
        (tmp_path / name).write_text(f"text of {name}é", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert text.read(tmp_path) == text.Documents(
        ("a.rst", "b/c.md", "z.txt"), ("text of a.rsté", "text of b/c.mdé", "text of z.txté")
    )
    assert text.read(tmp_path / "z.txt") == text.Documents(("z.txt",), ("text of z.txté",))


def test_a_split_leaves_out_whole_documents_keeps_copies_on_one_side_and_forgets_the_order():
    documents = text.Documents(
        tuple("abcdefghij"), tuple(f"text {'same' if name in 'cd' else name}" for name in "abcdefghij")
    )
    trained, out = text.split(documents, 0.3, seed=1)
    assert sorted(trained.names + out.names) == list(documents.names) and 2 <= len(out.names) <= 3
    assert not set(trained.texts) & set(out.texts)
    backwards = text.Documents(documents.names[::-1], documents.texts[::-1])
    assert text.split(backwards, 0.3, seed=1) == (trained, out) and text.split(documents, 0.3, seed=2) != (trained, out)
    with pytest.raises(ValueError, match=r"held_out = 0.01 of 10 documents leaves one side empty"):
        text.split(documents, 0.01, seed=1)


def test_rows_are_the_documents_in_one_line_with_an_end_behind_each():
    documents = [np.array([1, 2, 3]), np.array([4]), np.array([5, 6])]
    np.testing.assert_array_equal(text.rows(documents, 4, 0), [[1, 2, 3, 0], [4, 0, 5, 6]])
    assert text.rows(documents, 3, 0).shape == (3, 3) and text.rows(documents, 3, 0).dtype == np.int32
    for length, message in ((1, "length = 1"), (10, "9 tokens are less than one row of length = 10")):
        with pytest.raises(ValueError, match=message):
            text.rows(documents, length, 0)


@table(
    "name, content, message",
    [
        ("a.txt", b"caf\xe9", "a.txt: is no UTF-8 at byte 3"),
        ("a.txt", b" \n", "a.txt: holds no text"),
        ("a.png", b"x", "holds no text; files named .txt, .md, .rst are read"),
    ],
)
def test_what_is_no_text_is_refused_with_the_path_first(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        text.read(tmp_path)
    with pytest.raises(DataError, match="nothing: no such file or folder"):
        text.read(tmp_path / "nothing")
