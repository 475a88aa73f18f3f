"""The run folder: atomic files, and metrics that survive a torn line."""

import dataclasses
import json
import re
import types
from pathlib import Path

import pytest

from gendiff.core.errors import ConfigError, DataError
from gendiff.runs import configuration, run_folder
from gendiff.runs.run_folder import RunFolder
from tests.tables import table

LINES = [{"seed": seed, "step": step, "loss": 0.1 * step} for seed in (0, 1) for step in (1, 2, 3)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return run_folder.create(tmp_path / "run")


def test_metrics_come_back_as_they_were_written_by_seed_and_as_floats(folder):
    folder.append_metrics(LINES[:3])
    folder.append_metrics(LINES[3:])
    assert folder.read_metrics() == LINES and folder.read_metrics(1) == LINES[3:]
    folder.append_metrics([{"seed": 2, "step": 1, "loss": float("inf"), "norm": float("nan")}])
    (line,) = folder.read_metrics(2)
    assert line["loss"] == float("inf") and line["norm"] != line["norm"]


def test_metrics_are_on_disk_before_a_checkpoint_can_know_of_them(folder, monkeypatch):
    synced = []
    monkeypatch.setattr(run_folder.os, "fsync", lambda number: synced.append(folder.metrics.read_bytes().count(b"\n")))
    folder.append_metrics(LINES[:2])
    folder.append_metrics(LINES[2:3])
    assert synced == [2, 3]


def test_a_list_of_bad_files_makes_no_folder_strange(folder):
    folder.bad_files.write_text("a.png\n")
    assert run_folder.create(folder.path).path == folder.path


@pytest.mark.fault("torn last line of the metrics file")
@table("torn", [b'{"seed": 0, "st', b'{"seed": 0, "st\n', b"\x00\x00\n"])
def test_a_torn_last_line_is_ignored_by_readers_and_removed_by_truncation(tmp_path, torn):
    folder = run_folder.create(tmp_path / "run")
    folder.append_metrics(LINES[:3])
    content = folder.metrics.read_bytes()
    folder.metrics.write_bytes(content + torn)
    assert folder.read_metrics() == LINES[:3]
    folder.truncate_metrics(0, 3)
    assert folder.metrics.read_bytes() == content


def test_a_broken_line_within_is_an_error_with_its_number(folder):
    folder.metrics.write_text('{"seed": 0, "step": 1}\nbroken\n{"seed": 0, "step": 3}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl: line 2 is broken"):
        folder.read_metrics()


@pytest.mark.fault("a number in the metrics file is changed")
@table("line", range(6))
def test_a_changed_digit_of_the_metrics_is_an_error_with_its_line(tmp_path, line):
    folder = run_folder.create(tmp_path / str(line))
    folder.append_metrics(LINES)
    lines = folder.metrics.read_text().splitlines(keepends=True)
    lines[line] = lines[line].replace('"loss": 0.', '"loss": 9.')
    folder.metrics.write_text("".join(lines))
    with pytest.raises(DataError, match=rf"metrics\.jsonl: line {line + 1} \(step .* does not fit its digest"):
        folder.read_metrics()


@pytest.mark.fault("a number in the metrics file is changed")
def test_a_line_without_its_digest_or_after_a_missing_one_is_an_error(folder):
    folder.append_metrics(LINES)
    content = folder.metrics.read_text().splitlines(keepends=True)
    folder.metrics.write_text("".join([content[0], re.sub(', "digest".*"', "", content[1]), *content[2:]]))
    with pytest.raises(DataError, match="line 2 .* digest"):
        folder.read_metrics()
    folder.metrics.write_text("".join(content[:1] + content[2:]))
    with pytest.raises(DataError, match="line 2 .* digest"):
        folder.read_metrics()


def test_metrics_of_an_earlier_version_are_read_and_chained_to(folder):
    older = "".join(json.dumps(line) + "\n" for line in LINES[:2])
    folder.metrics.write_text(older)
    folder.append_metrics(LINES[2:])
    assert folder.read_metrics() == LINES
    folder.metrics.write_text(folder.metrics.read_text().replace('"loss": 0.2', '"loss": 0.9', 1))
    with pytest.raises(DataError, match="line 3 .* does not fit its digest"):
        folder.read_metrics()


def test_lines_are_the_same_in_one_write_or_in_several_and_after_a_resume(tmp_path):
    one, several = (run_folder.create(tmp_path / name) for name in ("one", "several"))
    one.append_metrics(LINES)
    for line in LINES[:3]:
        several.append_metrics([line])
    several.truncate_metrics(0, 2)
    several.append_metrics(LINES[2:])
    assert one.metrics.read_bytes() == several.metrics.read_bytes()


def test_truncation_touches_one_seed_and_later_steps_only(folder):
    folder.append_metrics(LINES)
    folder.truncate_metrics(1, 1)
    assert folder.read_metrics() == LINES[:4]


@pytest.mark.fault("occupied output folder")
def test_what_an_option_names_to_write_is_refused_where_it_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    cases = (
        (tmp_path / "file", False, "--to .* is a file, not a folder"),
        (tmp_path / "file" / "a.npz", True, "--to .* is a file, not a folder"),
        (tmp_path, True, "--to .* is a folder, not a file"),
        ("https://example.org/a.npz", True, "--to https://.* is a URL"),
    )
    for path, is_file, message in cases:
        with pytest.raises(ConfigError, match=message):
            run_folder.writable("to", path, file=is_file)
    assert run_folder.writable("to", tmp_path / "new" / "deep") == tmp_path / "new" / "deep"
    assert run_folder.writable("to", tmp_path / "file", file=True) == tmp_path / "file"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.fault("occupied output folder", "command line: checkpoint path that is a file or URL")
def test_a_run_folder_is_refused_where_it_cannot_be(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for bad, reason in ((file, "is a file"), ("gs://bucket/run", "is a URL"), (file / "below", "cannot be made")):
        with pytest.raises(ConfigError, match=reason):
            run_folder.create(bad)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"thesis\.tex but no config\.json"):
        run_folder.create(tmp_path / "other")


@pytest.mark.fault("command line: output folder of another config")
def test_another_configuration_is_refused_with_a_table(folder):
    first = configuration.Resolved("toy", "full", False, {"steps": 3, "network": {"width": 8, "depth": 2}})
    assert configuration.settle(folder, first) == first
    assert configuration.settle(folder, first) == first
    with pytest.raises(ConfigError, match="--smoke +false +true"):
        configuration.settle(folder, dataclasses.replace(first, smoke=True))
    with pytest.raises(ConfigError, match="--out") as caught:
        configuration.settle(
            folder, configuration.Resolved("toy", "demo", False, {"steps": 4, "network": {"width": 8, "depth": 3}})
        )
    lines = str(caught.value).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["setting", "stored", "wanted"],
        ["network.depth", "2", "3"],
        ["steps", "3", "4"],
    ]


@dataclasses.dataclass(frozen=True)
class Steps:
    steps: int = 3


def test_a_run_whose_configuration_had_thresholds_goes_on_without_them(folder):
    older = configuration.Resolved("toy", "full", False, {"steps": 4, "thresholds": {"error": 0.1}})
    configuration.settle(folder, older)
    stored = configuration.settle(folder, dataclasses.replace(older, config={"steps": 4}))
    assert configuration.restore(stored, Steps, folder) == Steps(4)


@pytest.mark.fault("command line: --seed outside 0…2³²−1")
@table("seeds", [(-1,), (2**32,), (3, 3)])
def test_seeds_that_alias_are_refused(seeds):
    with pytest.raises(ConfigError, match="--seed"):
        configuration.seeds(types.SimpleNamespace(seeds=seeds))


FIRST = '{"seed": 0, "step": 1, "loss": 1.0}'


@pytest.mark.fault("metrics file cut or doubled")
@table(
    ("second", "reason"),
    [
        (FIRST, r"line 2 is doubled or moved \(step 1 of seed 0 comes after step 1\)"),
        ('{"seed": 0, "step": 2, "losr": 1.0}', "line 2 is broken .*losr, loss"),
        ('{"seed": 0, "step": 2, "loss": "l.0"}', "line 2 is broken .*loss is 'l.0', no number"),
        ('{"seed": 0, "stdp": 2, "loss": 1.0}', "line 2 is broken .*no whole numbers seed and step"),
        ('{"seed": 0, "step": 2.0, "loss": 1.0}', "line 2 is broken"),
        ("[1, 2]", "line 2 is broken"),
        ("\udcff", "line 2 is broken"),
    ],
)
def test_a_line_of_metrics_that_cannot_be_right_is_an_error_with_its_number(tmp_path, second, reason):
    folder = run_folder.create(tmp_path / "run")
    third = '{"seed": 0, "step": 3, "loss": 1.0}'
    folder.metrics.write_bytes(f"{FIRST}\n{second}\n{third}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=rf"metrics\.jsonl: {reason}"):
        folder.read_metrics()


@pytest.mark.fault("metrics file cut or doubled")
@table(("remaining", "line"), [((), 1), ((2, 4), 3), ((4, 6), 1), ((2, 6), 2)])
def test_a_resume_needs_every_logged_step(tmp_path, remaining, line):
    folder = run_folder.create(tmp_path / "run")
    folder.append_metrics({"seed": 0, "step": step, "loss": 1.0} for step in (2, 4, 6, 7))
    folder.check_metrics(0, 7, 2)
    with pytest.raises(DataError, match="step 8 of seed 0 is missing"):
        folder.check_metrics(0, 8, 2)
    folder.metrics.unlink()
    folder.append_metrics({"seed": 0, "step": step, "loss": 1.0} for step in remaining)
    with pytest.raises(
        DataError, match=rf"metrics\.jsonl: line {line}: step . of seed 0 is missing .* checkpoint is that of step 7"
    ):
        folder.check_metrics(0, 7, 2)


def test_what_killed_processes_left_half_written_is_removed_and_nothing_else(tmp_path):
    left = [tmp_path / ".report.html.0a1b.tmp", tmp_path / "set" / "progress" / ".a.png.0a1b.tmp"]
    remaining = [
        tmp_path / "report.html",
        tmp_path / ".lock",
        tmp_path / ".pictures" / "key" / ".shard.npy.0a1b.tmp",
        tmp_path / "notes.tmp",
    ]
    for file in (*left, *remaining):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
    RunFolder(tmp_path).tidy()
    assert not any(file.exists() for file in left) and all(file.exists() for file in remaining)
