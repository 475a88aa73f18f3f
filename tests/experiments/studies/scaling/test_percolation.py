import itertools
import math

import numpy as np
import pytest

from experiments.scaling.percolation import completion, graphs
from experiments.scaling.percolation.graphs import Graphs
from gendiff.scaling import emergence
from tests.tables import table

SIDES = (40, 60)


def graph_of(*facts, n1=4, n2=4):
    """One graph of these facts, which come in this order."""
    first, second = np.array(facts, np.int64).reshape(-1, 2).T
    return Graphs(1, n1, n2, np.zeros(len(first), np.int64), first, second, np.arange(len(first)) / max(len(first), 1))


def sampled(degree, count=6, seed=0):
    return graphs.draw(np.random.default_rng(seed), count, *SIDES, degree / math.sqrt(math.prod(SIDES)))


def reached(graph, number):
    """(n1, n2) whether a path links each pair of one graph, by walking on until nothing changes."""
    here = graph.graph == number
    facts = np.zeros((graph.n1, graph.n2), bool)
    facts[graph.first[here], graph.second[here]] = True
    reachable = facts
    for _ in range(graph.n1):
        reachable = reachable | ((facts.astype(int) @ facts.T.astype(int) @ reachable.astype(int)) > 0)
    return reachable, facts


def test_components_and_linked_pairs_are_those_of_walking_on_by_hand():
    graph = sampled(1.3)
    one, two = graph.components
    for number in range(graph.count):
        reachable, facts = reached(graph, number)
        assert np.array_equal(one[number][:, None] == two[number], reachable)
        assert graph.linked()[number] == pytest.approx((reachable & ~facts).sum() / (~facts).sum())
    assert len(np.intersect1d(one[0], one[1])) == 0


def test_the_two_largest_components_of_a_graph_made_by_hand():
    largest, second = graph_of((0, 0), (1, 0), (1, 1), (2, 2)).largest()
    assert (largest.tolist(), second.tolist()) == ([4 / 8], [2 / 8])


def test_a_share_of_the_facts_has_come_and_facts_never_go():
    full = sampled(3.0)
    before = set()
    for share in (0.25, 0.5, 1.0):
        part = full.until(share)
        now = set(zip(part.graph, part.first, part.second, strict=True))
        assert before <= now and abs(len(now) - share * len(full.first)) < 4 * math.sqrt(len(full.first))
        before = now
    assert len(before) == len(full.first)  # none twice


def test_short_paths_link_what_their_length_allows_and_long_ones_everything_that_is_linked():
    chain = graph_of((0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3))  # four nodes of each side in a row
    unseen = 16 - 7
    counts = np.round(chain.within((1, 2, 3))[:, 0] * unseen).tolist()
    assert counts == [5, 8, 9]  # by 3, 5 and 7 facts
    graph = sampled(1.5)
    assert np.allclose(graph.within((max(SIDES),))[0], graph.linked())


@table("degree", [0.5, 1.0, 1.1, 1.5, 3.0])
def test_the_giant_component_solves_its_equations_and_exists_above_1_alone(degree):
    first, second = graphs.giant(degree, *SIDES)
    p = degree / math.sqrt(math.prod(SIDES))
    assert first == pytest.approx(1 - math.exp(-p * SIDES[1] * second), abs=1e-12)
    assert second == pytest.approx(1 - math.exp(-p * SIDES[0] * first), abs=1e-12)
    assert (first > 0.01) == (second > 0.01) == (degree > 1)
    if degree == 1.5:
        assert graphs.giant_share(degree, 100, 100) == pytest.approx(0.58281164, abs=1e-8)  # s = 1 - exp(-1.5 s)


def test_drawn_graphs_are_those_of_the_library_on_average():
    ours = sampled(2.0, count=200).largest()[0]
    p = 2.0 / math.sqrt(math.prod(SIDES))
    theirs = np.array([emergence.bipartite_giant_component(seed, *SIDES, p) for seed in range(200)])
    assert abs(ours.mean() - theirs.mean()) < 4 * math.sqrt((ours.var() + theirs.var()) / 200)


def test_facts_in_blocks_are_as_many_and_leave_no_block():
    full = sampled(2.0)
    blocks = graphs.in_blocks(
        np.random.default_rng(1), Graphs(6, 60, 60, full.graph, full.first, full.second, full.mark), 10
    )
    assert np.array_equal(blocks.facts, full.facts) and np.array_equal(blocks.first // 10, blocks.second // 10)
    assert blocks.largest()[0].max() <= 20 / 120
    assert len(set(zip(blocks.graph, blocks.first, blocks.second, strict=True))) == len(blocks.first)


def test_a_trained_model_knows_what_paths_link_and_nothing_else():
    graph = sampled(1.5, count=40)
    known = completion.known(0, graph, rank=4, rounds=400)
    assert known.right.min() > 0.99
    error = known.unlinked.std() / math.sqrt(graph.count)
    assert abs(known.unlinked.mean()) < 4 * error and error < 0.03
    linked = graph.linked()
    assert np.allclose(known.gain, linked * (2 * known.right - 1) + (1 - linked) * known.unlinked)


def test_values_that_mean_nothing_teach_nothing():
    known = completion.known(0, sampled(2.0, count=40), rank=4, rounds=50, shuffled=True)
    assert abs(known.gain.mean()) < 4 * known.gain.std() / math.sqrt(40) < 0.05


def test_training_never_lowers_what_it_maximises():
    rng = np.random.default_rng(0)
    graph = sampled(2.0, count=1)
    values = graph.matrix(rng.choice((-1.0, 1.0), len(graph.first)))
    reached = [
        float(np.sum(u * (values @ v)))
        for u, v in (completion.train(np.random.default_rng(1), values, 3, n) for n in (1, 3, 9, 27))
    ]
    assert all(later > earlier for earlier, later in itertools.pairwise(reached))
