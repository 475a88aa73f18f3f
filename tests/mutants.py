"""Plants faults in a copy of the tree, one at a time, and says which of them the tests find: python -m tests.mutants
[--jobs 2] [WORDS…].

tests/mutants.txt lists them. One process imports the libraries and forks for each fault, which then costs seconds.
Shapes are not checked by a hook as in the test run: what a fault changes must be found by what tests state. The exit
status is 1 where fewer than 95 % are found, a row fits its file no longer, or a named test fails without a fault. Slow
tests are left out, so a row that names one is no use.
"""

import argparse
import contextlib
import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).absolute().parents[1]
ENOUGH = 0.95
LIMIT = 180
"""Seconds for the tests of one fault; one that makes them hang is not found by them."""
IMPORTED = (
    "jax.numpy",
    "flax.linen",
    "optax",
    "orbax.checkpoint",
    "scipy.stats",
    "pytest",
    "safetensors",
    "msgspec",
    "tyro",
)
SETTINGS = dict(
    JAX_PLATFORMS="cpu", JAX_DISABLE_MOST_OPTIMIZATIONS="1", NPROC="1", OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1"
)
PYTEST = (*"-q -x -o addopts= --import-mode=importlib -p no:cacheprovider -m".split(), "not slow and not peers")


class Fault(NamedTuple):
    """A piece of a file that occurs in it once, what stands there in its place, and the tests of which one must fail
    then.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        shown = (" ".join(text.split()) or "nothing" for text in (self.old, self.new))
        return f"{self.file}: {' → '.join(text if len(text) < 70 else text[:67] + '…' for text in shown)}"


def listed(root: Path) -> list[Fault]:
    """The faults of tests/mutants.txt: a line of the file and its tests, the old lines behind "- ", the new ones behind
    "+ ".
    """
    faults = []
    for block in re.split(r"\n{2,}", (root / "tests" / "mutants.txt").read_text(encoding="utf-8").strip()):
        head, *lines = block.splitlines()
        file, *tests = re.split(r" (?=tests/)", head)
        old, new = ("\n".join(line[2:] for line in lines if line[0] == sign) for sign in "-+")
        faults.append(Fault(file, old, new, tuple(tests)))
    return faults


def stale(fault: Fault, root: Path) -> str:
    """Why a fault cannot be planted, or its tests not be run; "" where they can."""
    times = (root / fault.file).read_text(encoding="utf-8").count(fault.old) if (root / fault.file).exists() else 0
    if times != 1:
        return f"what it replaces occurs {times} times"
    for test in fault.tests:
        path, *names = test.partition("[")[0].split("::")
        if not (root / path).exists() or any(name not in (root / path).read_text(encoding="utf-8") for name in names):
            return f"there is no {test}"
    return "" if fault.tests else "it names no test"


def main(words: Sequence[str], jobs: int, root: Path) -> int:
    rows = [fault for fault in listed(root) if not words or any(word in " ".join(fault[:3]) for word in words)]
    unfit = {fault: why for fault in rows if (why := stale(fault, root))}
    for fault, why in unfit.items():
        print(f"STALE {fault}: {why}")
    # None: all tests, without a fault
    waiting: list[Fault | None] = [None, *(fault for fault in rows if fault not in unfit)]
    every = dict.fromkeys(test for fault in waiting if fault for test in fault.tests)
    begin, found, whole, running = time.monotonic(), 0, False, dict[int, tuple[Fault | None, Path, float, bytes]]()
    with tempfile.TemporaryDirectory() as place:
        free = [Path(place, str(number), "tree") for number in range(jobs)]
        for tree in free:
            shutil.copytree(root, tree, ignore=shutil.ignore_patterns(".*", "runs", "build", "*.egg-info"))
        while waiting or running:
            while waiting and free:
                fault, tree = waiting.pop(0), free.pop()
                tests, sound = (
                    (fault.tests, (tree / fault.file).read_bytes()) if fault else ((*every, "--maxfail=1000"), b"")
                )
                running[_begun(fault, tests, tree, LIMIT if fault else 10 * LIMIT)] = (
                    fault,
                    tree,
                    time.monotonic(),
                    sound,
                )
            number, status = os.wait()
            fault, tree, since, sound = running.pop(number)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(number, signal.SIGKILL)  # what its tests have begun and not ended
            code = os.waitstatus_to_exitcode(status)
            output = (tree.parent / "output").read_text(errors="replace")
            if fault is None:
                whole = code == 0
                print(
                    f"{'sound' if whole else 'FAILED'}: {len(every)} tests without a fault"
                    + ("" if whole else f"\n{output[-4000:]}")
                )
            else:
                (tree / fault.file).write_bytes(sound)
                found += code == 1
                by = re.search(r"^FAILED (\S+)", output, re.MULTILINE)
                said = {
                    1: f"found by {by[1] if by else tests[0]}",
                    0: "SURVIVED",
                    -signal.SIGALRM: f"NO END in {LIMIT} s",
                }.get(code, f"BROKEN ({code})")
                print(
                    f"{said} {time.monotonic() - since:.0f} s {fault}"
                    + ("" if code in (0, 1) else f"\n{output[-600:]}"),
                    flush=True,
                )
            free.append(tree)
    share = found / (len(rows) or 1)
    print(f"{found} of {len(rows)} faults are found ({share:.0%}), in {time.monotonic() - begin:.0f} s")
    return 0 if whole and not unfit and share >= ENOUGH else 1


def _begun(fault: Fault | None, tests: Sequence[str], tree: Path, limit: int) -> int:
    """The process, in a session of its own, that plants a fault in this tree and runs tests there."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX has threads only after its first array, and the parent has none
        if number := os.fork():
            return number
    code = 99
    try:
        os.setsid()
        signal.alarm(limit)
        output = os.open(tree.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        if fault:
            text = (tree / fault.file).read_text(encoding="utf-8")
            (tree / fault.file).write_text(text.replace(fault.old, fault.new), encoding="utf-8")
        os.chdir(tree)
        sys.path[:] = [str(tree), *(place for place in sys.path if place not in ("", str(ROOT)))]
        # a fault of the same size and second would be taken from the file of another one
        sys.dont_write_bytecode = True
        for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
            del sys.modules[name]
        code = int(
            importlib.import_module("pytest").main(
                [*PYTEST, f"--rootdir={tree}", f"--basetemp={tree.parent / 'made'}", *tests]
            )
        )
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "words", nargs="*", metavar="WORDS", help="only faults with one of these in their file or text"
    )
    arguments.add_argument("--jobs", type=int, default=2, help="how many at once")
    arguments.add_argument("--root", type=Path, default=ROOT, help="the tree")
    given = arguments.parse_args()
    os.environ.update(SETTINGS)
    for name in IMPORTED if given.root == ROOT else ():
        importlib.import_module(name)
    sys.exit(main(given.words, given.jobs, given.root.absolute()))
