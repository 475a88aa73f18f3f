"""The compiled programs of a language model that is served: they read a chunk of a prompt, and draw a token of every
reply, in slots of one paged cache.

A reply is a function of model, prompt, seed, index and settings, to the last bit, whatever is written beside it: a
step always computes all slots, so that its program is the same for one reply as for many, and how much of the cache a
text reads follows from its own length alone. Texts with guesses have a step of their own, so that those without do not
notice.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff import language, networks
from gendiff.commands.chat import steps
from gendiff.commands.serve.reply_text import Score
from gendiff.commands.serve.text_batching import Newest
from gendiff.commands.serve.text_requests import CHAT, MOST_TOP
from gendiff.core import records
from gendiff.core.types import Numeric
from gendiff.language import decoding
from gendiff.language.cache import PagedCache
from gendiff.language.processors import Context
from gendiff.pipelines import Chat

PAGE = 16
"""Tokens of a page."""
NARROWEST, WIDER = 256, 4
"""Tokens that a step reads of each text at least, and how many times as many where a text is longer: each is a
program.
"""


Model = Callable[..., tuple[jax.Array, PagedCache]]
"""As `language.next_logits.Model`, with this cache."""


@records.record
class Texts:
    """What a step must know of the text in each slot (b,). tokens: (b, s) the newest and guesses of those to come,
    behind which −1 stands, and where the slot rests.
    """

    tokens: Numeric
    seed: Numeric
    index: Numeric
    number: Numeric
    temperature: Numeric
    top_p: Numeric


class Drawn(NamedTuple):
    """Tokens (b, s) of a step, with their log-probabilities in the model's own distribution. accepted: (b,) how many
    guesses were right, behind each of which a token counts.
    """

    accepted: jax.Array
    tokens: jax.Array
    log_probs: jax.Array


class TokenSteps:
    """A `text_batching.TokenProgram`.

    chat: the model. context: most tokens of a text. tokens: of all texts together, at least those of one. guesses: most
    of a text in a step.
    """

    page, chunk = PAGE, 64

    def __init__(self, chat: Chat, together: int, context: int, tokens: int, guesses: int = 0) -> None:
        self.together, self.pages, self.guesses = together, -(-tokens // PAGE), guesses
        self._network, self._capacity = chat.network, context
        self._dtype = chat.cache_dtype
        self._model = language.from_network(networks.pure(chat.network), jax.device_put(chat.params))
        self._widths = widths(context)
        options = {"static_argnames": "pages", "donate_argnums": 1}
        self._read, self._step = steps.jit(_read, **options), steps.jit(_step, **options)
        self._clear, self._likeliest = steps.jit(_cleared, donate_argnums=0), steps.jit(_likeliest)
        self.reset()

    def reset(self) -> None:
        """As `text_batching.TokenProgram`."""
        about = self._network, self.together, self._capacity, self._dtype
        empty = language.cache.paged(*about, pages=self.pages + 1, page=PAGE)
        self._cache = jax.tree.map(jnp.copy, empty)  # its layers share arrays, which no program may write

    def read(self, slot: int, tokens: np.ndarray, length: int) -> None:
        """As `text_batching.TokenProgram`."""
        padded = np.full((1, self.chunk), -1, np.int32)
        padded[0, : len(tokens)] = tokens
        pages = self._pages(length + len(tokens))
        self._cache = self._read(self._model, self._cache, np.int32(slot), padded, pages=pages)

    def step(self, texts: Sequence[Newest]) -> list[list[Score]]:
        """As `text_batching.TokenProgram`. Texts of like length share a call."""
        programs = [(self._pages(text.length + 1 + len(text.guesses)), bool(text.guesses)) for text in texts]
        scores: dict[int, list[Score]] = {}
        for program in sorted(set(programs)):
            group = [text for text, each in zip(texts, programs, strict=True) if each == program]
            scores |= zip((text.slot for text in group), self._drawn(group, *program), strict=True)
        return [scores[text.slot] for text in texts]

    def clear(self, slot: int) -> None:
        """As `text_batching.TokenProgram`."""
        self._cache = self._clear(self._cache, np.int32(slot))

    def warm(self) -> None:
        """Compile all programs, so that nobody waits for it later."""
        for width in self._widths:
            self.read(0, np.zeros(1, np.int32), width - 1)
            for guesses in {(), (0,) * self.guesses}:
                self.step([Newest(0, 0, width - 1 - len(guesses), 0, 0, 0, 1.0, 1.0, 1, guesses)])
        self.clear(0)

    def _pages(self, length: int) -> int:
        return next(width for width in self._widths if width >= length) // PAGE

    def _drawn(self, group: Sequence[Newest], pages: int, guessed: bool) -> list[list[Score]]:
        rows = [text.slot for text in group]
        newest = np.full((self.together, 1 + guessed * self.guesses), -1, np.int32)
        for text in group:
            newest[text.slot, : 1 + len(text.guesses)] = text.token, *text.guesses
        texts = Texts(newest, *(np.zeros(self.together, dtype) for dtype in ("I", "I", "i", "f", "f")))
        for name in ("seed", "index", "number", "temperature", "top_p"):
            getattr(texts, name)[rows] = [getattr(text, name) for text in group]
        self._cache, sampled, logits = self._step(self._model, self._cache, texts, pages=pages)
        count, tokens, log_probs = (np.asarray(each)[rows].tolist() for each in sampled)
        likeliest = np.zeros((2, len(rows), newest.shape[1], 0))
        if any(text.top for text in group):
            likeliest = np.stack([np.asarray(each)[rows] for each in self._likeliest(logits)])
        return [
            [
                Score(tokens[row][at], log_probs[row][at], _pairs(likeliest[:, row, at, : text.top]))
                for at in range(count[row] + 1)
            ]
            for row, text in enumerate(group)
        ]


def _pairs(likeliest: Float[np.ndarray, "2 n"]) -> tuple[tuple[int, float], ...]:
    """(token, log-probability) of each."""
    return tuple((int(token), value) for value, token in likeliest.T.tolist())


def widths(context: int) -> tuple[int, ...]:
    """How many tokens of each text a step reads, from few to `context`, in whole pages."""
    most = -(-context // PAGE) * PAGE
    shorter = [NARROWEST]
    while shorter[-1] * WIDER < most:
        shorter.append(shorter[-1] * WIDER)
    return (*(width for width in shorter if width < most), most)


def _read(model: Model, cache: PagedCache, slot: Array, tokens: Int[Array, "1 s"], pages: int) -> PagedCache:
    row = cache.row(slot)
    return cache.with_row(slot, row.widened(model(tokens, row.narrowed(pages))[1]))


def _step(model: Model, cache: PagedCache, texts: Texts, pages: int) -> tuple[PagedCache, Drawn, Float[Array, "b s v"]]:
    """(cache, what is drawn, the model's logits)."""
    logits, after = model(texts.tokens, cache.narrowed(pages), True)
    processor = language.processors.chain(
        language.processors.temperature(texts.temperature), language.processors.top_p(texts.top_p)
    )
    keys = jax.vmap(lambda seed, index: jax.random.fold_in(jax.random.key(seed), index))(texts.seed, texts.index)

    def sample(logits: Float[Array, "b v"], ahead: Array) -> tuple[Int[Array, " b"], Float[Array, " b"]]:
        number = texts.number + ahead
        context = Context(texts.tokens, number, number)  # of which temperature and top-p read nothing
        logits = decoding.processed(None, logits, context)
        token, drawn_from = decoding.draw(decoding.folded(keys, number), processor(logits, context))
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits, 1), token[:, None], 1)[:, 0]
        return token, jnp.where(jnp.isfinite(drawn_from), log_prob, jnp.nan)

    guesses = texts.tokens[:, 1:]
    tokens, log_probs = jax.vmap(sample, (1, 0), 1)(logits, jnp.arange(1 + guesses.shape[1], dtype=jnp.int32))
    accepted = jnp.sum(jnp.cumprod((guesses >= 0) & (guesses == tokens[:, :-1]), axis=1), 1, dtype=jnp.int32)
    if guesses.shape[1]:
        after = after.rewound(jnp.where(texts.tokens[:, 0] >= 0, cache.length + 1 + accepted, cache.length))
    return cache.widened(after), Drawn(accepted, tokens, log_probs), logits


def _cleared(cache: PagedCache, slot: Array) -> PagedCache:
    return cache.with_row(slot, cache.row(slot).cleared())


def _likeliest(logits: Float[Array, "b s v"]) -> tuple[Float[Array, "b s n"], Int[Array, "b s n"]]:
    values, ids = jax.lax.top_k(jax.nn.log_softmax(logits, 2), min(MOST_TOP[CHAT], logits.shape[2]))
    return values, ids
