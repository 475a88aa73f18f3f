"""Our side of the bench in this process, compiled quickly."""

import jax
import numpy as np
import pytest

from experiments.bench import duel, weights
from experiments.bench.side import OurSide
from tests.quickly import quickly


def done(workload, path, folder=None, known=None):
    """(the side, which has done the work once, what it answers)."""
    side = OurSide()
    known = workload.family.inputs(workload, folder) if known is None else known
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quickly)
        assert side.prepare(**duel.request(workload, known, path, folder=folder), name="ours")["first"] > 0
        side.output(str(path / "out.npz"), "ours")
    with np.load(path / "out.npz") as stored:
        return side, dict(stored)


def changed(workload, folder, after):
    """By how much each parameter of a folder has changed, at most."""
    before = weights.read(workload, folder)
    return jax.tree.leaves(
        jax.tree.map(lambda old, new: float(np.abs(np.asarray(old) - np.asarray(new)).max()), before, after)
    )
