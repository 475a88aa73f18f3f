"""The tokenizer of T5: pieces of words with the best score, rows that end once, and settings that can be followed."""

import json

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.data import t5_tokenizer
from tests.tables import table

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra [text]")

SPECIAL = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
PIECES = [*SPECIAL, ("▁", -2.0), ("▁cat", -2.5), ("c", -2.0), ("a", -2.0), ("s", -1.0)]
SETTINGS = {"tokenizer_class": "T5TokenizerFast", "model_max_length": 8, "extra_ids": 100, "legacy": True}


def write(folder, **settings):
    library = tokenizers.Tokenizer(tokenizers.models.Unigram(PIECES, 2))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.WhitespaceSplit(), tokenizers.pre_tokenizers.Metaspace()]
    )
    library.decoder = tokenizers.decoders.Metaspace()
    library.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS | settings))
    return folder


def test_a_text_is_its_best_pieces_and_a_row_ends_once_behind_them(tmp_path):
    tokenizer = t5_tokenizer.load(write(tmp_path), 512)
    assert tokenizer.ids("  cats  a") == [4, 7, 3, 6] and tokenizer.text([4, 7, 3, 6]) == "cats a"
    assert (tokenizer.length, tokenizer.room, tokenizer.size, tokenizer.before) == (8, 7, 8, ())
    np.testing.assert_array_equal(tokenizer.row([4, 7]), [4, 7, 1, 0, 0, 0, 0, 0])
    assert t5_tokenizer.load(tmp_path, 5).row([4] * 4).tolist() == [4, 4, 4, 4, 1]


@table(
    "settings, message",
    [
        ({"tokenizer_class": "LlamaTokenizer"}, "tokenizer_class = 'LlamaTokenizer' is not supported"),
        ({"eos_token": "<end>"}, "eos_token = '<end>' is not in its vocabulary"),
        ({"auto_map": 1}, "auto_map = 1 is a setting that is not known"),
    ],
)
def test_a_setting_without_a_match_is_refused_by_name(tmp_path, settings, message):
    with pytest.raises(DataError, match=message):
        t5_tokenizer.load(write(tmp_path, **settings), 512)
