"""The rigs for tables are tests of every row."""

import pytest

from tests.refusals import refusals
from tests.tables import table


def test_a_table_runs_every_case_with_files_of_its_own_and_lists_those_that_failed(tmp_path):
    @table("number, limit", [(1, 2), (3, 2), (2, 2), (4, 2)])
    def test(number, limit, tmp_path):
        (tmp_path / "file").write_text("")
        assert [path.name for path in tmp_path.iterdir()] == ["file"] and number <= limit

    with pytest.raises(AssertionError, match=r"(?s)2 of 4 cases failed:\n- {'number': 3.*\n- {'number': 4"):
        test(tmp_path=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_case_may_fail_by_raising_nothing_and_a_table_without_a_case_is_refused():
    @table("error", [ValueError, TypeError])
    def test(error):
        with pytest.raises(error):
            raise ValueError

    with pytest.raises(AssertionError, match="1 of 2 cases failed"):
        test()
    with pytest.raises(AssertionError, match="tests nothing"):
        table("number", [])


def test_a_case_that_is_skipped_leaves_the_others_to_run_and_is_said_last():
    seen = []

    @table("number", [1, 2, 3])
    def test(number):
        seen.append(number)
        if number == 2:
            pytest.skip("two")

    with pytest.raises(pytest.skip.Exception, match="two"):
        test()
    assert seen == [1, 2, 3]


def test_a_table_of_refusals_lists_what_is_not_refused_as_it_says():
    rows = (
        (lambda: int("a"), "literal"),
        (lambda: int("1"), "literal"),
        (lambda: int("a"), "number"),
        (lambda: int(None), "literal"),
    )
    with pytest.raises(
        AssertionError, match="(?s)3 of 4 rows.*nothing is raised.*ValueError says.*TypeError in place of ValueError"
    ):
        refusals(*rows)()
