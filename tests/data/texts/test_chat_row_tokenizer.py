"""Rows of a prompt within a message: what begins and ends them, padding that no token sees, and what is refused."""

import json

import pytest

from gendiff.core.errors import DataError
from gendiff.data import chat_row_tokenizer
from tests.tables import table

pytest.importorskip("tokenizers", reason="needs the extra [text]")

from tests.pipelines.stable_diffusion import tiny_chat_tokenizer  # noqa: E402

VOCABULARY = tiny_chat_tokenizer.VOCABULARY
BEFORE, AFTER = "<|im_start|>a\n", "<|im_end|>\n"


def write(folder, **settings):
    tiny_chat_tokenizer.write(folder, tiny_chat_tokenizer.SETTINGS | settings)
    return folder


def test_a_row_is_a_text_within_its_message_and_padding_is_below_0(tmp_path):
    tokenizer = chat_row_tokenizer.load(write(tmp_path, model_max_length=131072), 10, BEFORE, AFTER)
    start, end, a, cat, newline = (VOCABULARY[piece] for piece in ("<|im_start|>", "<|im_end|>", "a", "cat", "Ċ"))
    assert (tokenizer.length, tokenizer.room, tokenizer.end) == (10, 5, end)
    padding = -1 - VOCABULARY["<|endoftext|>"]
    assert tokenizer.row(tokenizer.ids("cat")).tolist() == [start, a, newline, cat, end, newline, *[padding] * 4]
    assert tokenizer.text(tokenizer.ids("a cat dog.")) == "a cat dog."


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table(
    "settings, message",
    [
        ({"tokenizer_class": "CLIPTokenizer"}, "tokenizer_class = 'CLIPTokenizer' is not supported"),
        ({"add_bos_token": True}, "add_bos_token = True is not supported"),
        ({"auto_map": "own"}, "auto_map = 'own' is a setting that is not known"),
        ({"pad_token": "<none>"}, "pad_token = '<none>' is not in its vocabulary"),
        ({"model_max_length": 5}, "a row of 5 tokens has no room for a prompt"),
    ],
)
def test_what_cannot_be_followed_is_refused_path_first(tmp_path, settings, message):
    with pytest.raises(DataError, match=message) as caught:
        chat_row_tokenizer.load(write(tmp_path, **settings), 10, BEFORE, AFTER)
    assert str(caught.value).startswith(str(tmp_path))
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"
