"""The command `bench`: it measures anew what it measured before, and touches nothing else."""

import pytest

from experiments.bench import bench
from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from gendiff.runs.reporting import results
from tests.runs import toy


@pytest.mark.fault("occupied output folder")
def test_results_of_another_run_are_never_overwritten(tmp_path, capsys):
    known = {"toy": toy.EXPERIMENT, "bench": bench.EXPERIMENT}
    run = tmp_path / "run"
    assert command_line.main(["run", "toy", "--smoke", "--out", str(run)], known) == 0
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert command_line.main(["bench", "--smoke", "--out", str(run)], known) == 2
    assert "no results of bench: choose another with --out" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_bench_takes_a_new_folder_and_its_own(tmp_path):
    folder = bench.own_folder(tmp_path / "new", "bench")
    environment = {"commit": None, "dirty": None, "versions": {}, "machine": {}}
    results.write(
        results.conclude("bench", "?", bench.EXPERIMENT.smoke, (), seeds=(), seconds={}, environment=environment),
        folder.path,
    )
    assert bench.own_folder(tmp_path / "new", "bench").path == folder.path
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("")
    for path, name, words in (
        ("file", "bench", "is a file"),
        ("full", "bench", "full holds a.txt but no results.json"),
        ("new", "growth", "new holds those of bench, and no results of growth"),
    ):
        with pytest.raises(ConfigError, match=words):
            bench.own_folder(tmp_path / path, name)
