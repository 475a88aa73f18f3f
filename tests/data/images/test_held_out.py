"""Which rows are kept from training."""

import numpy as np

from gendiff.data import held_out
from tests.refusals import refusals


def test_groups_lie_on_one_side_whatever_the_order_of_the_rows():
    groups = [str(number % 30).encode() for number in range(90)]
    training, kept_out = held_out.rows(groups, 0.2, seed=3)
    assert sorted([*training, *kept_out]) == [*range(90)] and len(kept_out) == 18
    assert not {groups[row] for row in training} & {groups[row] for row in kept_out}
    turned = held_out.rows(groups[::-1], 0.2, seed=3)[1]
    assert sorted(89 - turned) == sorted(kept_out)


def test_pictures_that_are_nearly_the_same_join_their_groups_however_long_the_chain():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (2050, 2, 2, 1)).astype(np.uint8) // 40 * 40  # distances of 0 or at least 20
    # 9 from one to the next, 18 from the first to the last, 60 or more from others
    images[0], images[5], images[2040] = 220, 229, 238
    groups = [b"%d" % number for number in range(len(images))]
    names = held_out.joined(groups, images, 9.0)
    assert names[0] == names[5] == names[2040] == b"0"
    joined = held_out.joined(groups, images, 8.9)
    assert len({joined[0], joined[5], joined[2040]}) == 3
    exact = {image.tobytes() for image in images}
    assert len(set(joined)) == len(exact)


def test_one_group_stays_one_where_its_pictures_differ():
    images = np.array([0, 255, 120], np.uint8).reshape(3, 1, 1, 1)
    assert held_out.joined([b"a", b"a", b"b"], images, 1.0) == [b"a", b"a", b"b"]


test_wrong_groups_are_refused = refusals(
    (lambda: held_out.joined([b"a"], np.zeros((2, 1, 1, 1), np.uint8), 1.0), "one group per image"),
    (lambda: held_out.joined([b"a"], np.zeros((1, 1, 1, 1), np.uint8), -1.0), "distance"),
    (lambda: held_out.rows([b"a"], 1.0, seed=0), "held_out"),
)
