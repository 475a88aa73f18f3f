"""A program that writes without a network: the reply to a seed is a text of bytes, which says seed and index."""

import math
import threading

from gendiff.commands.chat import models
from gendiff.commands.serve.reply_text import Score
from gendiff.commands.serve.text_requests import CHAT, TextRequest
from tests.commands.serve.fake_program import Clock

END = 256
CHAT_MODEL = models.tiny()
"""Its tokenizer has a token for each byte, and END; its template writes each message in a line."""


def reply(seed, index):
    """What the program writes."""
    return f"reply {index} of {seed}: ä€ and so on. " * (1 + seed % 3)


class FakeTokens:
    """A slot is a list of tokens, which holds the batcher's counts against its own.

    spoilt: seeds whose second token is no number. broken: seeds at which a step raises. open: cleared, steps wait.
    turns: how many texts each step had.
    """

    def __init__(self, together=2, pages=1024, page=4, chunk=4, spoilt=(), broken=()):
        self.together, self.pages, self.page, self.chunk = together, pages, page, chunk
        self.spoilt, self.broken, self.clock = spoilt, broken, Clock()
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
        return [self._score(text) for text in texts]

    def clear(self, slot):
        self.slots[slot] = []

    def _score(self, text):
        assert len(self.slots[text.slot]) == text.length, "the slot has another number of tokens"
        self.slots[text.slot].append(text.token)
        self._check_pages()
        script = [*reply(text.seed, text.index).encode(), END]
        log_prob = math.nan if text.seed in self.spoilt and text.number else -0.5 - text.number
        return Score(script[text.number], log_prob, tuple((token, -1.0 - token) for token in range(65, 65 + text.top)))

    def _check_pages(self):
        assert sum(math.ceil(len(slot) / self.page) for slot in self.slots) <= self.pages


def text_request(seed=0, n=1, max_tokens=1000, **options):
    """A request as it is when its prompts are read."""
    return TextRequest(CHAT, n=n, max_tokens=max_tokens, seed=seed, **options)
