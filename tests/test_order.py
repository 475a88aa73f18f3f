"""Tests in the order of their worth and cost, what is left out and said, and the shares of the chapters."""

import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest

from tests import costs, lazy_checks, order
from tests.costs import Costs

ROOT = Path(__file__).resolve().parents[1]


def test_no_chapter_takes_more_than_its_share_of_make_test():
    shares = Costs.read().shares()
    assert not {chapter: seconds for chapter, seconds in shares.items() if seconds > costs.MOST}


def test_every_file_of_the_first_rank_exists_and_studies_are_of_the_last():
    names = {path.stem for path in ROOT.glob("tests/**/test_*.py")}
    assert names >= order.WORTH_MOST
    assert (
        order.rank("tests/runs/test_kills.py::test_a[1]")
        == 1
        == order.rank("tests/experiments/studies/diffusion/test_batch_jobs.py::test_a")
    )
    assert (
        order.rank("tests/networks/test_lora.py::test_a") == 2
        and order.rank("tests/experiments/studies/test_every.py::test_a") == 3
    )


def test_a_record_replaces_the_files_of_its_run_sums_up_what_is_short_and_forgets_files_that_are_gone(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    known = Costs(
        "old",
        {"tests/test_pages.py": {"a": 5.0}, "tests/test_order.py": {"a": 9.0, "b": 1.0}, "tests/gone.py": {"a": 1.0}},
        {},
    )
    seconds = {
        "tests/test_order.py::a": 4.0,
        "tests/test_order.py::b": 0.06,
        "tests/test_order.py::c": 0.05,
        "tests/test_order.py::s": 20.0,
    }
    fresh = known.recorded(seconds, {"tests/test_order.py::s"}, "new")
    assert fresh == Costs(
        "new",
        {"tests/test_order.py": {"a": 4.0, "": 0.11}, "tests/test_pages.py": {"a": 5.0}},
        {"tests/test_order.py": {"s": 20.0}},
    )
    assert fresh.of("tests/test_order.py::s") == 20.0 and fresh.of("tests/test_order.py::c") == 0.0
    assert fresh.shares() == {"tests": pytest.approx((4.0 + 0.11 + 5.0) / costs.WORKERS)}


RUN = """
import sys, pytest
from tests import order
from tests.costs import Costs

plugin = order.Order(*{options})
plugin.costs = Costs("", {{}}, {costs})
sys.exit(pytest.main(["-q", "-rs", "-p", "no:cacheprovider", "-c", "pytest.ini", "."], plugins=[plugin]))
"""


def run(folder, *options, costs=None, **environment):
    """(exit code, what is printed) of a run of a small suite of slow tests by the plugin of ours."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow\n  xdist_group\n")
    for name, kind in (("test_kills", "slow"), ("test_other", "slow"), ("test_quick", "filterwarnings")):
        (folder / f"{name}.py").write_text(
            f"import pytest\n@pytest.mark.{kind}\ndef test_it(): print('ran {name}')\n".replace(
                "filterwarnings", 'filterwarnings("error")'
            )
        )
    program = RUN.format(options=options, costs=costs or {})
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_what_would_not_end_in_time_is_skipped_and_fails_a_run_of_ci_where_it_is_of_the_first_rank(tmp_path):
    for dear, ci, code in (("test_kills.py", True, 1), ("test_kills.py", False, 0), ("test_other.py", True, 0)):
        result, printed = run(
            tmp_path, 60.0, None, False, costs={dear: {"test_it": 1000.0}}, **({"CI": "true"} if ci else {})
        )
        assert result == code and "2 passed, 1 skipped" in printed and "it takes 1000 s" in printed, printed
        assert ("rank 1: 0 begun, 1 skipped" in printed) == (dear == "test_kills.py")
        assert ("FAILED: in CI no slow test of rank 1 may be skipped" in printed) == (code == 1)


def test_every_commit_runs_a_third_of_the_studies_slow_tests_and_three_commits_may_run_all():
    names = [f"{costs.STUDIES}/test_{number}.py::test_it" for number in range(300)]
    thirds = [[name for name in names if order.third(name) == chosen] for chosen in range(3)]
    assert sorted(sum(thirds, [])) == sorted(names) and min(map(len, thirds)) > 70
    assert {order.third(f"commit {number}") for number in range(20)} == {0, 1, 2}


def test_shapes_are_checked_at_the_first_call_by_the_same_words_as_at_import():
    def double(x: jaxtyping.Float[jaxtyping.Array, "n n"]) -> jaxtyping.Float[jaxtyping.Array, "n n"]:
        return 2 * x

    import beartype
    import jax.numpy as jnp

    messages = []
    for typed in (lazy_checks._at_once, lazy_checks.lazily_typed):
        checked = typed(typechecker=beartype.beartype)(double)
        assert checked.__name__ == "double" and checked(jnp.ones((2, 2))).shape == (2, 2)
        with pytest.raises(jaxtyping.TypeCheckError) as caught:
            checked(jnp.ones((2, 3)))
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and jaxtyping.jaxtyped is lazy_checks.lazily_typed
