"""Every scheduler of diffusers and function of k-diffusion follows gendiff's sampler on one exact denoiser, or differs
by a known size.
"""

import inspect

import pytest

pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from tests.peers import diffusers_run, table  # noqa: E402
from tests.peers.agreements import AGREEMENTS  # noqa: E402
from tests.peers.differences import ABSENT, APART, DIFFERENCES  # noqa: E402

# their warnings are not ours
pytestmark = [pytest.mark.peers, pytest.mark.float64, pytest.mark.filterwarnings("ignore")]

SAME, AS_SHIPPED = 1e-9, 1e-5


def runner(peer):
    """The module that runs its cases."""
    if peer == "diffusers":
        return diffusers_run
    return pytest.importorskip(
        "tests.peers.k_diffusion_run", reason="needs k-diffusion: make test-peers", exc_type=ImportError
    )


def rows(table):
    return [
        pytest.param(peer, row, id=str(getattr(row, "case", row))) for peer, listed in table.items() for row in listed
    ]


@pytest.mark.parametrize(("peer", "case"), rows(AGREEMENTS))
def test_the_peer_ends_where_gendiff_does_and_asks_as_often(peer, case):
    run, sampler = runner(peer).run, case.ours()
    for kind in case.kinds:
        theirs = run(case, kind)
        assert theirs.distance(sampler) < SAME, kind
        assert sampler.evaluations(len(theirs.levels) - 1) == theirs.evaluations
    assert run(case, kind, shipped=True).distance(sampler) < AS_SHIPPED, "in the peer's own precision"


@pytest.mark.parametrize(("peer", "difference"), rows(DIFFERENCES))
def test_the_difference_has_the_stated_size_and_cause(peer, difference):
    run, case = runner(peer).run, difference.case
    theirs = run(case, case.kinds[0])
    distance = theirs.distance(case.ours())
    if difference.shipped:
        assert distance < SAME
        distance = run(case, case.kinds[0], shipped=True).distance(case.ours())
        assert difference.size / 3 < distance < 3 * difference.size  # rounding is the processor's affair
    else:
        assert distance == pytest.approx(difference.size, rel=0.1)
    if difference.proof is not None:
        assert theirs.distance(difference.proof) < SAME


@pytest.mark.parametrize("peer", AGREEMENTS)
def test_whatever_the_peer_offers_is_in_a_table(peer):
    if peer == "diffusers":
        base = diffusers.schedulers.scheduling_utils.SchedulerMixin
        kinds = [getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")]
        names = {
            kind.__name__.removesuffix("Scheduler")
            for kind in kinds
            if inspect.isclass(kind) and issubclass(kind, base)
        }
    else:
        names = {name for name in dir(runner(peer).sampling) if name.startswith("sample_")}
    listed = {case.name for case in AGREEMENTS[peer]} | {difference.case.name for difference in DIFFERENCES[peer]}
    assert names - listed - set(ABSENT[peer]) - set(APART[peer]) == set()


def test_the_page_shows_what_is_asserted():
    assert table.FILE.read_text(encoding="utf-8") == "\n".join(table.markdown())
