"""Do two sides write the same texts?

Rounding may exchange two tokens that are equally likely, behind which the texts have nothing in common.
"""

import numpy as np

Written = tuple[np.ndarray, np.ndarray]
"""Of greedy texts, the tokens (b, n) and the logits (b, n, v) by which each was chosen."""


def difference(ours: Written, theirs: Written) -> float:
    """The largest difference of logits over max(1, rms of theirs), as far as the tokens before are equal.

    Where a text first has another token, how much less likely ours is by their logits counts as well. Infinite where shapes differ or a
    value is not finite.
    """
    (own, logits), (other, reference) = ours, theirs
    if own.shape != other.shape or logits.shape != reference.shape or not (np.isfinite(logits).all() and np.isfinite(reference).all()):
        return float("inf")
    logits, reference = logits.astype(np.float64), reference.astype(np.float64)
    same = own == other
    before = np.cumprod(np.concatenate([np.ones_like(same[:, :1]), same[:, :-1]], 1), 1).astype(bool)
    apart = np.abs(logits - reference).max(-1, where=before[..., None], initial=0.0)
    chosen, instead = (np.take_along_axis(reference, tokens[..., None].astype(int), -1)[..., 0] for tokens in (other, own))
    less = np.where(before & ~same, np.abs(chosen - instead), 0.0)
    return float(max(apart.max(), less.max()) / max(1.0, np.sqrt(np.mean(np.square(reference)))))
