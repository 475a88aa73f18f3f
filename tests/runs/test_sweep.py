"""A sweep computes each row once, whoever is killed when, however many processes fill it, and whatever else lies in its
folder.
"""

import csv
import dataclasses
import json
import threading
import time

import pytest

from gendiff.commands import command_line
from gendiff.core.errors import ConfigError, DataError, NonFiniteError
from gendiff.runs import registry, run_folder, sweep
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting import verdicts
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.sweep import Shard
from tests.tables import table


@dataclasses.dataclass(frozen=True)
class Row:
    size: int = 1
    rate: float = 0.5
    seeds: tuple[int, ...] = (0, 1)


@dataclasses.dataclass(frozen=True)
class OtherRow(Row):
    pass


class Trained:
    """Answers twice the size of a row for each seed, and remembers which rows it was asked for. dies: the size at which
    it ends.
    """

    def __init__(self, dies=None, pause=0.0):
        self.sizes, self.begun, self._dies, self._pause = [], [], dies, pause

    def __call__(self, row, folder, progress):
        assert (folder.log, folder.profile) == ((), None)  # of a thousand small trainings nobody looks at each
        self.mesh = folder.mesh
        self.begun.append((folder.path / "checkpoint").exists())
        (folder.path / "checkpoint").touch()
        if row.size == self._dies:
            raise RuntimeError("killed")
        time.sleep(self._pause)
        self.sizes.append(row.size)
        return [{"seed": seed, "loss": 2.0 * row.size} for seed in row.seeds]


class Lines(Progress):
    """Remembers what it would have shown."""

    def __init__(self):
        super().__init__(quiet=True)
        self.shown = []

    def line(self, text):
        self.shown.append(text)


ROWS = [Row(size) for size in (1, 2, 3, 4, 5)]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def compute(folder, train, rows=ROWS, part=None):
    lines = Lines()
    sweep.run(rows, train, folder, lines, part)
    return "\n".join(lines.shown)


def test_every_row_is_computed_once_in_order_and_a_finished_one_never_again(folder):
    first, second = Trained(), Trained()
    compute(folder, first, [*ROWS, Row(2)])
    assert first.sizes == [1, 2, 3, 4, 5]
    assert "5 of 5 rows" in compute(folder, second) and second.sizes == []
    rows = sweep.results(ROWS, folder)
    assert [row for row, _ in rows] == ROWS
    assert [finished.lines[1] for _, finished in rows] == [{"seed": 1, "loss": 2.0 * row.size} for row in ROWS]
    assert not [path for path in folder.rows.iterdir() if path.is_dir()]  # no checkpoint is left


def test_an_id_changes_with_the_kind_of_a_row_and_with_any_of_its_fields_and_with_nothing_else():
    others = [
        OtherRow(),
        *(dataclasses.replace(Row(), **change) for change in ({"size": 2}, {"rate": 0.25}, {"seeds": (0,)})),
    ]
    assert sweep.id_of(Row()) == sweep.id_of(Row(size=1))
    assert len({sweep.id_of(row) for row in (Row(), *others)}) == 5


@pytest.mark.fault("a sweep is killed")
def test_a_killed_sweep_goes_on_within_the_row_where_it_was(folder):
    with pytest.raises(RuntimeError, match="killed"):
        compute(folder, Trained(dies=3))
    with pytest.raises(DataError, match="3 of 5 rows are not finished"):
        sweep.results(ROWS, folder)
    again = Trained()
    compute(folder, again)
    assert again.sizes == [3, 4, 5] and again.begun == [True, False, False]


@pytest.mark.fault("torn, damaged or foreign row of a sweep")
@table(
    ("damage", "words"),
    [
        (lambda text: text[:-20], "not JSON"),
        (lambda text: "", "not JSON"),
        (lambda text: json.dumps({"config": {}}), "lines"),
        (lambda text: text.replace('"size": 3', '"size": 7'), "another row than its name says"),
    ],
)
def test_a_row_whose_file_is_not_as_it_was_written_is_computed_again(folder, damage, words):
    compute(folder, Trained())
    file = folder.rows / f"{sweep.id_of(Row(3))}.json"
    file.write_text(damage(file.read_text()))
    again = Trained()
    assert words in compute(folder, again) and again.sizes == [3]
    assert len(sweep.results(ROWS, folder)) == 5


def test_rows_of_other_configurations_are_told_of_and_left_out(folder):
    compute(folder, Trained(), [*ROWS, Row(9)])
    again = Trained()
    output = compute(folder, again)
    assert f"1 rows of other configurations, such as {sweep.id_of(Row(9))}" in output and again.sizes == []
    assert len(sweep.results(ROWS, folder)) == 5


@pytest.mark.fault("several processes fill one sweep")
def test_processes_that_are_given_the_same_rows_compute_each_once_and_wait_for_each_other(folder, monkeypatch):
    monkeypatch.setattr(sweep, "WAIT", 0.02)
    both = [Trained(pause=0.03), Trained(pause=0.03)]
    threads = [threading.Thread(target=compute, args=(folder, train)) for train in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(both[0].sizes + both[1].sizes) == [1, 2, 3, 4, 5] and both[0].sizes and both[1].sizes
    assert len(sweep.results(ROWS, folder)) == 5


def test_a_shard_leaves_a_row_to_the_process_that_computes_it(folder):
    started, finish = threading.Event(), threading.Event()

    def slow(row, row_folder, progress):
        started.set()
        finish.wait(10)
        return [{"loss": 1.0}]

    thread = threading.Thread(target=compute, args=(folder, slow, ROWS[:1]))
    thread.start()
    started.wait(10)
    mine = Trained()
    output = compute(folder, mine, ROWS[:2], Shard(0, 1))
    finish.set()
    thread.join()
    assert mine.sizes == [2] and "1 rows are left to the processes" in output


def test_shards_part_the_rows_and_leave_none_out(folder):
    parts = [Trained(), Trained()]
    for number, train in enumerate(parts):
        compute(folder, train, part=Shard(number, 2))
    assert [train.sizes for train in parts] == [[1, 3, 5], [2, 4]]
    assert sweep.shard("3/4") == Shard(3, 4)
    for wrong in ("4/4", "1", "a/2", "1/2/3", "-1/2", "0/0", "", "١/٢", "1/" + "9" * 5000):
        with pytest.raises(ConfigError, match="--shards"):
            sweep.shard(wrong)


@pytest.mark.fault("a row of a sweep is not finite")
def test_a_row_that_is_not_finite_is_finished_as_failed_and_the_others_go_on(folder):
    trained = Trained()

    def some(row, row_folder, progress):
        if row.size == 2:
            raise NonFiniteError("loss was NaN")
        return trained(row, row_folder, progress)

    compute(folder, some)
    failed = dict(sweep.results(ROWS, folder))[Row(2)]
    assert (folder.rows / sweep.id_of(Row(2))).is_dir()  # the batch at which it failed may lie there
    assert trained.sizes == [1, 3, 4, 5] and failed.failed == "loss was NaN" and failed.lines == ()


def test_the_table_has_a_line_for_each_measurement_with_the_numbers_of_its_row(folder):
    compute(folder, Trained(), part=Shard(0, 3))
    with open(folder.path / sweep.TABLE, encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["size"], line["seed"], line["loss"]) for line in lines] == [
        ("1", "0", "2.0"), ("1", "1", "2.0"), ("4", "0", "8.0"), ("4", "1", "8.0")
    ]  # fmt: skip
    assert lines[0]["row"] == sweep.id_of(Row(1)) and float(lines[0]["seconds"]) >= 0 and "seeds" not in lines[0]


def test_a_number_that_is_not_finite_comes_back_as_one(folder):
    compute(folder, lambda row, row_folder, progress: [{"loss": float("nan"), "name": "a"}], ROWS[:1])
    ((_, finished),) = sweep.results(ROWS[:1], folder)
    assert finished.lines[0]["loss"] != finished.lines[0]["loss"] and finished.lines[0]["name"] == "a"


def test_who_owns_the_run_removes_nothing_that_another_process_writes_into_the_rows(folder):
    folder.rows.mkdir()
    mine, theirs = folder.path / ".results.json.0a.tmp", folder.rows / ".row.json.0a.tmp"
    for half_written in (mine, theirs):
        half_written.touch()
    folder.tidy()
    assert theirs.exists() and not mine.exists()


@dataclasses.dataclass(frozen=True)
class Config:
    sizes: tuple[int, ...] = (1, 2, 3)
    refused: bool = False


TRAINED = Trained()


def all_rows(config, folder, progress, shard=None):
    sweep.run([Row(size) for size in config.sizes], TRAINED, folder, progress, shard)


def evaluate(config, folder, progress):
    if config.refused:
        raise DataError("nothing fits these points")
    best = min(finished.lines[0]["loss"] for _, finished in sweep.results([Row(size) for size in config.sizes], folder))
    return registry.Outcome((verdicts.claim("least", "the least loss", best, (best, best), "<=", 2.0, n=3, seed=None),))


KNOWN = {"presets": {"full": Config()}, "smoke": Config(sizes=(1,)), "train": all_rows, "evaluate": evaluate}
CATALOGUE = {
    "swept": Experiment("swept", "Does a sweep sweep?", Config, sweep=all_rows, **KNOWN),
    "plain": Experiment("plain", "Is this none?", Config, **KNOWN),
}


def command(*words):
    TRAINED.sizes.clear()
    return command_line.main(["--quiet", "run", *words], CATALOGUE), list(TRAINED.sizes)


def test_the_shards_of_a_run_are_computed_by_commands_of_their_own_and_judged_by_the_one_without(tmp_path, capsys):
    out = ("--out", str(tmp_path / "run"))
    assert command("swept", "--shards", "0/2", "--mesh", "data=1", "--log", "none", *out) == (0, [1, 3])
    assert TRAINED.mesh == run_folder.axes("data=1")
    assert not (tmp_path / "run" / "results.json").exists()
    assert command_line.main(["report", out[1]], CATALOGUE) == 0
    assert "2 rows of its sweep are finished" in capsys.readouterr().out
    assert command("swept", "--shards", "1/2", *out) == (0, [2])
    assert command("swept", *out) == (0, [])
    assert json.loads((tmp_path / "run" / "results.json").read_text())["verdict"] == "PASS"
    assert command("swept", "--sizes", "1", "--shards", "0/2", *out)[0] == 2
    assert "another configuration" in capsys.readouterr().err
    for words, message in (
        (("plain", "--shards", "0/2"), "plain is no sweep"),
        (("swept", "--shards", "2/2"), "--shards 2/2"),
        (("swept", "--shards", "0/2", "--process", "1"), "--process 1: the processes of --shards need no connection"),
        (("swept", "--shards", "0/2", "--distributed", "on"), "--distributed on: the processes"),
        (("swept", "--profile", "1:2"), "--profile 1:2: the rows of the sweep swept are not traced"),
    ):
        assert command(*words, "--out", str(tmp_path / "new"))[0] == 2
        assert message in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_rows_that_took_hours_stay_where_judging_them_is_refused(tmp_path):
    out = ("--refused", "--out", str(tmp_path / "run"))
    assert command("swept", *out) == (65, [1, 2, 3])
    assert command("swept", *out) == (65, [])
