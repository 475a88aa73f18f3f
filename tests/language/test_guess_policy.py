"""A policy says when texts guess: what it costs is counted, and no text is another one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import language
from gendiff.core.records import record
from gendiff.language import drafts, guess_policy, processors, speculative
from tests.language import rig
from tests.language.test_speculative import GAMMA, INDEX, PROMPT, SEED, looked_up, transformers
from tests.quickly import quickly

LONGER, AHEAD = 60, 5
REPEATER = rig.markov(6, 4, 2.5)


def counted(prompt, tokens, policy, least):
    """Calls, those with guesses, accepted and rejected ones of one text, step by step."""
    policy = jax.tree.map(float, policy)
    text, tokens = [each for each in prompt.tolist() if each >= 0], [each for each in tokens.tolist() if each >= 0]
    done, credit, resumes, counts = 0, policy.patience, 0, np.zeros(4, int)
    while done < len(tokens):
        guesses = [each for each in looked_up(text, 3, AHEAD, least) if each >= 0][: LONGER - done - 1]
        if done < resumes or len(guesses) + 1 <= policy.judging:
            guesses = []
        right = 0
        while right < min(len(guesses), len(tokens) - done) and guesses[right] == tokens[done + right]:
            right += 1
        new = min(right + 1, len(tokens) - done)
        counts += [1, bool(guesses), right, right < len(guesses)]
        text, done = text + tokens[done : done + new], done + new
        if guesses:
            credit = min(credit + right + 1 - policy.judging, policy.patience)
            if credit < 0:
                credit, resumes = policy.patience, done + policy.pause
    return counts


@pytest.mark.parametrize("least", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_drawn_texts_are_those_without_guesses_and_the_counts_are_those_of_the_policy(least):
    prompt = np.where(PROMPT < 0, -1, PROMPT % 6)
    options = {
        "max_tokens": LONGER,
        "processor": processors.temperature(0.9),
        "stop": np.array([[-1], [-1], [5], [-1]]),
    }
    inputs = jax.random.key(SEED), REPEATER, rig.lengths_only(4, 7 + LONGER)
    plain = rig.on_host(quickly(lambda: language.generate(*inputs, prompt, INDEX, **options))())

    @quickly
    def run(policy):
        draft = drafts.prompt_lookup(3, least)
        return speculative.generate(*inputs, draft, prompt, INDEX, gamma=AHEAD, policy=policy, **options)

    judged = []
    rest = (0, 0.0), (6, 0.0), (6, 3.0), (99, 1.0)
    for policy in (guess_policy.always(), *(guess_policy.policy(2.5, 0.0, *each) for each in rest)):
        result = rig.on_host(run(policy))
        np.testing.assert_array_equal(result.tokens, plain.tokens)
        np.testing.assert_allclose(result.log_probs, plain.log_probs, atol=1e-6)
        counts = np.stack([result.calls, result.judged, result.accepted, result.rejected], 1)
        expected = np.stack([counted(*row, policy, least) for row in zip(prompt, plain.tokens, strict=True)])
        counts[plain.finished, 2:] = expected[plain.finished, 2:]  # behind a stop guesses may be accepted, too
        np.testing.assert_array_equal(counts, expected)
        judged.append(result.judged.sum())
    assert judged[0] > judged[1] > judged[3] > judged[4] > 0 and not plain.finished.all()
    assert not run(guess_policy.policy(judging=AHEAD + 1.0)).judged.any(), "so many guesses never pay"


@record
class Wrong(drafts.Draft):
    """Guesses a token of no probability, again and again."""

    def propose(self, keys, state, context, allowed, number, processor):
        return drafts.Proposal(jnp.where(jnp.arange(number)[None] < allowed[:, None], 0, -1), None, ())


def test_guesses_that_are_never_right_cost_a_call_too_many_in_a_pause_at_most():
    model = rig.Markov(np.where(np.arange(6) == 0, -np.inf, REPEATER.table))
    inputs = jax.random.key(SEED), model, rig.lengths_only(4, 7 + LONGER), Wrong(), np.ones((4, 7), np.int32), INDEX
    run = quickly(lambda policy: speculative.generate(*inputs, policy=policy, max_tokens=LONGER, gamma=AHEAD))
    for pause in (0, 9, 32):
        result = rig.on_host(run(guess_policy.policy(pause=pause)))
        assert (result.calls == LONGER).all() and not result.accepted.any()
        # of the last two tokens, too few are left to pay
        np.testing.assert_array_equal(result.judged, -(-(LONGER - 2) // (pause + 1)))


def test_a_model_guesses_one_more_than_were_accepted_and_two_more_where_all_were():
    policy = guess_policy.policy(judging=1.5, drafting=0.1)
    guessed, accepted, generated = (jnp.array(each, jnp.int32) for each in ([8, 8, 3, 0], [0, 4, 3, 0], [7, 7, 7, 7]))
    after = guess_policy.updated(policy, guess_policy.started(policy, 4, 8), guessed, accepted, generated, 8)
    np.testing.assert_array_equal((after.length, after.resumes), ([1, 5, 5, 8], [39, 0, 0, 0]))
    left = jnp.array([9, 3, 9, 0], jnp.int32)
    np.testing.assert_array_equal(guess_policy.allowed(policy, after, generated, left), [0, 3, 5, 0])
    for judging, drafting, least in ((1.0, 0.0, 1), (2.5, 0.0, 2), (3.0, 0.0, 3), (2.0, 0.5, 3), (6.0, 1.0, 5_000_001)):
        assert abs(guess_policy.fewest(guess_policy.policy(judging, drafting)) - least) <= least // 100


@pytest.mark.slow
def test_a_model_that_is_behind_after_a_pause_guesses_what_it_would_have():
    _, held, draft = transformers()
    texts, length = jnp.pad(jnp.asarray(PROMPT), ((0, 0), (0, 4)), constant_values=-1), (PROMPT >= 0).sum(1)
    context = processors.Context(texts, jnp.asarray(length, jnp.int32), jnp.zeros(4, jnp.int32))
    keys, allowed = jax.random.split(jax.random.key(1), 4), jnp.array([3, 2, 3, 0], jnp.int32)

    @quickly
    def guesses(read):
        tokens = jnp.where(jnp.arange(7)[None] < read[:, None], PROMPT, -1)
        cache = draft.next_logits(tokens, draft.cache)[1]
        return draft.propose(keys, cache, context, allowed, GAMMA, None)

    late, early = (rig.on_host(guesses(jnp.asarray(read, jnp.int32))) for read in (length * 0, length - 1))
    np.testing.assert_array_equal(late.tokens, early.tokens)
    np.testing.assert_array_equal((late.tokens >= 0).sum(1), allowed)
    np.testing.assert_allclose(late.probs, early.probs, atol=1e-5)
