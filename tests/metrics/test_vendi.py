import numpy as np
import pytest

from gendiff.metrics import vendi
from tests.metrics.rows import normal
from tests.refusals import refusals

ORDERS = [0, 0.5, 1, 2, 5.0, float("inf")]
ROWS = normal(0, 12, 5)


@pytest.mark.parametrize("order", ORDERS)
def test_equal_rows_are_one_item_orthogonal_rows_n_and_two_groups_two(order):
    assert vendi.score(np.tile([1.0, 2.0, 3.0], (7, 1)), order=order) == pytest.approx(1, abs=1e-12)
    assert vendi.score(np.eye(6)[:, ::-1] * 3, order=order) == pytest.approx(6, rel=1e-12)
    assert vendi.score(np.repeat(np.eye(2), 4, axis=0), order=order) == pytest.approx(2, rel=1e-12)


def test_two_groups_of_shares_p_and_q_are_their_renyi_entropies():
    rows, shares = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]]), np.array([0.75, 0.25])
    for order, expected in ((1, np.exp(-shares @ np.log(shares))), (2, 1 / (shares @ shares)), (float("inf"), 4 / 3)):
        assert vendi.score(rows, order=order) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(12, 5), (4, 9)])
def test_it_is_the_entropy_of_the_kernel_matrix_written_out(shape):
    rows = normal(0, *shape)
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in rows] for b in rows])
    shares = np.linalg.eigvalsh(cosines / len(rows))
    shares = shares[shares > 1e-12]
    assert vendi.score(rows) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-10)


def test_length_order_and_rotation_of_the_rows_do_not_enter():
    turned = ROWS @ np.linalg.qr(normal(1, 5, 5))[0]
    for other in (ROWS * np.geomspace(1e-200, 1e200, 12)[:, None], ROWS[::-1], turned):
        assert vendi.score(other) == pytest.approx(vendi.score(ROWS), rel=1e-10)


def test_orders_decrease_and_orders_near_one_reach_shannons():
    values = [vendi.score(ROWS, order=order) for order in ORDERS]
    assert all(a >= b for a, b in zip(values, values[1:], strict=False))
    assert vendi.score(ROWS, order=1 + 1e-6) == pytest.approx(vendi.score(ROWS), rel=1e-5)


test_rows_without_direction_and_orders_below_zero_are_refused = refusals(
    (lambda: vendi.score(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])), "features: 1 of 3 rows are all zeros"),
    (lambda: vendi.score(ROWS, order=-1), "order = -1 is outside"),
    (lambda: vendi.over_subsets(ROWS, size=13, seed=0), "features has 12 rows, fewer than the 13 asked for"),
)
