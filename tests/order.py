"""Which tests run first, and which are left to another run.

A file is a group that one worker runs: its tests share programs and fixtures. The dearest group comes first, so that
the workers end together. Slow tests come by their worth before that.
"""

import collections
import hashlib
import os
import time
from pathlib import Path

import pytest

from gendiff.runs.reporting import processor
from tests.costs import STUDIES, Costs

BEGAN = time.monotonic()
FIRST, LAST = 1, 3
"""Ranks of slow tests: what would lose somebody's work or keep a user out comes first, studies come last, and all
others between them.
"""
DURABILITY = (
    *(
        "test_kills",
        "test_disk",
        "test_interruption",
        "test_resume",
        "test_run_lock",
        "test_last_checkpoints",
        "test_cache",
    ),
    *("test_checkpoints_processes", "test_sharded_sample", "test_batch_jobs", "test_jobs", "test_serve_command"),
)
REAL_WEIGHTS = ("test_smollm2", "test_mini_lm", "test_named_networks", "test_chat")
INSTALLED = ("test_package", "test_pages", "test_architecture", "test_command_line", "test_from_folder_to_pod")
MANY_PROCESSES = (
    "test_distributed",
    "test_sharding",
    "test_many_devices",
    "test_meshes",
    "test_images_processes",
    "test_promises",
)
BROWSER = ("test_report_browser", "test_page_browser", "test_copies_browser")
WORTH_MOST = {*DURABILITY, *REAL_WEIGHTS, *INSTALLED, *MANY_PROCESSES, *BROWSER}
"""Names of the test files whose slow tests are of the first rank."""


def rank(nodeid: str) -> int:
    """1, 2 or 3: what a slow test is worth where there is no time for all."""
    file = nodeid.partition("::")[0]
    return FIRST if Path(file).stem in WORTH_MOST else LAST if file.startswith(STUDIES) else 2


def third(text: str) -> int:
    """0, 1 or 2, by the text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 3


def without_group(nodeid: str) -> str:
    """The name of a test without the group that pytest-xdist appends to it."""
    return nodeid.rpartition("@")[0] if nodeid.rfind("@") > nodeid.rfind("]") else nodeid


class Order:
    """The plugin of one process: of the controller, or of one worker.

    end_within: seconds of this process in which a test must be expected to end, by its recorded costs; it is skipped
    otherwise. commit: of the slow tests of studies only the third of this commit's hash is run. record: whether the
    costs of this run are recorded.
    """

    def __init__(self, end_within: float | None, commit: str | None, record: bool) -> None:
        self.end_within, self.commit, self.record = end_within, commit, record
        self.costs = Costs.read()
        self.seconds: collections.Counter[str] = collections.Counter()
        self.slow: set[str] = set()
        self.ranks: dict[int, collections.Counter[str]] = collections.defaultdict(collections.Counter)

    @pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        chosen, others = [], []
        for item in items:
            (others if self._of_another_commit(item) else chosen).append(item)
        config.hook.pytest_deselected(items=others)
        items[:] = chosen
        totals: collections.Counter[str] = collections.Counter()
        for item in items:
            totals[_group(item)] += self.costs.of(item.nodeid)
        items.sort(key=lambda item: (rank(item.nodeid) if _slow(item) else 0, -totals[_group(item)], _group(item)))
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_group(item)))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self.end_within is None:
            return
        left, cost = self.end_within - (time.monotonic() - BEGAN), self.costs.of(without_group(item.nodeid))
        if cost > left:
            pytest.skip(f"{left:.0f} s are left of {self.end_within:.0f} s, and it takes {cost:.0f} s")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = without_group(report.nodeid)
        self.seconds[name] += report.duration
        if "slow" in report.keywords:
            self.slow.add(name)
            if report.when == "setup" or (report.when == "call" and report.skipped):
                self.ranks[rank(name)]["skipped" if report.skipped else "begun"] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        if self.record:
            self.costs.recorded(dict(self.seconds), self.slow, processor.name()).write()
        if self._first_are_missing() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        if not self.ranks:
            return
        terminalreporter.section("slow tests by worth")
        for of_rank, counts in sorted(self.ranks.items()):
            terminalreporter.line(f"rank {of_rank}: {counts['begun']} begun, {counts['skipped']} skipped")
        if self.commit is not None:
            terminalreporter.line(f"of rank {LAST} these are the third of commit {self.commit[:9]}")
        if self._first_are_missing():
            terminalreporter.line(f"FAILED: in CI no slow test of rank {FIRST} may be skipped", red=True)

    def _first_are_missing(self) -> bool:
        return bool(os.environ.get("CI")) and self.ranks.get(FIRST, {}).get("skipped", 0) > 0

    def _of_another_commit(self, item: pytest.Item) -> bool:
        of_last = self.commit is not None and _slow(item) and rank(item.nodeid) == LAST
        return of_last and third(item.nodeid) != third(self.commit or "")


def _slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def _group(item: pytest.Item) -> str:
    """The file; the test itself where slow tests of one file share nothing."""
    name = without_group(item.nodeid)
    return name if _slow(item) and item.path.stem == "test_every" else name.partition("::")[0]
