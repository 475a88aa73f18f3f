import numpy as np
import pytest

from gendiff.metrics import vendi

ORDERS = [0, 0.5, 1, 2, 5.0, float("inf")]


def sample(n=12, d=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


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
    rows = sample(*shape)
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in rows] for b in rows])
    shares = np.linalg.eigvalsh(cosines / len(rows))
    shares = shares[shares > 1e-12]
    assert vendi.score(rows) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-10)


def test_length_order_and_rotation_of_the_rows_do_not_enter():
    rows = sample()
    turned = rows @ np.linalg.qr(sample(5, 5, 1))[0]
    for other in (rows * np.geomspace(1e-200, 1e200, 12)[:, None], rows[::-1], turned):
        assert vendi.score(other) == pytest.approx(vendi.score(rows), rel=1e-10)


def test_orders_decrease_and_orders_near_one_reach_shannons():
    rows = sample()
    values = [vendi.score(rows, order=order) for order in ORDERS]
    assert all(a >= b for a, b in zip(values, values[1:], strict=False))
    assert vendi.score(rows, order=1 + 1e-6) == pytest.approx(vendi.score(rows), rel=1e-5)


def test_subsets_have_their_own_scores_and_depend_on_the_seed_only():
    np.testing.assert_allclose(vendi.over_subsets(np.repeat(np.eye(3), 10, axis=0), count=4, size=30, seed=0), 3, rtol=1e-12)
    few, same = (vendi.over_subsets(sample(), count=3, size=4, seed=1) for _ in range(2))
    np.testing.assert_array_equal(few, same)
    assert np.all((few > 1) & (few <= 4)) and len(set(few)) == 3


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: vendi.score(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])), "features: 1 of 3 rows are all zeros"),
        (lambda: vendi.score(sample(), order=-1), "order = -1 is outside"),
        (lambda: vendi.over_subsets(sample(), size=13, seed=0), "features has 12 rows, fewer than the 13 asked for"),
    ],
)
def test_rows_without_direction_and_orders_below_zero_are_refused(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()
