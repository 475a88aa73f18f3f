import json

import pytest

from gendiff.commands import command_line
from gendiff.runs import errors, goodput
from gendiff.runs.reporting import results
from gendiff.runs.run_folder import RunFolder
from tests.runs import toy


def write(folder, *lines):
    folder.mkdir(exist_ok=True)
    (folder / "timings.jsonl").write_text("".join(f"{line}\n" for line in lines))


def loop(**seconds):
    spent = dict.fromkeys(("compile", "data", "step", "checkpoint", "idle"), 0.0) | seconds
    return json.dumps({"phase": "steps", "seed": 0, "within": "train", "seconds": sum(spent.values()), **spent})


def test_the_parts_of_all_processes_and_folders_add_up_to_the_seconds_of_training(tmp_path):
    train = json.dumps({"phase": "train", "seconds": 10.0})
    write(tmp_path, loop(compile=2.0, step=5.0), train, loop(step=3.0, data=1.0), train, '{"phase": "steps", "comp')
    write(tmp_path / "shuffled", loop(checkpoint=1.0, idle=0.5))
    (table,) = goodput.tables(RunFolder(tmp_path))
    seconds = [row[1] for row in table.rows]
    assert seconds == [2.0, 1.0, 8.0, 1.0, 0.5, 7.5, 20.0] and table.rows[2][2] == 0.4
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1])


def test_a_process_that_was_killed_leaves_no_share_above_the_whole(tmp_path):
    write(tmp_path, loop(step=3.0, data=1.0))  # and no line of the stage around it
    (table,) = goodput.tables(RunFolder(tmp_path))
    assert table.rows[-2][1:] == (0.0, 0.0) and table.rows[-1][1:] == (4.0, 1.0) and table.rows[2][2] == 0.75


def test_a_run_shows_where_its_time_went(tmp_path):
    assert (
        command_line.main(["run", "toy", "--train-steps", "3", "--out", str(tmp_path)], {"toy": toy.EXPERIMENT})
        == errors.DONE
    )
    table = results.read(tmp_path).tables[-1]
    assert table.title == goodput.TITLE and table.rows[-1][2] == 1.0
    assert sum(row[1] for row in table.rows[:-1]) == pytest.approx(table.rows[-1][1], abs=0.05)
    assert "Where the time of training went" in (tmp_path / "report.html").read_text()


def test_a_folder_without_a_training_has_no_table(tmp_path):
    assert goodput.tables(RunFolder(tmp_path)) == ()
