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
from gendiff.language import drafts, guess_policy, processors, speculative
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
ROOM = 7 + NEW
ALWAYS = guess_policy.always()
POLICIES = (
    guess_policy.policy(judging=2.0, pause=2),
    guess_policy.policy(judging=1.2, drafting=0.3, pause=3),
)
"""One that pauses, and one of fewer guesses where fewer are accepted."""


def transformers():
    """One whose numbers are a little different guesses, so that many guesses are right; each keeps a cache of its
    own.
    """
    near = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) * np.float32(1.15)), rig.PARAMS)
    held, draft_cache = (language.cache.full(rig.NETWORK, 4, ROOM) for _ in range(2))
    return rig.MODEL, held, drafts.model(language.from_network(networks.pure(rig.NETWORK), near), draft_cache)


KINDS = {"lookup": lambda: (CHAIN, rig.lengths_only(4, ROOM), drafts.prompt_lookup(least=1)), "model": transformers}
every_kind = pytest.mark.parametrize("kind", some_slow(KINDS, ("model",)))


@functools.cache
def program(kind):
    """One compiled program for all prompts, temperatures, numbers of tokens, stops and policies."""
    target, held, draft = KINDS[kind]()

    @quickly
    def run(temperature, prompt, index, number, stop, policy):
        options = {"gamma": GAMMA, "processor": processors.temperature(temperature), "num_tokens": number, "stop": stop}
        options |= {"policy": policy, "max_tokens": NEW}
        return speculative.generate(jax.random.key(SEED), target, held, draft, prompt, index, **options)

    def call(temperature, prompt=PROMPT, index=INDEX, number=NEW, stop=-1, policy=ALWAYS):
        number, stop = np.broadcast_to(number, 4), np.broadcast_to(stop, (4, 1))
        return rig.on_host(run(temperature, prompt, index, number, stop, policy))

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
    for policy in POLICIES:
        np.testing.assert_array_equal(run(0.0, policy=policy).tokens, expected)
    number, stop = np.array([0, 1, 5, 7]), expected[:, 3:4]
    shorter = run(0.0, number=number, stop=stop)
    for row, tokens in enumerate(expected):
        length = min(number[row], 1 + int(np.flatnonzero(tokens == stop[row])[0]))
        assert shorter.length[row] == length and shorter.finished[row] == (
            length > 0 and tokens[length - 1] == stop[row]
        )
        np.testing.assert_array_equal(shorter.tokens[row], [*tokens[:length], *[-1] * (NEW - length)])


def test_a_cache_that_holds_tokens_grows_by_those_of_the_call():
    held, draft = rig.lengths_only(4, ROOM + 5).advanced((), jnp.arange(2, 6)), drafts.prompt_lookup()
    result = quickly(
        lambda: (
            speculative.generate(
                jax.random.key(SEED), CHAIN, held, draft, PROMPT, INDEX, max_tokens=NEW, gamma=GAMMA
            ).cache.length
        )
    )()
    np.testing.assert_array_equal(result, [2 + n + len(text) + NEW - 1 for n, text in enumerate(TEXTS)])


@every_kind
def test_a_text_does_not_depend_on_its_neighbours(kind):
    order = np.array([3, 3, 0, 1])
    for policy in (ALWAYS, *POLICIES):
        together = program(kind)(0.8, policy=policy)
        other = program(kind)(0.8, PROMPT[order], order, policy=policy)
        for name in ("tokens", "calls", "judged", "accepted", "rejected"):
            np.testing.assert_array_equal(getattr(other, name), getattr(together, name)[order], err_msg=name)
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

    def propose(self, keys, state, context, allowed, number, processor):
        proposal = self.right.propose(keys, state, context, allowed, number, processor)
        last = jnp.take_along_axis(context.tokens, context.length[:, None] - 1, 1)
        before = jnp.concatenate([last, proposal.tokens[:, :-1]], 1)
        wrong = jax.nn.softmax(jnp.asarray(self.table)[before], 2)
        return proposal._replace(probs=jnp.where(self.mistake == 3, wrong, proposal.probs))

    def rewound(self, state, length):
        return self.right.rewound(state, length)


@functools.partial(quickly, static_argnames="lookup")
def _generated(target, guess, bias, penalty, mistake, policy, lookup):
    prompt = jnp.broadcast_to(jnp.array([START]), (DRAWS, 4))
    draft = drafts.prompt_lookup(2, 1) if lookup else Guesses(guess, mistake)
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
        options = {"max_tokens": LONG, "gamma": JUDGED, "processor": change, "policy": policy}
        return speculative.generate(
            jax.random.key(SEED),
            rig.Markov(target),
            rig.lengths_only(DRAWS),
            draft,
            prompt,
            jnp.arange(DRAWS),
            **options,
        )


def generated(
    mistake=0, lookup=False, target=TARGET.table, guess=GUESS.table, bias=BIAS, penalty=PENALTY, policy=ALWAYS
):
    """What is generated after each text. Tables, mistakes and policies are data, so that all of them, and none, are
    one program.
    """
    return rig.on_host(_generated(target, guess, bias, np.float32(penalty), mistake, policy, lookup=lookup))


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
    assert 0.05 < (law() == 0).mean() < 0.95 and law().sum() == pytest.approx(1)
    for policy in (ALWAYS, *POLICIES):
        result = generated(lookup=lookup, policy=policy)
        assert result.accepted.any() and min(chi_square(result.tokens)) > 1e-3 / (6 * LONG)
        np.testing.assert_allclose(np.exp(result.log_probs.sum(1)), law()[tuple(result.tokens.T)], rtol=1e-4)
    assert (result.judged < result.calls).any() or lookup


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
    expected = [0.0]  # calls for so many tokens, the last of which is no guess
    for left in range(1, LONG + 1):
        most = min(JUDGED, left - 1)
        chances = [overlap**count * (1 - overlap) for count in range(most)] + [overlap**most]
        expected.append(1 + sum(chance * expected[left - 1 - count] for count, chance in enumerate(chances)))
    assert abs(calls / DRAWS / expected[LONG] - 1) < 0.03 and accepted == DRAWS * LONG - calls


def looked_up(text, longest, number, least=1):
    for n in range(longest, least - 1, -1):
        for end in range(len(text) - 1, n - 1, -1):
            if text[end - n : end] == text[len(text) - n :] and n <= len(text):
                following = text[end : end + number]
                return following + [-1] * (number - len(following))
    return [-1] * number


SIZES = ((1, 1), (3, 1), (3, 2), (3, 3))


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
            drafts.prompt_lookup(*sizes).propose(keys, (), context, 4 * (jnp.arange(60) > 0), 4, None).tokens
            for sizes in SIZES
        ]

    for (longest, least), tokens in zip(SIZES, rig.on_host(guesses(context)), strict=True):
        assert (tokens[0] == -1).all()  # it does not go on
        for row in range(1, 60):
            np.testing.assert_array_equal(
                tokens[row], looked_up(texts[row], longest, 4, least), err_msg=str(texts[row])
            )


def refused(draft=drafts.prompt_lookup(), held=None, **options):  # noqa: B008
    cache = rig.lengths_only(2, 9) if held is None else held
    settings = {"max_tokens": 4, "gamma": 3} | options
    return lambda: speculative.generate(
        jax.random.key(SEED), TARGET, cache, draft, np.array([[1, 2], [3, -1]]), np.arange(2), **settings
    )


test_what_does_not_fit_is_refused = refusals(
    (refused(max_tokens=8), "2 of the prompt and max_tokens = 8 need room for 10, but the cache holds 9"),
    (refused(gamma=0), "gamma = 0"),
    (refused(draft="lookup"), "draft must be one of language.drafts", TypeError),
    (
        refused(held=language.cache.ring(rig.NETWORK, 2, 9, window=2, slack=2)),
        "gamma = 3 needs a cache that takes 4 tokens at once",
    ),
    (refused(policy=2.5), r"policy must be such as guess_policy.policy\(\) makes, got float", TypeError),
    (lambda: drafts.prompt_lookup(0), "longest = 0"),
    (lambda: drafts.prompt_lookup(3, 4), r"least = 4 is outside \[1, 3\]"),
    (lambda: drafts.model(CHAIN, rig.lengths_only(4), cost=-0.1), "cost = -0.1"),
    (lambda: guess_policy.policy(judging=-1.0), "judging = -1"),
    (lambda: guess_policy.policy(drafting=float("nan")), "drafting = nan"),
    (lambda: guess_policy.policy(patience=float("inf")), "patience = inf"),
    (lambda: guess_policy.policy(pause=-1), "pause = -1"),
    (lambda: guess_policy.policy(pause=2.5), "pause must be an integer", TypeError),
)
