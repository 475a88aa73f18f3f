"""When a text guesses, and how many tokens, so that guesses that fail cost little.

A call that judges guesses costs more than a step of one token. Each such call is credited with the tokens that it
gives and debited with its cost. A text that has lost more than `patience` steps does not guess for `pause` tokens: of
pause + 1 tokens it so loses patience + judging − 1 steps at most.

The policy reads how past guesses fared, never the token to come: it changes no law.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from gendiff.core import checks, records
from gendiff.core.types import Count, Scalar


@records.record
class GuessPolicy:
    """Built by `policy`."""

    judging: jax.Array
    drafting: jax.Array
    pause: jax.Array
    patience: jax.Array


@records.record
class Pace:
    """How the guesses of each text fared.

    Attributes:
        credit: (b,) steps that may be lost before a pause.
        resumes: (b,) the number of the token from which on the text guesses.
        length: (b,) how many tokens it guesses at once.
    """

    credit: jax.Array
    resumes: jax.Array
    length: jax.Array


def policy(judging: Scalar = 2.5, drafting: Scalar = 0.0, pause: Count = 32, patience: Scalar = 0.0) -> GuessPolicy:
    """Guess while it pays. Costs are in steps of one token, and all numbers are data.

    A text guesses no fewer tokens than can pay. Where each guess costs something, it guesses one more than were
    accepted last time, and two more where all were.

    Args:
        judging: cost of a call that judges guesses, ≥ 0. 2.5 is SmolLM2's on two cores, for seven guesses; an
            accelerator comes near 1.
        drafting: cost of each guess, ≥ 0.
        pause: for how many tokens a text does not guess after guesses that did not pay, ≥ 0.
        patience: how many steps may be lost before a pause, ≥ 0. Steps that were won pay for later ones up to here.

    Raises:
        TypeError: for a pause that is no integer.
        ValueError: for numbers outside these ranges.

    References:
        Leviathan et al., 2023, Theorem 3.8, for the break-even (from memory).
    """
    for name, value in (("judging", judging), ("drafting", drafting), ("patience", patience)):
        checks.in_range(name, value, 0.0, float("inf"), open_high=True)
    checks.integer("pause", pause)
    judging, drafting, patience = (jnp.asarray(each, jnp.float32) for each in (judging, drafting, patience))
    return GuessPolicy(judging, drafting, jnp.asarray(pause, jnp.int32), patience)


def always() -> GuessPolicy:
    """Guess as many tokens as there may be, at every token."""
    return policy(judging=0.0, pause=0)


def started(policy: GuessPolicy, batch: int, gamma: int) -> Pace:
    """The pace of texts that have not guessed yet."""
    none = jnp.zeros(batch, jnp.int32)
    return Pace(none + policy.patience, none, none + gamma)


def fewest(policy: GuessPolicy) -> Array:
    """How many guesses can pay at least, if all are accepted: the least n with n + 1 > judging + drafting · n."""
    least = jnp.floor((policy.judging - 1) / jnp.maximum(1 - policy.drafting, 1e-6)) + 1
    return jnp.clip(least, 0, 2.0**30).astype(jnp.int32)


def allowed(policy: GuessPolicy, pace: Pace, generated: Int[Array, " b"], left: Int[Array, " b"]) -> Int[Array, " b"]:
    """How many tokens each text may guess, of which `left` (b,) are of use; 0 where fewer would do than can pay."""
    count = jnp.minimum(pace.length, left)
    return jnp.where((generated >= pace.resumes) & (count >= fewest(policy)), count, 0)


def updated(
    policy: GuessPolicy,
    pace: Pace,
    guessed: Int[Array, " b"],
    accepted: Int[Array, " b"],
    generated: Int[Array, " b"],
    gamma: int,
) -> Pace:
    """The pace after a call that judged so many guesses (b,) and accepted so many; `generated` counts the new tokens.

    A text that did not guess, which has 0 of both, keeps its pace.
    """
    judged = guessed > 0
    gain = jnp.where(judged, accepted + 1 - policy.judging - policy.drafting * guessed, 0)
    credit = jnp.minimum(pace.credit + gain, policy.patience)
    resumes = jnp.where(credit < 0, generated + policy.pause, pace.resumes)
    adapted = jnp.clip(accepted + 1 + (accepted == guessed), jnp.minimum(fewest(policy), gamma), gamma)
    length = jnp.where(judged & (policy.drafting > 0), adapted, pace.length)
    return Pace(jnp.where(credit < 0, policy.patience, credit), resumes, length)
