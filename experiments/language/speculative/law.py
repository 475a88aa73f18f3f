"""The law of tokens on a tiny vocabulary, where it is known: chains whose next token depends on the last one alone; planted mistakes."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats

from gendiff.commands.chat import steps
from gendiff.core import records
from gendiff.language import cache, drafts, processors, speculative

VOCABULARY, KEPT, TEMPERATURE, GUESSES = 5, 4, 0.8, 2
SKIPPED, SWAPPED, UNPROCESSED = "the residual is skipped", "p and q are swapped", "q is that before the processors"
MISTAKES = (SKIPPED, SWAPPED, UNPROCESSED)


@records.record
class Chain:
    """Logits of the next token are a row of a table (v, v), that of the last token."""

    table: Any

    def __call__(self, tokens: jax.Array, held: Any, every: bool = False) -> tuple[jax.Array, Any]:
        """As `language.NextLogits` does."""
        logits = self.table[jnp.maximum(tokens, 0)]
        count = jnp.sum(tokens >= 0, 1, dtype=jnp.int32)
        if not every:
            logits = jnp.take_along_axis(logits, jnp.maximum(count - 1, 0)[:, None, None], 1)[:, 0]
        return logits, held.advanced((), count)


@records.record
class Unprocessed(drafts.Draft):
    """A mistake: what this draft says that it drew from is the distribution before the processors."""

    draft: Any
    table: Any

    def start(self, prompt: Any, length: Any, chunk: int, number: int) -> Any:
        """That of the draft."""
        return self.draft.start(prompt, length, chunk, number)

    def propose(self, keys: Any, state: Any, context: Any, active: Any, number: int, processor: Any) -> drafts.Proposal:
        """Guesses of the draft, with other distributions."""
        proposal = self.draft.propose(keys, state, context, active, number, processor)
        last = jnp.take_along_axis(context.tokens, context.length[:, None] - 1, 1)
        before = jnp.concatenate([last, proposal.tokens[:, :-1]], 1)
        return proposal._replace(probs=jax.nn.softmax(self.table[before], 2))

    def rewound(self, state: Any, length: Any) -> Any:
        """That of the draft."""
        return self.draft.rewound(state, length)


def chain(seed: int) -> Chain:
    """Of random logits."""
    return Chain(jnp.asarray(np.random.default_rng(seed).normal(size=(VOCABULARY, VOCABULARY)) * 1.5, jnp.float32))


def p_values(seed: int, draws: int, mistake: str | None = None) -> tuple[float, float]:
    """Of the first token, and of the first two together. 0 where a token without probability came."""
    target, guess = chain(0), chain(1)
    change = processors.chain(processors.temperature(TEMPERATURE), processors.top_k(KEPT))
    draft: Any = drafts.model(guess, _lengths(draws, 16))
    if mistake == UNPROCESSED:
        draft = Unprocessed(draft, guess.table)
    prompt = np.tile(np.array([[2, 1, 3, 2]], np.int32), (draws, 1))

    def run(key: jax.Array) -> jax.Array:
        options: dict[str, Any] = {"max_tokens": 2, "gamma": GUESSES, "processor": change}
        return speculative.generate(key, target, _lengths(draws, 16), draft, prompt, jnp.arange(draws), **options).tokens

    with _planted(mistake):
        tokens = np.asarray(steps.jit(run)(jax.random.key(seed)))
    table = np.asarray(target.table, np.float64)
    table = scipy.special.softmax(np.where(table >= np.sort(table, 1)[:, -KEPT][:, None], table / TEMPERATURE, -np.inf), 1)
    return _chi_square(tokens[:, :1], table[2]), _chi_square(tokens, (table[2][:, None] * table).ravel())


def acceptance(seed: int, texts: int, guesses: int = 3, tokens: int = 40) -> tuple[float, float, int]:
    """Where all tokens have the same two distributions.

    (distance of acceptance from their overlap in standard errors, tokens per call over the formula, judged guesses).
    """
    target, guess = (Chain(jnp.tile(chain(number).table[:1], (VOCABULARY, 1))) for number in (0, 1))
    draft = drafts.model(guess, _lengths(texts, 64))
    prompt, index = jnp.ones((texts, 1), jnp.int32), jnp.arange(texts)

    def run(key: jax.Array) -> Any:
        return speculative.generate(key, target, _lengths(texts, 64), draft, prompt, index, max_tokens=tokens, gamma=guesses)

    result = jax.tree.map(np.asarray, steps.jit(run)(jax.random.key(seed)))
    overlap = np.minimum(*(scipy.special.softmax(np.asarray(each.table[0], np.float64)) for each in (target, guess))).sum()
    accepted, rejected, calls = (float(each.sum()) for each in (result.accepted, result.rejected, result.calls))
    judged = accepted + rejected
    error = np.sqrt(overlap * (1 - overlap) / judged)
    per_call = (accepted + calls) / calls / ((1 - overlap ** (guesses + 1)) / (1 - overlap))
    return float(abs(accepted / judged - overlap) / error), float(per_call), int(judged)


@contextlib.contextmanager
def _planted(mistake: str | None) -> Iterator[None]:
    wrong: dict[str, tuple[str, Any]] = {
        SKIPPED: ("residual", lambda p, q: p),
        SWAPPED: ("accepts", lambda uniform, p, q: uniform * p < q),
    }
    if mistake in wrong:
        with mock.patch.object(speculative, *wrong[mistake]):
            yield
    else:
        yield


def _chi_square(tokens: np.ndarray, expected: np.ndarray) -> float:
    """Cells with an expectation below 5 are one. expected: probabilities of all texts of so many tokens, in order."""
    if (tokens < 0).any():  # a text has ended: a token without probability was accepted
        return 0.0
    weights = VOCABULARY ** np.arange(tokens.shape[1])[::-1]
    counts = np.bincount(tokens @ weights, minlength=expected.size)
    if counts[expected == 0].any():
        return 0.0
    cells = expected * len(tokens)
    large = cells >= 5
    seen, wanted = (np.append(values[large], values[~large].sum()) for values in (counts, cells))
    return float(scipy.stats.chisquare(seen[wanted > 0], wanted[wanted > 0]).pvalue)


def _lengths(texts: int, capacity: int) -> cache.Cache:
    """A cache that keeps how long texts are and nothing else."""
    return cache.Cache((), jnp.zeros(texts, jnp.int32), capacity)
