"""Random bipartite graphs that grow fact by fact: their components, the pairs that paths link, and what theory says of
endless ones.

A pair of nodes, one of each side, is a fact with probability p, and c = p · √(n₁ n₂) is the degree. The shares s₁ and
s₂ of both sides that lie in the giant component solve s₁ = 1 − exp(−p n₂ s₂) and s₂ = 1 − exp(−p n₁ s₁); there is none
for c ≤ 1 (Newman, Strogatz and Watts, 2001; from memory).
"""

import dataclasses
import functools
import math

import numpy as np
import scipy


@dataclasses.dataclass(frozen=True, eq=False)
class Graphs:
    """Several graphs of n1 and n2 nodes. A fact i lies in graph `graph[i]`, between the nodes `first[i]` and
    `second[i]`.

    mark: (facts,) in [0, 1), when each fact comes. `until` keeps those that have come.
    """

    count: int
    n1: int
    n2: int
    graph: np.ndarray
    first: np.ndarray
    second: np.ndarray
    mark: np.ndarray

    def until(self, share: float) -> "Graphs":
        """The facts that have come before `share` in [0, 1] of all time: each of them with that probability."""
        present = self.mark < share
        return Graphs(
            self.count, self.n1, self.n2, *(each[present] for each in (self.graph, self.first, self.second, self.mark))
        )

    def matrix(self, values: np.ndarray | None = None) -> scipy.sparse.csr_array:
        """(count · n1, count · n2) with the values of the facts, or 1; the graphs lie along the diagonal."""
        rows, columns = self.graph * self.n1 + self.first, self.graph * self.n2 + self.second
        filled = np.ones(len(rows)) if values is None else values
        return scipy.sparse.csr_array((filled, (rows, columns)), shape=(self.count * self.n1, self.count * self.n2))

    @functools.cached_property
    def components(self) -> tuple[np.ndarray, np.ndarray]:
        """(count, n1) and (count, n2): the number of the component of each node. No two graphs share a number."""
        top = self.count * self.n1
        matrix = self.matrix().tocoo()
        size = top + self.count * self.n2
        graph = scipy.sparse.coo_array((matrix.data, (matrix.row, matrix.col + top)), shape=(size, size)).tocsr()
        labels = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
        return labels[:top].reshape(self.count, self.n1), labels[top:].reshape(self.count, self.n2)

    @functools.cached_property
    def facts(self) -> np.ndarray:
        """(count,) how many each graph has."""
        return np.bincount(self.graph, minlength=self.count)

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        """(count,) shares of all nodes in the largest and in the second-largest component of each graph."""
        nodes = np.concatenate(self.components, axis=1)
        sizes = [np.sort(np.unique(labels, return_counts=True)[1])[::-1] for labels in nodes]
        return tuple(
            np.array([size[rank] if rank < len(size) else 0 for size in sizes]) / nodes.shape[1] for rank in (0, 1)
        )

    def linked(self) -> np.ndarray:
        """(count,) share of the pairs without a fact that some path links."""
        one, two = (np.bincount(labels.ravel(), minlength=self._labels) for labels in self.components)
        owner = np.empty(self._labels, np.int64)
        for labels in self.components:
            owner[labels] = np.arange(self.count)[:, None]
        pairs = np.bincount(owner, one.astype(np.float64) * two, minlength=self.count)
        return (pairs - self.facts) / (self.n1 * self.n2 - self.facts)

    def within(self, detours: tuple[int, ...]) -> np.ndarray:
        """(detours, count) share of the pairs without a fact that a path of at most 2 d + 1 facts links, for each d of
        `detours`.
        """
        shares = np.empty((len(detours), self.count))
        for number in range(self.count):
            here = self.graph == number
            reachable = np.zeros((self.n1, self.n2), np.float32)
            reachable[self.first[here], self.second[here]] = 1
            neighbours, reached = np.minimum(reachable @ reachable.T, 1), reachable
            for done in range(1, max(detours) + 1):
                reached = np.minimum(neighbours @ reached + reachable, 1)
                if done in detours:
                    shares[detours.index(done), number] = (reached.sum() - reachable.sum()) / (
                        reachable.size - reachable.sum()
                    )
        return shares

    @property
    def _labels(self) -> int:
        return 1 + max(int(labels.max()) for labels in self.components)


def draw(rng: np.random.Generator, count: int, n1: int, n2: int, p: float) -> Graphs:
    """Graphs whose pairs are facts with probability p in the end."""
    return _placed(
        rng, count, n1, n2, rng.binomial(n1 * n2, p, count), n1 * n2, lambda position: np.divmod(position, n2)
    )


def in_blocks(rng: np.random.Generator, like: Graphs, block: int) -> Graphs:
    """As many facts in each graph, all of them within blocks of so many nodes of each side: no component is larger than
    a block.
    """

    def pair(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, within = np.divmod(position, block)
        return first, first // block * block + within

    return _placed(rng, like.count, like.n1, like.n2, like.facts, like.n1 * block, pair)


def giant(degree: float, n1: int, n2: int) -> tuple[float, float]:
    """The shares (s₁, s₂) of both sides that the giant component holds in endless graphs of these proportions."""
    if degree <= 1:
        return 0.0, 0.0
    to_first, to_second = degree * math.sqrt(n2 / n1), degree * math.sqrt(n1 / n2)

    def other(share: float) -> float:
        return -math.expm1(-to_second * share)

    first = scipy.optimize.brentq(lambda share: -math.expm1(-to_first * other(share)) - share, 1e-12, 1.0, xtol=1e-15)
    return first, other(first)


def giant_share(degree: float, n1: int, n2: int) -> float:
    """The share of all nodes that the giant component holds."""
    first, second = giant(degree, n1, n2)
    return (n1 * first + n2 * second) / (n1 + n2)


def _placed(rng, count, n1, n2, facts, places, pair) -> Graphs:
    """facts: (count,) how many. places: of how many places they are drawn, without repetition. pair: from places to
    both nodes.
    """
    chosen = [rng.choice(places, size=int(each), replace=False, shuffle=False) for each in facts]
    first, second = pair(np.concatenate(chosen).astype(np.int64))
    return Graphs(count, n1, n2, np.repeat(np.arange(count), facts), first, second, rng.random(len(first)))
