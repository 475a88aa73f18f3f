"""What the experiments ask a language model."""

import jax

from experiments.framework import devices
from experiments.language import models
from gendiff.pipelines import chat as pipeline
from tests.quickly import quickly


def test_questions_that_are_asked_at_once_are_answered_as_alone(monkeypatch):
    monkeypatch.setattr(pipeline, "_generate", quickly(pipeline._run, static_argnames=("most", "on_token")))
    chat = models.tiny()
    asked = ["a", "How many?", "a longer question than the others"]
    key, options = jax.random.key(0), {"max_tokens": 6}
    alone = [chat.answer(key, [{"role": "user", "content": text}], **options) for text in asked]
    begun = [chat.complete(key, text, **options).text for text in asked]
    with devices.compiled_quickly():
        assert models.answers(chat, asked, 6) == [(reply.text, reply.finished) for reply in alone]
        assert [answer.text for answer in models.answers(chat, asked, 6, template=False)] == begun
    assert len({reply.text for reply in alone}) > 1
