"""A program that draws without a network: a picture shows its seed, its index and how many steps it has taken."""

import threading

import numpy as np

from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.served_network import ReadTexts, ServedNetwork
from gendiff.diffusion import samplers

SIDE = 8
TOO_LONG = "too long"


class Clock:
    """Time passes only where a program says so."""

    now = 100.0

    def __call__(self):
        return self.now


class FakeProgram:
    """A picture on its way is (request, index, steps taken), which it holds against the batcher's own count.

    spoilt: seeds whose pictures are not finite from their second step on. broken: seeds at which a step raises. cost:
        of a step of so many pictures. open: cleared, steps wait. turns: how many pictures each step had.
    """

    def __init__(self, together, clock=None, spoilt=(), broken=(), seconds=2.0, cost=float):
        self.together, self.ready, self.clock, self.cost = together, together, clock or Clock(), cost
        self.spoilt, self.broken, self.seconds = spoilt, broken, seconds
        self.open = threading.Event()
        self.open.set()
        self.turns = []

    def begin(self, request, words, index):
        return request, index, 0

    def step(self, rows, done):
        assert self.open.wait(20)
        assert len({(id(request), index) for request, index, _ in rows}) == len(rows) <= self.ready
        assert [row[2] for row in rows] == list(done), "a picture has taken another number of steps"
        if any(request.seed in self.broken for request, _, _ in rows):
            raise RuntimeError("no memory is left")
        self.clock.now += self.seconds
        self.turns.append(len(rows))
        after = [(request, index, taken + 1) for request, index, taken in rows]
        return after, [not (request.seed in self.spoilt and taken > 1) for request, _, taken in after]

    def picture(self, row):
        return expected(*row)


def expected(request, index, done=None):
    """(h, w, 3) in [-1, 1] of a picture after some of its steps, or all."""
    red, green, blue = request.seed % 11 / 11, index / 11, (request.run if done is None else done) / 101
    return np.broadcast_to(np.array([red, green, blue], np.float32), (SIDE, SIDE, 3))


def served():
    """What a server needs besides the program."""

    def read(prompt, negative):
        if prompt == TOO_LONG:
            raise ApiError("prompt is too long: the network reads 24 tokens", field="prompt")
        return ReadTexts(prompt, negative, ["prompt: no caption has the word cat"] if "cat" in prompt else [])

    return ServedNetwork(
        *("fake", "pictures of one colour", SIDE, SIDE, (SIDE, SIDE, 3), {}, samplers.ddim(), None, 100, 30, read),
        *(None, None, None, None),
    )
