"""A tiny tokenizer as T5's: pieces of words, each with a score."""

import json
import string

import tokenizers

LETTERS = string.ascii_lowercase + string.digits + "!.,:()-'"
PIECES = ("▁", "▁cat", "▁red", *(letter for letter in LETTERS), "▁a")
VOCABULARY = [
    *((piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")),
    *((piece, -len(piece) / 9 - 2) for piece in PIECES),
]
SETTINGS = {
    "model_max_length": 12,
    "tokenizer_class": "T5Tokenizer",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "extra_ids": 0,
    "legacy": True,
}


def write(folder, settings=SETTINGS):
    """Write tokenizer.json and tokenizer_config.json."""
    library = tokenizers.Tokenizer(tokenizers.models.Unigram(VOCABULARY, 2))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.WhitespaceSplit(), tokenizers.pre_tokenizers.Metaspace()]
    )
    library.add_special_tokens(["<pad>", "</s>", "<unk>"])
    library.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
