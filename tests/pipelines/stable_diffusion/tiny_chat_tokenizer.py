"""A tiny tokenizer as Qwen's: bytes, few merges, special tokens, and a chat template."""

import json
import string

import tokenizers

LETTERS = string.ascii_lowercase + string.digits + "!.,:()-'<>/"
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = (("c", "a"), ("ca", "t"), ("Ġ", "d"), ("Ġd", "o"))
VOCABULARY = {
    piece: number
    for number, piece in enumerate((*LETTERS, "Ċ", "Ġ", "ĊĊ", *("".join(pair) for pair in MERGES), *SPECIAL))
}
TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
"""The part of Qwen 3's that writes one message."""
SETTINGS = {
    "model_max_length": 40,
    "tokenizer_class": "Qwen2Tokenizer",
    "bos_token": None,
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "unk_token": None,
    "add_prefix_space": False,
    "chat_template": TEMPLATE,
}
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def write(folder, settings=SETTINGS):
    """Write tokenizer.json and tokenizer_config.json."""
    library = tokenizers.Tokenizer(tokenizers.models.BPE(VOCABULARY, list(MERGES)))
    library.normalizer, library.decoder = tokenizers.normalizers.NFC(), tokenizers.decoders.ByteLevel()
    steps = (
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    )
    library.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(list(steps))
    library.add_special_tokens(list(SPECIAL))
    library.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
