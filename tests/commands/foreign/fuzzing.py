"""Tries parsers with files in which anything may have changed: `python -m tests.commands.foreign.fuzzing SECONDS
[WORDS …]` takes those with one of the words in their name, says what goes wrong and with which seed, and records how
many tries each had, and how many held, for the page of faults.
"""

import argparse
import itertools
import json
import random
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jaxtyping
from hypothesis import strategies as st

from gendiff.commands.serve.api_errors import ApiError
from tests.commands.foreign import mutations, trial
from tests.commands.foreign.parsers import PARSERS, Parser

RECORD = Path(__file__).with_name("last_run.json")
ROUND, LEAST = 50, 200
"""Tries with one seed; those of each parser that are recorded at least, however long they take."""


@st.composite
def changes(draw: st.DrawFn, parser: Parser, valid: dict[str, bytes]) -> tuple[str, bytes]:
    """(a file, what it holds then)."""
    name = draw(st.sampled_from(parser.files))
    return name, draw(mutations.contents(name, valid[name], parser.head))


def read(parser: Parser, folder: Path) -> bool:
    """As `trial.read`."""
    return trial.read(parser.read, folder, parser.errors, with_path=ApiError not in parser.errors)


def tried(parser: Parser, folder: Path, seed: int, count: int = ROUND) -> Iterator[bool]:
    """Of each try, whether the files were read; the folder is made for them. Raises Fault, as `trial.read` does."""
    folder.mkdir()
    parser.write(folder)
    valid = {name: (folder / name).read_bytes() for name in parser.files}
    outcomes: list[bool] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        derandomize=False,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(changes(parser, valid))
    def run(change: tuple[str, bytes]) -> None:
        name, content = change
        (folder / name).write_bytes(content)
        try:
            outcomes.append(read(parser, folder))
        finally:
            (folder / name).write_bytes(valid[name])

    try:
        run()
    finally:
        shutil.rmtree(folder)
        yield from outcomes


def seeds(first: int, seconds: float, rounds: int = 1) -> Iterator[int]:
    """One after the other, until so many seconds are over, and at least so many."""
    end = time.monotonic() + seconds
    yield from itertools.takewhile(lambda seed: seed < first + rounds or time.monotonic() < end, itertools.count(first))


def main() -> None:
    """Prints a line for each parser, and one for each fault."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("seconds", type=float)
    options.add_argument("words", nargs="*")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**24))
    arguments = options.parse_args()
    warnings.simplefilter("error")
    jaxtyping.config.update("jaxtyping_disable", True)
    record = json.loads(RECORD.read_text(encoding="utf-8"))["parsers"] if RECORD.exists() else {}
    for name, parser in PARSERS.items():
        if arguments.words and not any(word in name for word in arguments.words):
            continue
        outcomes, faults = [], set()
        with tempfile.TemporaryDirectory() as folder:
            for seed in seeds(arguments.seed, arguments.seconds, LEAST // ROUND):
                try:
                    for outcome in tried(parser, Path(folder) / "files", seed):
                        outcomes.append(outcome)
                except trial.Fault as fault:
                    outcomes.append(None)
                    if (words := str(fault).replace(folder, "")[:60]) not in faults:
                        print(f"{name}, seed {seed}: {fault}", flush=True)
                    faults.add(words)
        record[name] = {"tried": len(outcomes), "held": len(outcomes) - outcomes.count(None)}
        print(f"{name}: {record[name]}, {sum(outcome is True for outcome in outcomes)} were read", flush=True)
    rows = {name: record[name] for name in PARSERS if name in record}
    RECORD.write_text(f"{json.dumps({'seconds': arguments.seconds, 'parsers': rows}, indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
