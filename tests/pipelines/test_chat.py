"""A conversation with a small network of bytes, whose weights are random."""

import dataclasses

import jax
import numpy as np
import pytest

from gendiff import language, networks, pipelines
from gendiff.core.errors import ConfigError
from gendiff.pipelines import chat as module
from tests.networks.rig import random_params
from tests.quickly import quickly
from tests.refusals import refusals

TOKENIZER = language.tokens.plain()
TEMPLATE = language.chat_template.from_text(
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
NETWORK = networks.LanguageModel(vocabulary=TOKENIZER.size, context=300, width=16, depth=1, heads=2)
PARAMS = random_params(NETWORK, np.zeros((1, 2), np.int32))
CHAT = pipelines.Chat(NETWORK, PARAMS, TOKENIZER, TEMPLATE)
KEY = jax.random.key(1)
USER = [{"role": "user", "content": "hello"}]
SEEN = []


def on_token(index, number, token):
    SEEN.append(int(token[0]))


# which is the program of what is streamed
DRAWN = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 12, "on_token": on_token}
generate = quickly(language.decoding.generate, static_argnames=("max_tokens", "chunk", "on_token"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_generate", generate)


def same(first, second):
    np.testing.assert_array_equal(first.tokens, second.tokens)
    np.testing.assert_allclose(first.log_probs, second.log_probs, atol=1e-4)
    assert first.text == second.text and first.finished == second.finished


def test_an_answer_is_what_the_written_messages_are_completed_to():
    answer = CHAT.answer(KEY, USER, **DRAWN)
    same(answer, CHAT.complete(KEY, "user: hello\nassistant: ", **DRAWN))
    assert answer.text == TOKENIZER.decode(answer.tokens) and 1 <= len(answer.tokens) <= 12
    assert not np.array_equal(answer.tokens, CHAT.answer(KEY, USER, index=1, **DRAWN).tokens)
    assert not np.array_equal(answer.tokens, CHAT.answer(jax.random.key(2), USER, **DRAWN).tokens)


def test_a_memory_spares_reading_and_changes_nothing_whatever_it_was_about():
    first = CHAT.answer(KEY, USER, **DRAWN)
    assert first.memory.cache.length[0] == len(first.memory.tokens)
    longer = [*USER, {"role": "assistant", "content": "so"}, {"role": "user", "content": "and?"}]
    fresh = CHAT.answer(KEY, longer, **DRAWN)
    after = CHAT.answer(KEY, longer, first.memory, **DRAWN)
    same(after, fresh)
    assert after.read < fresh.read and fresh.read == len(TEMPLATE(longer))
    # "regenerate": all of it is in the memory, and its last token is read again
    again = CHAT.answer(KEY, USER, first.memory, **DRAWN)
    same(again, first)
    assert len(again.tokens) and again.read == 1
    same(CHAT.answer(KEY, USER, again.memory, **DRAWN), first)
    other = CHAT.answer(KEY, [{"role": "user", "content": "other"}], first.memory, **DRAWN)
    same(other, CHAT.answer(KEY, [{"role": "user", "content": "other"}], **DRAWN))


@pytest.mark.slow
def test_a_memory_that_has_become_too_small_is_left_and_the_text_read_again():
    small = CHAT.complete(KEY, "a", max_tokens=2, on_token=on_token)
    roomy = dataclasses.replace(CHAT, network=NETWORK.clone(context=2000))
    grown = roomy.complete(KEY, "a" * 600, small.memory, max_tokens=2)
    same(grown, roomy.complete(KEY, "a" * 600, max_tokens=2))
    assert grown.read == 600 and grown.memory.cache.capacity > small.memory.cache.capacity


def test_the_end_of_a_text_ends_an_answer():
    rows = PARAMS["token"].at[TOKENIZER.end].multiply(1e3)
    eager = dataclasses.replace(CHAT, params=PARAMS | {"token": rows})
    replies = [eager.complete(jax.random.key(seed), "hello", **DRAWN | {"top_p": 1.0}) for seed in range(6)]
    ended = [reply for reply in replies if reply.finished]
    assert ended and all(reply.tokens[-1] == TOKENIZER.end and "end" not in reply.text for reply in ended)
    assert all(TOKENIZER.end not in reply.tokens[:-1] for reply in replies)


def test_settings_and_lengths_up_to_a_power_of_2_share_one_compile_and_tokens_stream():
    CHAT.complete(KEY, "a" * 17, max_tokens=12, on_token=on_token)
    compiled = generate._cache_size()
    for length, temperature in ((18, 0.5), (32, 1.0), (25, 0.0)):
        SEEN.clear()
        reply = CHAT.complete(
            jax.random.key(length), "b" * length, temperature=temperature, top_p=0.5, max_tokens=12, on_token=on_token
        )
        assert SEEN == reply.tokens.tolist()
    assert generate._cache_size() == compiled


test_what_does_not_fit_is_refused = refusals(
    (
        lambda: CHAT.complete(KEY, "a" * 290, max_tokens=11),
        "290 tokens to read and max_tokens = 11 are more than the 300",
    ),
    (lambda: CHAT.complete(KEY, "a" * 301), "leave no room for an answer"),
    (lambda: CHAT.complete(KEY, ""), "nothing to go on with"),
    (lambda: CHAT.complete(KEY, "a", max_tokens=0), "max_tokens = 0"),
    (lambda: CHAT.complete(KEY, "a", temperature=-1.0), "temperature = -1"),
    (lambda: dataclasses.replace(CHAT, template=None).answer(KEY, USER), "no chat template"),
    (lambda: pipelines.Chat(NETWORK.clone(vocabulary=100), PARAMS, TOKENIZER), "they do not belong together"),
    (lambda: CHAT.answer(KEY, "hello"), "must be a list of messages", TypeError),
    (lambda: CHAT.answer(KEY, [{"role": language.tokens.END_OF_TEXT, "content": "a"}]), "begins or ends a message"),
    (
        lambda: dataclasses.replace(CHAT, template=language.chat_template.from_text("{{ messages.__class__ }}")).answer(
            KEY, USER
        ),
        "__class__",
        ConfigError,
    ),
)
