"""Several processes are in tests/runs/test_distributed.py; here is what one process may rely on."""

import jax
import numpy as np

from gendiff.training import agreement, sharding


def test_one_process_asks_when_it_is_asked_and_needs_no_other():
    answers = iter([False, True, False])
    stop = agreement.Stop(lambda: next(answers), sharding.mesh())
    assert [stop(), stop(), stop.last()] == [False, True, False]
    never = agreement.Stop(None, sharding.mesh())
    assert not never() and not never.last()
    assert not agreement.spans_processes(sharding.mesh())
    assert agreement.of_first(7) == 7 and agreement.of_first(None) is None
    agreement.wait("a point")


def test_the_answer_of_several_processes_is_that_of_the_question_before(monkeypatch):
    # the collective runs over this process's devices
    monkeypatch.setattr(agreement, "spans_processes", lambda mesh: True)
    answers = iter([False, True, True, True])
    stop = agreement.Stop(lambda: next(answers), sharding.mesh())
    assert [stop(), stop(), stop(), stop.last()] == [False, False, True, True]


def test_one_process_loads_the_whole_batch():
    mesh = sharding.mesh()
    assert sharding.share(mesh) == (0, 1)
    batch = np.arange(jax.local_device_count() * 2)
    np.testing.assert_array_equal(sharding.shard({"rows": batch}, mesh)["rows"], batch)
