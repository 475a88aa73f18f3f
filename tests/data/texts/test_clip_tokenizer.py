"""The tokenizer of CLIP from the files of a folder: pieces as its merges say, rows with beginning, end and padding."""

import json

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.data import clip_tokenizer
from tests.tables import table

pytest.importorskip("tokenizers", reason="needs the extra [text]")

START, END = clip_tokenizer.START, clip_tokenizer.END
PIECES = ["!", *"abcdt", *(f"{letter}</w>" for letter in "abcdt!1"), "ca", "cat</w>", START, END]
IDS = {piece: number for number, piece in enumerate(PIECES)}
SETTINGS = {"model_max_length": 7, "tokenizer_class": "CLIPTokenizer", "pad_token": "!", "do_lower_case": True}


def write(folder, settings=SETTINGS, merges=("c a", "ca t</w>"), **files):
    (folder / "vocab.json").write_text(json.dumps(IDS))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def tokenizer(tmp_path):
    return clip_tokenizer.load(write(tmp_path))


@table(
    "text, pieces",
    [
        ("", []),
        ("cat", ["cat</w>"]),
        ("  CAT\n\tCat ", ["cat</w>", "cat</w>"]),
        ("cab", ["ca", "b</w>"]),
        ("cat!", ["cat</w>", "!</w>"]),
        ("11", ["1</w>", "1</w>"]),
        (f"a{END}a", ["a</w>", END, "a</w>"]),
        ("é", None),
    ],
)
def test_texts_become_pieces_as_the_merges_say(tokenizer, text, pieces):
    ids = tokenizer.ids(text)
    # the end stands for the unknown too
    assert set(ids) == {IDS[END]} if pieces is None else ids == [IDS[piece] for piece in pieces]


def test_a_row_begins_and_ends_and_is_filled_up(tokenizer):
    assert (
        tokenizer.row([3, 4]).tolist() == [IDS[START], 3, 4, IDS[END], 0, 0, 0] and tokenizer.row([]).dtype == np.int32
    )
    assert tokenizer.row([3] * tokenizer.room)[-1] == IDS[END]
    with pytest.raises(ValueError, match="6 ids do not fit into a row, which has room for 5"):
        tokenizer.row([3] * 6)
    assert tokenizer.size == len(PIECES) and tokenizer.text(tokenizer.ids("cat a")) == "cat a"


def test_the_word_of_the_padding_is_a_word_unless_it_is_read_as_transformers_does(tmp_path):
    ours, theirs = (clip_tokenizer.load(write(tmp_path), like_transformers=like) for like in (False, True))
    assert ours.ids("a!") == [IDS["a</w>"], IDS["!</w>"]] and theirs.ids("a!") == [IDS["a</w>"], IDS["!"]]


def test_older_files_name_the_padding_apart_and_newer_ones_in_one_place(tmp_path):
    settings = SETTINGS | {"pad_token": {"content": END}}
    older = clip_tokenizer.load(write(tmp_path, settings, special_tokens_map={"pad_token": "!"}))
    newer = clip_tokenizer.load(write(tmp_path, settings | {"added_tokens_decoder": {}}))
    assert older.padding == IDS["!"] and newer.padding == IDS[END]


def test_a_tokenizer_json_serves_as_well(tmp_path, tokenizer):
    (tmp_path / "vocab.json").unlink()
    tokenizer.library.save(str(tmp_path / "tokenizer.json"))
    assert clip_tokenizer.load(tmp_path).ids("cat a!") == tokenizer.ids("cat a!")


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table(
    "message, file, content",
    [
        ("tokenizer_config.json: no such file", "tokenizer_config.json", None),
        ("vocab.json and merges.txt, or tokenizer.json, are needed", "merges.txt", None),
        ("vocab.json: not JSON", "vocab.json", "{"),
        ("vocab.json: must give each piece its id", "vocab.json", '{"a": "b"}'),
        ("merges.txt: 'c a t' must be two pieces", "merges.txt", "c a t\n"),
        ("merges.txt: does not fit vocab.json", "merges.txt", "a b\n"),
        ("is no UTF-8 at byte 0", "merges.txt", b"\xff\xff"),
        ("own = 1 is a setting that is not known", "tokenizer_config.json", '{"own": 1}'),
        ("do_lower_case = False is not supported", "tokenizer_config.json", '{"do_lower_case": false}'),
        ("tokenizer_class = 'T5Tokenizer'", "tokenizer_config.json", '{"tokenizer_class": "T5Tokenizer"}'),
        ("model_max_length = 2 is outside", "tokenizer_config.json", '{"model_max_length": 2}'),
        ("model_max_length must be an integer", "tokenizer_config.json", '{"model_max_length": "77"}'),
        ("pad_token = 'pad' is not in its vocabulary", "tokenizer_config.json", '{"pad_token": "pad"}'),
        ("unk_token = 3 must be a token", "tokenizer_config.json", '{"unk_token": 3}'),
    ],
)
def test_what_cannot_be_read_is_refused_path_first(tmp_path, message, file, content):
    folder = write(tmp_path)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        clip_tokenizer.load(folder)
    assert str(caught.value).startswith(str(folder))


@pytest.mark.usefixtures("unchecked")
@table(
    "text, message, error",
    [
        (3, "text must be a str, got int", TypeError),
        ("a" * 8193, "more than 8192", ValueError),
        ("\ud800", "half of a character", ValueError),
    ],
)
def test_texts_that_are_none_are_refused(tokenizer, text, message, error):
    with pytest.raises(error, match=message):
        tokenizer.ids(text)
