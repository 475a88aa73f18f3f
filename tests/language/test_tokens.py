"""Texts as ids of byte-level BPE and back, by a small vocabulary that is learnt here."""

import functools
import itertools
import json

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from gendiff.core.errors import ConfigError, DataError
from gendiff.language import tokens
from tests.refusals import refusals
from tests.tables import table

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra [language]")

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CORPUS = [
    "the capital of France is Paris, in 1998 as in 2024",
    "naïve café, Zażółć gęślą jaźń 東京",
    "    indented\n\n\ttext it's we're",
] * 3
WRITTEN = "It's the café of 2024\n\n  in 東京 🫠 <|im_end|>!"


@functools.cache
def learnt():
    """A library with the splits of SmolLM."""
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    pre = tokenizers.pre_tokenizers
    library.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    library.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(SPECIAL), initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    library.train_from_iterator(CORPUS, trainer)
    return library


@functools.cache
def stored():
    return json.loads(learnt().to_str())


def metadata(**changes):
    """The same as a GGUF file has it."""
    vocabulary = stored()["model"]["vocab"]
    fields = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": list(vocabulary),
        "token_type": np.array([3 if token in SPECIAL else 1 for token in vocabulary]),
        "merges": [" ".join(pair) for pair in stored()["model"]["merges"]],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "add_bos_token": False,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in (fields | changes).items() if value is not None}


@functools.cache
def tokenizer():
    return tokens.from_gguf(metadata())


@functools.cache
def of_characters():
    """A library as Gemma has it: "▁" for a space, and tokens of bytes for what is not in the vocabulary."""
    library = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    library.normalizer, library.decoder = (
        tokenizers.normalizers.Replace(" ", tokens.SPACE),
        tokenizers.decoders.Sequence([tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()]),
    )
    special = ["<unk>", "<bos>", "<end_of_turn>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False)
    library.train_from_iterator(CORPUS[:1], trainer)
    stored = json.loads(library.to_str())
    stored["added_tokens"] = stored["added_tokens"][:3]
    return tokenizers.Tokenizer.from_str(json.dumps(stored))


def sentence_piece(**changes):
    """The same as a GGUF file has it: a score for each token in place of merges."""
    stored = json.loads(of_characters().to_str())
    names = list(stored["model"]["vocab"])
    rank = {"".join(pair): number for number, pair in enumerate(stored["model"]["merges"])}
    fields = {
        "model": "llama",
        "tokens": names,
        "scores": np.array([-float(rank.get(name, 1000)) for name in names], np.float32),
        "token_type": np.array([2, 3, 3, *[6] * 256, *[1] * (len(names) - 259)]),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "add_space_prefix": False,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in (fields | changes).items() if value is not None}


PLAIN = tokens.plain()


def without(letter):
    """Metadata whose vocabulary misses one byte."""
    names = [token for token in metadata()["tokenizer.ggml.tokens"] if token != letter]
    return metadata(tokens=names, token_type=None, merges=[])


def test_ids_are_those_of_the_library():
    expected = learnt().encode(WRITTEN, add_special_tokens=False).ids
    ids = tokenizer().encode(WRITTEN, special=True)
    assert ids.tolist() == expected and ids.dtype == np.int32 and tokenizer().end == 2 == ids[-2]


def test_special_tokens_are_letters_unless_they_are_asked_for():
    plain, special = tokenizer().encode("a<|im_end|>"), tokenizer().encode("a<|im_end|>", special=True)
    assert special.tolist() == [tokenizer().encode("a")[0], 2] and 2 not in plain and len(plain) > 4
    assert tokenizer().decode(plain) == "a<|im_end|>" == tokenizer().decode(special, special=True)
    assert tokenizer().decode(special) == "a"


def test_digits_stand_alone():
    pieces = [tokenizer().pieces[number] for number in tokenizer().encode("of 1998 of")]
    assert b"".join(pieces) == b"of 1998 of" and [piece for piece in pieces if piece[-1:].isdigit()] == [
        b"1",
        b"9",
        b"9",
        b"8",
    ]
    merged = tokens.from_gguf(
        metadata(pre="gpt-2", tokens=[*metadata()["tokenizer.ggml.tokens"], "19"], token_type=None, merges=["1 9"])
    )
    split = tokens.from_gguf(
        metadata(tokens=[*metadata()["tokenizer.ggml.tokens"], "19"], token_type=None, merges=["1 9"])
    )
    assert len(merged.encode("1998")) == 3 and len(split.encode("1998")) == 4


@hypothesis.given(strategies.text())
def test_every_text_returns(text):
    for each in (tokenizer(), PLAIN):
        assert each.decode(each.encode(text)) == text


@hypothesis.given(strategies.lists(strategies.integers(0, 319), max_size=30))
def test_a_text_that_comes_token_by_token_is_of_whole_characters_and_the_same(ids):
    pieces = list(tokenizer().stream(ids))
    raw = b"".join(tokenizer().pieces[number] for number in ids)
    assert "".join(pieces) == tokenizer().decode(ids)
    if not set(ids) & {0, 1, 2}:
        assert "".join(pieces) == raw.decode(errors="replace") == learnt().decode(ids)


def joined(text, scores):
    """The pieces of a text, of which the two neighbours that give the highest score are joined first."""
    pieces = list(text)
    while pairs := [(scores[a + b], -at) for at, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in scores]:
        at = -max(pairs)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces


def test_characters_are_joined_and_others_are_bytes(tmp_path):
    (tmp_path / "tokenizer.json").write_text(of_characters().to_str())
    ours, file = tokens.load(tmp_path), tokens.from_gguf(sentence_piece())
    names = sentence_piece()["tokenizer.ggml.tokens"]
    scores = dict(zip(names, sentence_piece()["tokenizer.ggml.scores"], strict=True))
    for text in (*CORPUS[:3], WRITTEN, "a  b\nc 🫠"):
        assert ours.encode(text).tolist() == of_characters().encode(text, add_special_tokens=False).ids
        pieces = joined(text.replace(" ", tokens.SPACE), scores)
        expected = [[piece] if piece in scores else [f"<0x{byte:02X}>" for byte in piece.encode()] for piece in pieces]
        assert file.encode(text).tolist() == [names.index(name) for part in expected for name in part]
        assert ours.decode(ours.encode(text)) == text == file.decode(file.encode(text))
    assert len(ours.encode("the capital of France")) < 12 and ours.unwritable == frozenset()
    assert ours.pieces[3 + 0x41] == b"A" and file.pieces == ours.pieces
    assert (file.begin, file.end, file.prompt("a", 8)[0]) == (1, 2, 1)
    first = tokens.from_gguf(sentence_piece(add_space_prefix=None))
    assert first.decode(first.encode("the")) == " the"


def test_letters_and_digits_are_split_as_llama_3_and_qwen_do():
    for split, expected in (("llama-bpe", [b"199", b"8"]), ("qwen2", [b"1", b"9", b"9", b"8"])):
        names = [*metadata()["tokenizer.ggml.tokens"], "19", "199", "1998"]
        merges = [*metadata()["tokenizer.ggml.merges"], "1 9", "19 9", "199 8"]
        ours = tokens.from_gguf(metadata(pre=split, tokens=names, token_type=None, merges=merges))
        pieces = [ours.pieces[number] for number in ours.encode("it's of 1998!")]
        assert b"".join(pieces) == b"it's of 1998!" and [piece for piece in pieces if piece.isdigit()] == expected
    assert tokens.from_gguf(metadata(pre="llama-bpe", add_bos_token=None)).begin == 1


def test_half_a_character_waits_for_its_other_half_and_no_longer():
    plain = PLAIN
    assert list(plain.stream(plain.encode("é€🫠a"))) == ["é", "€", "🫠", "a"]
    assert list(plain.stream([0xC3])) == ["\ufffd"] and list(plain.stream([0xC3, 256, 0xA9])) == ["\ufffd", "\ufffd"]
    assert list(plain.stream([0xE2, 0x82, ord("a")])) == ["\ufffda"]


def test_pieces_come_as_soon_as_they_can():
    reads = []

    def ids():
        for number in PLAIN.encode("ab€"):
            reads.append(number)
            yield number

    stream = PLAIN.stream(ids())
    assert next(stream) == "a" and len(reads) == 1 and next(stream) == "b" and len(reads) == 2 and next(stream) == "€"


def test_plain_bytes_are_their_own_ids():
    plain = tokens.plain()
    assert plain.encode("é\n").tolist() == [0xC3, 0xA9, 10] and (plain.size, plain.end) == (257, 256)
    assert plain.encode("<|endoftext|>", special=True).tolist() == [256] and len(plain.encode("<|endoftext|>")) == 13


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(stored()))
    return path


def test_a_tokenizer_json_is_read_with_the_tokens_that_its_configuration_names(file):
    ours = tokens.load(file)
    assert ours.encode(WRITTEN).tolist() == tokenizer().encode(WRITTEN).tolist() and (ours.begin, ours.end) == (
        None,
        None,
    )
    config = {"add_bos_token": True, "bos_token": {"content": "<|im_start|>"}, "eos_token": "<|im_end|>"}
    file.with_name("tokenizer_config.json").write_text(json.dumps(config))
    assert (tokens.load(file.parent).begin, tokens.load(file.parent).end) == (1, 2)


def test_a_token_that_the_library_itself_puts_first_begins_texts(file):
    first = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    }
    first |= {
        "pair": first["single"],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}},
    }
    file.write_text(json.dumps(stored() | {"post_processor": first}))
    file.with_name("tokenizer_config.json").write_text(json.dumps({"bos_token": "<|im_start|>"}))
    ours = tokens.load(file)
    assert (
        ours.begin == 1
        and ours.prompt("a", 8).tolist()
        == [1, *ours.encode("a")]
        == ours.prompt("<|im_start|>a", 8, special=True).tolist()
    )


HOSTILE_PATTERNS = ("(a+)+$", "(x+x+)+y", "(" * 9999 + ")" * 9999)


def with_pattern(pattern):
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return stored() | {"pre_tokenizer": split}


LARGE_IDS = (2**22, 2**31)


def with_id(number):
    content = stored()
    return content | {"model": content["model"] | {"vocab": content["model"]["vocab"] | {"a": number}}}


@pytest.mark.fault(
    "language models: a tokenizer whose patterns never end, or need more than memory",
    "language models: a tokenizer with an id for which no memory is enough",
)
@table(
    "content, message",
    [
        ("{", "not JSON"),
        ("[]", "one JSON object"),
        (json.dumps({"model": {"type": "WordPiece"}}), "not a tokenizer.json of byte-level BPE"),
        (
            json.dumps({"model": {"type": "BPE"}, "decoder": {"type": "ByteFallback"}}),
            "not a tokenizer.json of byte-level BPE",
        ),
        (
            json.dumps({"model": {"type": "BPE", "vocab": 3}, "decoder": {"type": "ByteLevel"}}),
            "that this version of tokenizers reads",
        ),
        *((json.dumps(with_pattern(pattern)), "a pattern of this tokenizer.json") for pattern in HOSTILE_PATTERNS),
        *((json.dumps(with_id(number)), f"the vocabulary has the id {number}, and ids below") for number in LARGE_IDS),
        (None, "no such file"),
    ],
)
def test_what_is_no_tokenizer_is_refused_by_its_path(tmp_path, content, message):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        tokens.load(path)


test_metadata_without_a_tokenizer_of_a_known_kind_are_refused = refusals(
    (lambda: tokens.from_gguf({}), "tokenizer.ggml.model = None", ConfigError),
    (lambda: tokens.from_gguf(metadata(pre="deepseek")), "pre = 'deepseek' is not known", ConfigError),
    (lambda: tokens.from_gguf(metadata(tokens=["a", "a"])), "no token may come twice", ConfigError),
    (lambda: tokens.from_gguf(metadata(token_type=np.ones(3))), r"token_type has shape \(3,\)", ConfigError),
    (lambda: tokens.from_gguf(metadata(merges=["x y z w"])), "merges do not fit", ConfigError),
    (lambda: tokens.from_gguf(sentence_piece(scores=None)), r"scores has shape \(0,\): one for each of", ConfigError),
    (lambda: tokens.from_gguf(metadata(eos_token_id=10_000)), "eos_token_id = 10000 is none of 0 … 319", ConfigError),
)
test_unknown_tokens_are_refused = pytest.mark.fault("language models: a token that the vocabulary does not have")(
    refusals(
        (
            lambda: tokens.from_gguf(without("q")).encode("no aquatic"),
            "holds 'q' at position 4, for which the vocabulary has no token",
        ),
        (lambda: tokenizer().decode([3, 320]), "ids holds 320, which is none of 0 … 319"),
        (lambda: tokenizer().decode([-1]), "ids holds -1"),
        (lambda: tokenizer().encode("\ud800"), "half of a character at position 0"),
        (lambda: tokenizer().encode(b"a"), "text must be a str, got bytes", TypeError),
    )
)
test_a_prompt_that_does_not_fit_is_refused = pytest.mark.fault("language models: a prompt longer than the context")(
    refusals(
        (lambda: PLAIN.prompt("abcd", 4), "the prompt has 4 tokens, which leave no room for an answer.* reads 4"),
        (lambda: PLAIN.prompt("", 4), "the prompt has 0 tokens, which are nothing to go on with"),
    )
)
test_another_vocabulary_is_refused = pytest.mark.fault(
    "language models: a tokenizer that does not match the vocabulary"
)(
    refusals(
        (lambda: PLAIN.check_vocabulary(256), "has 257 ids and the network 256"),
        (lambda: PLAIN.check_vocabulary(264), "has 257 ids and the network 264.*padded=True"),
        (lambda: PLAIN.check_vocabulary(256, padded=True), "belong together$"),
    )
)


def test_a_network_may_have_more_ids_where_it_is_said():
    PLAIN.check_vocabulary(257)
    PLAIN.check_vocabulary(264, padded=True)
