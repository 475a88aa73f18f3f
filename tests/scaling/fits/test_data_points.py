"""Tables of sweeps: what may be left out, and what is refused."""

import numpy as np

from gendiff.scaling import fits
from tests.refusals import refusals

SIZES, TOKENS, LOSS = np.array([1e6, 2e6]), np.array([3e7, 4e7]), np.array([3.0, 2.0])


def test_operations_and_tokens_follow_from_each_other():
    by_tokens, by_flops = fits.points(SIZES, TOKENS, LOSS), fits.points(SIZES, loss=LOSS, flops=6 * SIZES * TOKENS)
    np.testing.assert_allclose(by_flops.tokens, TOKENS)
    np.testing.assert_allclose(by_tokens.flops, by_flops.flops)
    both = fits.points(SIZES, TOKENS, LOSS, [1e9, 2e9])
    assert both.flops.tolist() == [1e9, 2e9] and both.tokens.tolist() == TOKENS.tolist()
    assert fits.points(SIZES, TOKENS, LOSS, per_token=2.0).flops.tolist() == (2 * SIZES * TOKENS).tolist()


def test_rows_are_taken_and_the_largest_losses_left_out_in_order():
    table = fits.points([1, 2, 3, 4], [1, 1, 1, 1], [2.0, 5.0, 1.0, 4.0])
    assert table.take(np.array([3, 3, 0])).loss.tolist() == [4.0, 4.0, 2.0]
    assert table.without_largest(2).parameters.tolist() == [1.0, 3.0] and len(table) == 4


test_tables_that_are_none_are_refused = refusals(
    (lambda: fits.points(SIZES, TOKENS), "a loss per run", TypeError),
    (lambda: fits.points(SIZES, loss=LOSS), "its tokens or its flops", TypeError),
    (lambda: fits.points(SIZES, TOKENS, [3.0]), r"parameters has shape \(2,\) but loss has shape \(1,\)"),
    (lambda: fits.points(SIZES, TOKENS[:1], LOSS), "tokens has shape"),
    (lambda: fits.points(SIZES, TOKENS, [3.0, np.nan]), r"loss\[1\] = nan: it must be finite.*diverged"),
    (lambda: fits.points([0.0, 1.0], TOKENS, LOSS), r"parameters\[0\] = 0"),
    (lambda: fits.points(SIZES, None, LOSS, [1e9, np.inf]), r"flops\[1\] = inf"),
    (lambda: fits.points(SIZES[None], TOKENS, LOSS), "one number per run"),
    (lambda: fits.points([], [], []), "one number per run"),
    (lambda: fits.points(SIZES, TOKENS, LOSS, per_token=0.0), "per_token = 0"),
)
