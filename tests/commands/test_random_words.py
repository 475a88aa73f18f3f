"""Random command lines: a documented exit code, no traceback, a short message."""

import random
from pathlib import Path

import pytest

from gendiff.commands import command_line
from gendiff.runs import errors
from tests.runs import toy

CODES = {errors.DONE, errors.FAILED, errors.USAGE, errors.NON_FINITE, errors.BAD_DATA, errors.NO_DEVICE, errors.DISK}
COMMANDS = (
    "run",
    "sample",
    "evaluate",
    "report",
    "finalize",
    "list",
    "toy",
    "bench",
    "help",
    "--version",
    "-h",
    "rnu",
    "",
    "--quiet",
)
PLACES = (
    "runs/toy-smoke",
    "samples",
    "file",
    "nowhere",
    "runs",
    ".",
    "/dev/null",
    "/proc/self",
    "gs://bucket/run",
    "a" * 300,
    "ü \udcff\n",
    "~",
    "~nosuch",
)
OPTIONS = (
    *(
        "--smoke",
        "--help",
        "--quiet",
        "--strict",
        "--force",
        "--verify",
        "--preset",
        "--out",
        "--seed",
        "--seeds",
        "--resume",
        "--profile",
    ),
    *(
        "--train-steps",
        "--batch",
        "--log-every",
        "--checkpoint-every",
        "--learning-rate",
        "--poisoned",
        "--thresholds.loss",
        "--thresholds",
    ),
    *(
        "--num",
        "--index",
        "--steps",
        "--guidance",
        "--sampler",
        "--eta",
        "--temperature",
        "--label",
        "--trained-seed",
        "--together",
    ),
    *("--grid", "--sigma-min"),
    *(
        "--shard-size",
        "--shards",
        "--to",
        "--compile-cache",
        "--no-smoke",
        "--smok",
        "-x",
        "--",
        "--dry-run",
        "--distributed",
        "--log",
    ),
)
VALUES = (
    *(
        "0",
        "1",
        "2",
        "3",
        "-1",
        "1.5",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "10**9",
        "99999999999999999999",
        "4294967296",
        "none",
        "None",
    ),
    *(
        "",
        " ",
        "--",
        "a,b",
        "1:2",
        "2:1",
        "0-1",
        "9-",
        "toy",
        "demo",
        "full",
        "ddim",
        "heun",
        "'",
        '"',
        "\\",
        "%s",
        "{}",
        "[red]",
        "$HOME",
        "é",
    ),
)
MANY = 330


def words(draw):
    """One command line: a command that is mostly a real one, its argument, options and values, now and then in the
    wrong place.
    """
    line = [draw.choice(COMMANDS[:5] * 4 + COMMANDS)]
    if line[0] == "run":
        line += [
            draw.choice(("toy", "toy", "toy", "tyo", "")),
            *(("--smoke",) if draw.random() < 0.8 else ("--train-steps", "2")),
        ]
    elif draw.random() < 0.9:
        line.append(draw.choice(PLACES[:2] * 4 + PLACES))
    for _ in range(draw.randrange(4)):
        line.append(draw.choice(OPTIONS))
        line += [draw.choice(VALUES + PLACES) for _ in range(draw.choice((0, 1, 1, 1, 2)))]
    if draw.random() < 0.1:
        draw.shuffle(line)
    return line


@pytest.mark.fault("random command lines", "command line: wrong type")
@pytest.mark.filterwarnings("ignore")
def test_no_command_line_ends_in_a_traceback_or_a_long_message(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = {"toy": toy.EXPERIMENT}
    assert command_line.main(["run", "toy", "--smoke"], known) == 0
    assert (
        command_line.main(
            ["sample", "runs/toy-smoke", "--num", "4", "--shard-size", "2", "--steps", "2", "--out", "samples"], known
        )
        == 0
    )
    Path("file").write_text("no folder")
    draw, codes = random.Random(0), {}
    for _ in range(MANY):
        line = words(draw)
        capsys.readouterr()
        try:
            code = command_line.main(line, known)
        except BaseException as error:
            raise AssertionError(f"{line} raised {error!r}") from error
        message = capsys.readouterr().err
        assert code in CODES, (line, code)
        assert len(message.splitlines()) <= command_line.MOST_LINES and "Traceback" not in message, (line, message)
        codes[code] = codes.get(code, 0) + 1
    assert codes.keys() >= {errors.DONE, errors.USAGE, errors.BAD_DATA} and max(codes.values()) < MANY, codes
