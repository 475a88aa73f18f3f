"""DCGAN as a case of the bench; that both sides compute the same is shown beside torch, in tests/peers."""

import numpy as np
import pytest

from experiments.bench import dcgan, weights
from experiments.bench.workloads import NETWORKS, Workload
from tests.experiments.studies.bench.ours_alone import done

WORK = Workload("adversarial", "tiny_dcgan", batch=2)


@pytest.mark.slow
def test_a_step_changes_both_networks_and_answers_pictures_and_losses(tmp_path):
    side, first = done(WORK, tmp_path, weights.folder(WORK, tmp_path))
    second = side.ways["ours"].answer(side.ways["ours"].run())
    pictures = 2 * np.prod(WORK.shape)
    assert first["output"].shape == (pictures + 2,) and np.abs(first["output"][:pictures]).max() <= 1
    assert np.isfinite(second["output"]).all() and not np.allclose(first["output"][-2:], second["output"][-2:])
    assert dcgan.flops(WORK) > 1e5 and NETWORKS["dcgan"].settings.keys() == NETWORKS["tiny_dcgan"].settings.keys()
