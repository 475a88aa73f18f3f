"""Speculation changes what a text costs, and nothing of its law. Planted mistakes are caught."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gendiff import language, networks
from gendiff.core.records import record
from gendiff.language import drafts, processors, speculative
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow

pytestmark = pytest.mark.numbers

SEED = 3
NEW, GAMMA = 8, 3
TEXTS = [[3, 1, 4, 1, 5, 3, 1], [9], [2, 6, 5, 2, 6], [3, 5, 8, 9, 7, 9]]
PROMPT, INDEX = rig.padded(TEXTS, 7), np.arange(4)
CHAIN = rig.markov(rig.VOCABULARY)
ROOM = 7 + NEW + GAMMA


def transformers():
    """One whose numbers are a little different guesses, so that many guesses are right; each keeps a cache of its
    own.
    """
    near = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) * np.float32(1.15)), rig.PARAMS)
    held, draft_cache = (language.cache.full(rig.NETWORK, 4, ROOM) for _ in range(2))
    return rig.MODEL, held, drafts.model(language.from_network(networks.pure(rig.NETWORK), near), draft_cache)


KINDS = {"lookup": lambda: (CHAIN, rig.lengths_only(4, ROOM), drafts.prompt_lookup()), "model": transformers}
every_kind = pytest.mark.parametrize("kind", some_slow(KINDS, ("model",)))


@functools.cache
def program(kind):
    """One compiled program for all prompts, temperatures, numbers of tokens and stops."""
    target, held, draft = KINDS[kind]()

    @quickly
    def run(temperature, prompt, index, number, stop):
        options = {"gamma": GAMMA, "processor": processors.temperature(temperature), "num_tokens": number, "stop": stop}
        return speculative.generate(jax.random.key(SEED), target, held, draft, prompt, index, max_tokens=NEW, **options)

    def call(temperature, prompt=PROMPT, index=INDEX, number=NEW, stop=-1):
        return rig.on_host(run(temperature, prompt, index, np.broadcast_to(number, 4), np.broadcast_to(stop, (4, 1))))

    return call


def greedy(kind):
    """The likeliest tokens one after the other, each from the whole text."""
    texts = TEXTS
    for _ in range(NEW):
        logits = (
            [each[-1] for each in rig.full(texts)] if kind == "model" else [CHAIN.table[text[-1]] for text in texts]
        )
        texts = [[*text, int(np.argmax(row))] for text, row in zip(texts, logits, strict=True)]
    return np.array([text[-NEW:] for text in texts])


@every_kind
def test_greedy_texts_are_those_without_speculation(kind):
    run, expected = program(kind), greedy(kind)
    result = run(0.0)
    np.testing.assert_array_equal(result.tokens, expected)
    np.testing.assert_array_equal(result.log_probs, 0)
    np.testing.assert_array_equal(result.cache.length, [len(text) + NEW - 1 for text in TEXTS])
    assert (result.calls + result.accepted >= NEW).all() and (result.calls <= NEW).all() and result.accepted.any()
    number, stop = np.array([0, 1, 5, 7]), expected[:, 3:4]
    shorter = run(0.0, number=number, stop=stop)
    for row, tokens in enumerate(expected):
        length = min(number[row], 1 + int(np.flatnonzero(tokens == stop[row])[0]))
        assert shorter.length[row] == length and shorter.finished[row] == (
            length > 0 and tokens[length - 1] == stop[row]
        )
        np.testing.assert_array_equal(shorter.tokens[row], [*tokens[:length], *[-1] * (NEW - length)])


@every_kind
def test_a_text_does_not_depend_on_its_neighbours(kind):
    together, order = program(kind)(0.8), np.array([3, 3, 0, 1])
    other = program(kind)(0.8, PROMPT[order], order)
    np.testing.assert_array_equal(other.tokens, together.tokens[order])
    np.testing.assert_array_equal(other.calls, together.calls[order])
    assert not np.array_equal(together.tokens, greedy(kind)), "they are drawn"


# The law of sampled texts, on tiny vocabularies.

V, DRAWS, JUDGED = 5, 20_000, 2
LONG = JUDGED + 2  # the guesses of the first call, the token that it draws after them, and one of another call
START = [2, 1, 3, 2]
TARGET, GUESS = rig.markov(V, 0), rig.markov(V, 1)
BIAS = np.random.default_rng(2).normal(size=(LONG, V, V)).astype(np.float32)
PENALTY = 0.3
MISTAKES = (
    *("none", "the residual is skipped", "p and q are swapped", "q is that before the processors"),
    *("the token after all guesses is drawn from p²", "processors are told no number but that of the first token"),
)


@record
class Told:
    """Reads all that a processor is told: the number of the token, the last one, and how often each stands in the
    text.
    """

    bias: jax.Array
    penalty: jax.Array

    def __call__(self, logits, context):
        last = jnp.take_along_axis(context.tokens, context.length[:, None] - 1, 1)[:, 0]
        return (
            logits
            + jnp.asarray(self.bias)[context.generated, last]
            - self.penalty * jax.nn.one_hot(context.tokens, V).sum(1)
        )


@record
class Guesses(drafts.Draft):
    """The guesses of a chain. As a mistake, what it says it drew from is the chain's distribution before the
    processors.
    """

    table: jax.Array
    mistake: jax.Array

    @property
    def right(self):
        return drafts.model(rig.Markov(self.table), rig.lengths_only(DRAWS))

    def start(self, prompt, length, chunk, number):
        return self.right.start(prompt, length, chunk, number)

    def propose(self, keys, state, context, active, number, processor):
        proposal = self.right.propose(keys, state, context, active, number, processor)
        last = jnp.take_along_axis(context.tokens, context.length[:, None] - 1, 1)
        before = jnp.concatenate([last, proposal.tokens[:, :-1]], 1)
        wrong = jax.nn.softmax(jnp.asarray(self.table)[before], 2)
        return proposal._replace(probs=jnp.where(self.mistake == 3, wrong, proposal.probs))

    def rewound(self, state, length):
        return self.right.rewound(state, length)


@functools.partial(quickly, static_argnames="lookup")
def _generated(target, guess, bias, penalty, mistake, lookup):
    prompt = jnp.broadcast_to(jnp.array([START]), (DRAWS, 4))
    draft = drafts.prompt_lookup(2) if lookup else Guesses(guess, mistake)
    residual, accepts, context = speculative.residual, speculative.accepts, speculative.Context

    def other(p, q):
        left = jnp.where(mistake == 1, p, residual(p, q))
        return jnp.where((mistake == 4) & ~jnp.any(q, 1, keepdims=True), p**2, left)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speculative, "residual", other)
        patch.setattr(
            speculative,
            "accepts",
            lambda uniform, p, q: jnp.where(mistake == 2, uniform * p < q, accepts(uniform, p, q)),
        )
        patch.setattr(
            speculative,
            "Context",
            lambda text, length, number: context(text, length, jnp.where(mistake == 5, 0, number)),
        )
        change = processors.chain(processors.temperature(0.8), Told(bias, penalty), processors.min_p(0.05))
        options = {"max_tokens": LONG, "gamma": JUDGED, "processor": change}
        return speculative.generate(
            jax.random.key(SEED),
            rig.Markov(target),
            rig.lengths_only(DRAWS),
            draft,
            prompt,
            jnp.arange(DRAWS),
            **options,
        )


def generated(mistake=0, lookup=False, target=TARGET.table, guess=GUESS.table, bias=BIAS, penalty=PENALTY):
    """What is generated after each text. Tables and mistakes are data, so that all of them, and none, are one
    program.
    """
    return rig.on_host(_generated(target, guess, bias, np.float32(penalty), mistake, lookup=lookup))


def changed(logits):
    """The probabilities of logits behind the temperature, cut by min-p."""
    return scipy.special.softmax(np.where(logits >= logits.max(-1, keepdims=True) + np.log(0.05), logits, -np.inf), -1)


@functools.cache
def law():
    """The probability of each of the V^LONG texts (V, …, V), token by token from its definition."""
    probs, table = np.ones((V,) * LONG), np.asarray(TARGET.table, np.float64)
    for number in range(LONG):
        for begin in np.ndindex(*(V,) * number):
            text = [*START, *begin]
            row = table[text[-1]] / 0.8 + BIAS[number, text[-1]] - PENALTY * np.bincount(text, minlength=V)
            probs[begin] *= changed(row).reshape(-1, *(1,) * (LONG - number - 1))
    return probs


def chi_square(tokens):
    """p-values of the first token, of the first two together, and so on to all of them."""
    return [
        _chi_square(tokens[:, :count], law().sum(tuple(range(count, LONG))).ravel()) for count in range(1, LONG + 1)
    ]


def _chi_square(tokens, joint):
    if (tokens < 0).any():  # a text has ended, so a token without probability was accepted
        return 0.0
    counts = np.bincount(tokens @ V ** np.arange(tokens.shape[1])[::-1], minlength=joint.size)
    if counts[joint == 0].any():
        return 0.0
    large = joint * DRAWS >= 5
    cells = [np.append(values[large], values[~large].sum()) for values in (counts, joint * DRAWS)]
    return scipy.stats.chisquare(*(values[cells[1] > 0] for values in cells)).pvalue


@pytest.mark.parametrize("lookup", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["model", "lookup"])
def test_tokens_of_all_places_have_the_law_of_the_model_and_say_it(lookup):
    result = generated(lookup=lookup)
    assert result.accepted.max() >= JUDGED and min(chi_square(result.tokens)) > 1e-3 / (2 * LONG)
    assert 0.05 < (law() == 0).mean() < 0.95 and law().sum() == pytest.approx(1)
    np.testing.assert_allclose(np.exp(result.log_probs.sum(1)), law()[tuple(result.tokens.T)], rtol=1e-4)


@table("mistake", MISTAKES[1:])
def test_a_planted_mistake_is_caught(mistake):
    assert min(chi_square(generated(MISTAKES.index(mistake)).tokens)) < 1e-6


def test_acceptance_is_the_overlap_and_tokens_per_call_follow():
    """Where every token has the same distributions."""
    target, guess = (np.tile(chain.table[:1], (V, 1)) for chain in (TARGET, GUESS))
    result = generated(target=target, guess=guess, bias=np.zeros_like(BIAS), penalty=0.0)
    overlap = np.minimum(*(changed(table[0] / 0.8) for table in (target, guess))).sum()
    assert 0.3 < overlap < 0.9 and (result.calls > 2).any()
    accepted, rejected, calls = result.accepted.sum(), result.rejected.sum(), result.calls.sum()
    error = np.sqrt(overlap * (1 - overlap) / (accepted + rejected))
    assert abs(accepted / (accepted + rejected) - overlap) < 3 * error
    expected = (1 - overlap ** (JUDGED + 1)) / (1 - overlap)
    assert abs((accepted + calls) / calls / expected - 1) < 0.03


def looked_up(text, longest, number):
    for n in range(longest, 0, -1):
        for end in range(len(text) - 1, n - 1, -1):
            if text[end - n : end] == text[len(text) - n :] and n <= len(text):
                following = text[end : end + number]
                return following + [-1] * (number - len(following))
    return [-1] * number


def test_lookup_copies_what_followed_the_longest_latest_n_gram():
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 3, rng.integers(1, 12)).tolist() for _ in range(60)]
    context = processors.Context(
        rig.padded(texts, 16), np.array([len(text) for text in texts], np.int32), np.zeros(60, np.int32)
    )

    @quickly
    def guesses(context):
        keys = jax.random.split(jax.random.key(0), 60)
        return [
            drafts.prompt_lookup(longest).propose(keys, (), context, jnp.arange(60) > 0, 4, None).tokens
            for longest in (1, 3)
        ]

    for longest, tokens in zip((1, 3), rig.on_host(guesses(context)), strict=True):
        assert (tokens[0] == -1).all()  # it does not go on
        for row in range(1, 60):
            np.testing.assert_array_equal(tokens[row], looked_up(texts[row], longest, 4), err_msg=str(texts[row]))


def refused(draft=drafts.prompt_lookup(), held=None, **options):  # noqa: B008
    cache = rig.lengths_only(2, 9) if held is None else held
    settings = {"max_tokens": 4, "gamma": 3} | options
    return lambda: speculative.generate(
        jax.random.key(SEED), TARGET, cache, draft, np.array([[1, 2], [3, -1]]), np.arange(2), **settings
    )


test_what_does_not_fit_is_refused = refusals(
    (refused(gamma=4), "2 of the prompt and max_tokens = 8 need room for 10, but the cache holds 9"),
    (refused(gamma=0), "gamma = 0"),
    (refused(draft="lookup"), "draft must be one of language.drafts", TypeError),
    (
        refused(held=language.cache.ring(rig.NETWORK, 2, 9, window=2, slack=2)),
        "gamma = 3 needs a cache that takes 4 tokens at once",
    ),
    (lambda: drafts.prompt_lookup(0), "longest = 0"),
)
