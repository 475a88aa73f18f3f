"""Texts as tokens, by small files of the two kinds there are: BERT's pieces of words, and CLIP's merged bytes."""

import atexit
import functools
import json
import shutil
import string
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.data import tokenizer
from tests.refusals import refusals
from tests.tables import table

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra [text]")

FOLDER = Path(tempfile.mkdtemp(prefix="gendiff-tokenizers-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "circle", "##s", "sun")
LETTERS = (*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase), "!</w>", "!")
START, END = "<|startoftext|>", "<|endoftext|>"


@functools.cache
def bert_file():
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(list(PIECES[:4]))
    tokenizer.enable_truncation(4)  # as the file of MiniLM has, which would cut in silence
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=128)
    path = FOLDER / "bert" / "tokenizer.json"
    path.parent.mkdir(exist_ok=True)
    tokenizer.save(str(path))
    return path


@functools.cache
def clip_file():
    vocabulary = {token: i for i, token in enumerate((*LETTERS, START, END))}
    model = tokenizers.models.BPE(
        vocabulary, [], unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    ends = (END, vocabulary[END]), (START, vocabulary[START])
    tokenizer.post_processor = tokenizers.processors.RobertaProcessing(
        *ends, trim_offsets=False, add_prefix_space=False
    )
    tokenizer.add_special_tokens([START, END])
    path = FOLDER / "clip.json"
    tokenizer.save(str(path))
    return path


def written(name, text):
    path = FOLDER / name
    path.write_text(text, encoding="utf-8")
    return path


def clip(length=8, **options):
    return tokenizer.load(clip_file(), length, **({"padding": END} | options))


def bert(length=8, **options):
    return tokenizer.load(bert_file().parent, length, **options)


def test_a_text_is_begun_ended_and_padded_to_one_length():
    tokens = bert()(["a red circle", "SUNS"])
    assert tokens.ids.tolist() == [[2, 4, 5, 6, 3, 0, 0, 0], [2, 8, 7, 3, 0, 0, 0, 0]]
    assert tokens.mask.sum(-1).tolist() == [5, 4] and tokens.mask[0, :5].all() and not tokens.truncated.any()
    assert (tokens.ids.dtype, tokens.mask.dtype) == (np.int32, np.bool_)


@table("padding", [END, "!"])
def test_clip_is_padded_by_the_token_that_was_chosen_and_the_mask_ends_with_the_text(padding):
    tokens = clip(padding=padding)(["cat"])
    fill = clip().library.token_to_id(padding)
    expected = [clip().library.token_to_id(token) for token in (START, "c", "a", "t</w>", END)]
    assert tokens.ids.tolist() == [[*expected, fill, fill, fill]]
    assert tokens.mask.tolist() == [[True] * 5 + [False] * 3]


def test_no_texts_are_no_rows():
    assert bert()([]).ids.shape == (0, 8)


def test_what_the_vocabulary_cannot_write_is_counted():
    assert bert()(["a zebra circle", "a red sun", "東京 sun"]).unknown.tolist() == [1, 0, 2]


@pytest.mark.fault("text: a prompt with more tokens than are read")
def test_a_text_that_just_fits_is_whole_and_one_token_more_is_an_error_that_shows_what_does_not_fit():
    assert not clip(8)(["catdog"]).truncated.any()
    with pytest.raises(
        ValueError,
        match=r"text 1 has 7 tokens and 6 are read \(length = 8\): 'h' does not fit; shorten.*too_long='warn'",
    ):
        clip(8)(["cat", "cat dogh"])


@pytest.mark.fault("text: a prompt with more tokens than are read")
def test_when_asked_the_end_is_left_out_with_a_warning_and_the_record_says_so():
    load = clip(6, too_long="warn")
    with pytest.warns(
        tokenizer.TruncationWarning, match=r"text 1 has 6 tokens and 4 are read .*: 'og' does not fit and is left out"
    ):
        tokens = load(["cat", "cat dog"])
    assert tokens.truncated.tolist() == [False, True]
    end = load.library.token_to_id(END)
    assert tokens.ids[1, -1] == end and tokens.mask[1].all()  # the text still ends
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not load(["cat"]).truncated.any()


def test_a_text_without_words_is_taken_for_guidance_alone():
    tokens = clip()(["", "cat"], allow_empty=True)
    assert tokens.mask.sum(-1).tolist() == [2, 5]


test_prompts_that_cannot_be_read_are_refused = refusals(
    (lambda: clip()(["cat", ""]), "text 1 is empty: ''.*allow_empty"),
    (lambda: clip()([" \n"]), "text 0 is empty"),
    (lambda: clip()(["cat " * 2500]), "text 0 has 10000 characters, more than 8192"),
    (lambda: clip(too_long="warn")(["a" * 10_000]), "text 0 has 10000 characters, more than 8192"),
    (lambda: clip()("cat"), r"must be a list of texts, got str: write \[text\]", TypeError),
    (lambda: clip()(["cat", 3]), "must be a list of texts", TypeError),
    (lambda: clip()(["cat \ud83d"]), "text 0 holds a half of a character at position 4"),
)
test_prompts_that_cannot_be_read_are_refused = pytest.mark.fault(
    "text: an empty prompt", "text: a prompt of 10,000 characters"
)(test_prompts_that_cannot_be_read_are_refused)

test_options_that_do_not_fit_the_file_are_refused = refusals(
    (lambda: clip(2), r"length = 2 is outside \[3, …\]"),
    (lambda: clip(padding=None), r"padding = None, and .*clip.json names no token.*<\|endoftext\|>"),
    (lambda: clip(padding="[PAD]"), r"padding = '\[PAD\]' is no token of .*clip.json"),
    (lambda: clip(too_long="cut"), "too_long = 'cut' is none of error, warn"),
)

test_wrong_files_are_refused_by_path = refusals(
    *(
        (functools.partial(lambda make: tokenizer.load(make(), 8), make), message, DataError)
        for make, message in (
            (lambda: FOLDER / "absent.json", "absent.json: no such file; a tokenizer.json is needed"),
            (lambda: FOLDER, "tokenizer.json: no such file"),
            (lambda: written("vocab.txt", "[PAD]\n[UNK]"), "vocab.txt: not JSON"),
            (
                lambda: written("config.json", json.dumps({"vocab_size": 3})),
                "config.json: not a tokenizer.json: it has no model",
            ),
            (lambda: written("cut.json", clip_file().read_text()[:200]), "cut.json: not JSON"),
            (
                lambda: written("kind.json", json.dumps({"model": {"type": "Other"}})),
                "kind.json: .* this version of tokenizers",
            ),
        )
    )
)
test_wrong_files_are_refused_by_path = pytest.mark.fault("text: a missing or wrong tokenizer file")(
    test_wrong_files_are_refused_by_path
)


def test_without_the_package_the_extra_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"texts as tokens need tokenizers: install this project's extra \[text\]"):
        clip()
