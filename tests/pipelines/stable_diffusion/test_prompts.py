"""Prompts as arrays: rows begin, end and are filled up as the tokenizer says, and nothing of a text is lost in
silence.
"""

import numpy as np
import pytest

from gendiff.data import chat_row_tokenizer, clip_tokenizer
from gendiff.data.texts.tokenizer import TruncationWarning
from gendiff.pipelines.stable_diffusion import aligned, encode, repeated
from tests.pipelines.stable_diffusion import tiny_chat_tokenizer, tiny_folders
from tests.pipelines.stable_diffusion.tiny_folders import LENGTH, SIZE, VOCABULARY, write_tokenizer
from tests.refusals import refusals

START, END = SIZE - 2, SIZE - 1
CAT, DOG, RED = (VOCABULARY[f"{word}</w>"] for word in ("cat", "dog", "red"))


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Of two towers, of which the second one is filled up by another token."""
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    settings = (tiny_folders.TOKENIZER, tiny_folders.TOKENIZER | {"pad_token": "!"})
    return tuple(
        clip_tokenizer.load(write_tokenizer(tmp_path_factory.mktemp("tokenizer"), config)) for config in settings
    )


def test_a_short_text_is_one_row_for_each_tower_with_its_own_padding(tokenizers):
    prompt = encode(tokenizers, ["red cat", ""])
    assert prompt.rows == 1 and prompt.ids[0].shape == (2, 1, LENGTH)
    assert prompt.ids[0][0, 0].tolist() == [START, RED, CAT] + [END] * (LENGTH - 3)
    assert prompt.ids[1][0, 0].tolist() == [START, RED, CAT, END] + [VOCABULARY["!"]] * (LENGTH - 4)
    assert prompt.ids[0][1, 0].tolist() == [START] + [END] * (LENGTH - 1)
    assert np.array_equal(prompt.empty[1][0], prompt.ids[1][1, 0])
    assert not prompt.blank.any() and all((weights == 1).all() for weights in prompt.weights)


def test_a_long_text_goes_on_in_further_rows_with_every_token_in_its_order(tokenizers):
    words = ["cat", "dog", "red"] * 5
    prompt = encode(tokenizers[:1], [" ".join(words), "cat"])
    assert prompt.rows == 3  # 15 tokens, 7 in a row
    tokens = [number for row in prompt.ids[0][0] for number in row if number not in (START, END)]
    assert tokens == [VOCABULARY[f"{word}</w>"] for word in words]
    assert (prompt.ids[0][0][:, 0] == START).all() and (prompt.ids[0][:, :, -1] == END).all()
    assert prompt.ids[0][1, 1].tolist() == prompt.empty[0][0].tolist()


def test_weights_stand_at_the_tokens_of_their_words_also_in_further_rows(tokenizers):
    prompt = encode(tokenizers[:1], ["dog dog dog dog dog (red cat cat:0.5) dog"])
    assert prompt.weights[0][0, 0].tolist() == [1] * 6 + [0.5, 0.5] + [1]
    assert prompt.weights[0][0, 1].tolist() == [1, 0.5] + [1] * (LENGTH - 2)
    plain = encode(tokenizers[:1], ["(red:0.5)"], weighted=False)
    assert (plain.weights[0] == 1).all() and (plain.ids[0] == VOCABULARY["(</w>"]).any()


def test_aligned_prompts_have_rows_of_the_empty_text_behind_their_own(tokenizers):
    long, short = encode(tokenizers, ["cat " * 10]), encode(tokenizers, ["dog"], zeros_for_empty=True)
    first, second = aligned(long, short)
    assert first.rows == second.rows == 2 and np.array_equal(first.ids[0], long.ids[0])
    assert np.array_equal(second.ids[1][:, 0], short.ids[1][:, 0]) and np.array_equal(
        second.ids[1][:, 1], short.empty[1]
    )
    assert (second.weights[0][:, 1] == 1).all()


def test_rows_may_end_behind_the_longest_text_and_are_filled_up_beside_longer_ones(tmp_path):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    tiny_chat_tokenizer.write(tmp_path, tiny_chat_tokenizer.SETTINGS | {"model_max_length": 100})
    tokenizer = chat_row_tokenizer.load(tmp_path, 100, "a", "!")
    short, long = (encode([tokenizer], ["cat", text], padded=False) for text in ("", "c" * 31))
    full = encode([tokenizer], ["cat", "c" * 31])
    assert [each.ids[0].shape for each in (short, long, full)] == [(2, 1, 32), (2, 1, 64), (2, 1, 100)]
    assert encode([tokenizer], ["c" * 90], padded=False).ids[0].shape == (1, 1, 100)
    for each in (short, long):
        end = each.ids[0].shape[-1]
        assert np.array_equal(each.ids[0][0], full.ids[0][0, :, :end]) and each.weights[0].shape == each.ids[0].shape
        assert np.array_equal(each.empty[0], full.empty[0][:, :end])
    filled, same = aligned(short, long)
    assert filled.ids[0].shape == same.ids[0].shape == filled.weights[0].shape == (2, 1, 64)
    assert (filled.ids[0][..., 32:] < 0).all() and (filled.empty[0][:, 32:] < 0).all()
    assert np.array_equal(filled.ids[0][..., :32], short.ids[0]) and np.array_equal(same.ids[0], long.ids[0])


def test_zeros_take_the_place_of_empty_texts_only_where_asked_for(tokenizers):
    assert encode(tokenizers, ["", "cat", " "], zeros_for_empty=True).blank.tolist() == [True, False, True]


def test_each_text_is_repeated_in_a_row(tokenizers):
    prompt = encode(tokenizers, ["cat", "dog"])
    twice = repeated(prompt, 2)
    assert [row[0, 1] for row in twice.ids[0]] == [CAT, CAT, DOG, DOG] and twice.blank.shape == (4,)
    assert np.array_equal(twice.empty[0], prompt.empty[0])


def test_the_end_of_a_long_text_is_left_out_only_with_a_warning_that_shows_it(tokenizers):
    with pytest.warns(TruncationWarning, match=r"8 tokens and 7 are read: 'red' does not fit and is left out"):
        prompt = encode(tokenizers[:1], ["cat cat cat cat cat cat cat red"], too_long="warn")
    assert prompt.rows == 1


@pytest.fixture
def one(tokenizers):
    return tokenizers[:1]


def test_a_long_text_is_refused_where_that_is_asked_for(one):
    with pytest.raises(ValueError, match="'red' does not fit; shorten it"):
        encode(one, ["cat cat cat cat cat cat cat red"], too_long="error")


test_mistakes_are_refused = refusals(
    (lambda: encode((), ["cat"]), "0 tokenizers"),
    (lambda: encode((), "cat"), "must be a list of texts, got str", TypeError),
    (lambda: encode((), ["cat"], too_long="cut"), "too_long = 'cut' is none of chunks, warn, error"),
)
