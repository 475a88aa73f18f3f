"""Variants of a test, the dearest of which run with the slow tests alone."""

import pytest


def some_slow(names, slow):
    """The names as arguments of `parametrize`; those in `slow` are marked."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]
