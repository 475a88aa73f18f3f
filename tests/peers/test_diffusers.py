"""Every scheduler of diffusers follows gendiff's sampler on the same exact denoiser, or differs by as much as the table says."""

import inspect

import pytest

pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from tests.peers import diffusers_runs, exact, table  # noqa: E402
from tests.peers.diffusers_agreements import AGREEMENTS  # noqa: E402
from tests.peers.diffusers_differences import ABSENT, APART, DIFFERENCES  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.float64, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME, AS_SHIPPED = 1e-9, 1e-5


def ran(case, kind, **more):
    prediction_type = {} if kind is None else {"prediction_type": kind}
    return diffusers_runs.run(case.scheduler, case.steps, **case.options, **prediction_type, **more)


@pytest.mark.parametrize("case", AGREEMENTS, ids=str)
def test_the_scheduler_ends_where_gendiff_does_and_asks_as_often(case):
    for kind in case.kinds:
        theirs = ran(case, kind)
        levels = case.grid(theirs.levels)
        ours = exact.ours(case.ours(), levels, theirs.start)
        assert exact.worst(ours, theirs.end) < SAME, kind
        assert case.ours().evaluations(len(levels) - 1) == theirs.evaluations
    assert exact.worst(ours, ran(case, kind, shipped=True).end) < AS_SHIPPED, "in the scheduler's own precision"


@pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
def test_the_difference_has_the_stated_size_and_cause(difference):
    case = difference.case
    theirs = ran(case, case.kinds[0])
    levels = case.grid(theirs.levels)
    ours = exact.ours(case.ours(), levels, theirs.start)
    if difference.shipped:
        assert exact.worst(ours, theirs.end) < SAME
        distance = exact.worst(ours, ran(case, case.kinds[0], shipped=True).end)
        assert difference.size / 3 < distance < 3 * difference.size, distance  # rounding is the processor's affair
        return
    distance = exact.worst(ours, theirs.end)
    assert distance == pytest.approx(difference.size, rel=0.1)
    if difference.proof is not None:
        assert exact.worst(exact.ours(difference.proof, levels, theirs.start), theirs.end) < SAME


def test_every_scheduler_is_in_a_table():
    base = diffusers.schedulers.scheduling_utils.SchedulerMixin
    kinds = [getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")]
    names = {kind.__name__.removesuffix("Scheduler") for kind in kinds if inspect.isclass(kind) and issubclass(kind, base)}
    listed = {case.scheduler for case in AGREEMENTS} | {difference.case.scheduler for difference in DIFFERENCES} | set(ABSENT) | set(APART)
    assert names - listed == set()


def test_the_page_shows_what_is_asserted():
    assert table.FILE.read_text(encoding="utf-8") == "\n".join(table.markdown())
