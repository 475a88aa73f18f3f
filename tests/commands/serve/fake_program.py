"""A program that draws without a network: a picture shows its seed, its index and how many steps it has taken."""

import threading

import numpy as np

from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.served_network import ReadTexts, ServedNetwork

SIDE = 8
TOO_LONG = "too long"


class Clock:
    """Time passes only where a program says so."""

    now = 100.0

    def __call__(self):
        return self.now


class FakeProgram:
    """Counts the steps of each slot itself, and complains where the batcher counts otherwise.

    spoilt: seeds whose pictures are not finite from their second step on. broken: seeds at which a step raises. open:
        cleared, steps wait.
    """

    def __init__(self, slots, clock=None, spoilt=(), broken=(), seconds=2.0):
        self.slots, self.clock, self.spoilt, self.broken, self.seconds = (
            slots,
            clock or Clock(),
            spoilt,
            broken,
            seconds,
        )
        self.open = threading.Event()
        self.open.set()
        self.inside, self.turns, self.restarts = {}, [], 0

    def enter(self, slot, request, words, index):
        self.inside[slot] = [request, index, 0]

    def step(self, slots, done):
        assert self.open.wait(20)
        assert len(set(slots)) == len(slots) <= self.slots
        assert [self.inside[slot][2] for slot in slots] == list(done), "a slot has taken another number of steps"
        if any(self.inside[slot][0].seed in self.broken for slot in slots):
            raise RuntimeError("no memory is left")
        self.clock.now += self.seconds
        self.turns.append(list(slots))
        for slot in slots:
            self.inside[slot][2] += 1
        return [not (self.inside[slot][0].seed in self.spoilt and self.inside[slot][2] > 1) for slot in slots]

    def picture(self, slot):
        request, index, done = self.inside[slot]
        return expected(request, index, done)

    def restart(self):
        self.inside, self.restarts = {}, self.restarts + 1


def expected(request, index, done=None):
    """(h, w, 3) in [-1, 1] of a picture after some of its steps, or all."""
    red, green, blue = request.seed % 11 / 11, index / 11, (request.steps if done is None else done) / 101
    return np.broadcast_to(np.array([red, green, blue], np.float32), (SIDE, SIDE, 3))


def served():
    """What a server needs besides the program."""

    def read(prompt, negative):
        if prompt == TOO_LONG:
            raise ApiError("prompt is too long: the network reads 24 tokens", field="prompt")
        return ReadTexts(prompt, negative, ["prompt: no caption has the word cat"] if "cat" in prompt else [])

    return ServedNetwork(
        "fake", "pictures of one colour", SIDE, SIDE, (SIDE, SIDE, 3), {}, None, None, 100, 30, read, None, None, None
    )
