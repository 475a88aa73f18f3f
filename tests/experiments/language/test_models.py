"""What the experiments ask a language model."""

import jax

from experiments.language import models


def test_questions_that_are_asked_at_once_are_answered_as_alone():
    chat = models.tiny()
    asked = ["a", "How many?", "a longer question than the others, to the same network"]
    alone = [chat.answer(jax.random.key(0), [{"role": "user", "content": text}], max_tokens=6).text for text in asked]
    assert models.answers(chat, asked, 6) == alone
    assert len(set(alone)) > 1
