"""A program that writes without a network: the reply to a seed is a text of bytes, which says seed and index."""

import functools
import itertools
import math
import threading

from gendiff.commands.chat import models
from gendiff.commands.serve.reply_text import Score
from gendiff.commands.serve.text_requests import CHAT, TextRequest
from tests.commands.serve.fake_program import Clock

END = 256


@functools.cache
def chat_model():
    """Its tokenizer has a token for each byte, and END; its template writes each message in a line."""
    return models.tiny()


def reply(seed, index):
    """What the program writes."""
    return f"reply {index} of {seed}: ä€ and so on. " * (1 + seed % 3)


class FakeTokens:
    """A slot is a list of tokens, which holds the batcher's counts against its own.

    spoilt: seeds whose second token is no number. broken: seeds at which a step raises. open: cleared, steps wait.
    turns: how many texts each step had.
    """

    def __init__(self, together=2, pages=1024, page=4, chunk=4, spoilt=(), broken=(), guesses=0):
        self.together, self.pages, self.page, self.chunk = together, pages, page, chunk
        self.spoilt, self.broken, self.guesses, self.clock = spoilt, broken, guesses, Clock()
        self.open = threading.Event()
        self.open.set()
        self.turns = []
        self.reset()

    def reset(self):
        self.slots = [[] for _ in range(self.together)]

    def read(self, slot, tokens, length):
        assert len(self.slots[slot]) == length and 1 <= len(tokens) <= self.chunk
        self.slots[slot] += tokens.tolist()
        self._check_pages()

    def step(self, texts):
        assert self.open.wait(20)
        assert len({text.slot for text in texts}) == len(texts) <= self.together
        if any(text.seed in self.broken for text in texts):
            raise RuntimeError("no memory is left")
        self.clock.now += 2.0
        self.turns.append(len(texts))
        return [self._scores(text) for text in texts]

    def clear(self, slot):
        self.slots[slot] = []

    def _scores(self, text):
        slot = self.slots[text.slot]
        assert len(slot) == text.length, "the slot has another number of tokens"
        assert len(text.guesses) <= self.guesses
        slot += [text.token, *text.guesses]
        self._check_pages()
        script = [*reply(text.seed, text.index).encode(), END][text.number :]
        right = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text.guesses, script, strict=False))
        count = 1 + len(list(right))
        del slot[text.length + count :]
        top = tuple((token, -1.0 - token) for token in range(65, 65 + text.top))
        spoilt = text.seed in self.spoilt
        return [
            Score(token, math.nan if spoilt and number else -0.5 - number, top)
            for number, token in enumerate(script[:count], text.number)
        ]

    def _check_pages(self):
        assert sum(math.ceil(len(slot) / self.page) for slot in self.slots) <= self.pages


def text_request(seed=0, n=1, max_tokens=1000, **options):
    """A request as it is when its prompts are read."""
    return TextRequest(CHAT, n=n, max_tokens=max_tokens, seed=seed, **options)
