"""What the last run of the peers' tests was: `.ci/peers` writes it, and a test says when it is old.

`make test-supported` writes the same of the other tests that the page of supported models names.
"""

import datetime
import importlib.metadata
import json
import platform
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

RECORD = Path(__file__).with_name("last_run.json")
PACKAGES = ("jax", "torch", "diffusers", "transformers", "peft", "open-clip-torch", "k-diffusion", "qwix")
CODE = ("gendiff/weights", "gendiff/networks", "gendiff/diffusion/samplers")
MOST_COMMITS = 60
"""To the code above, since the run: with more it is old."""


def commits_since(record: dict, folder: Path) -> int | None:
    """Number of commits to the code since the recorded run; None where git does not know its commit."""
    command = ["git", "rev-list", "--count", f"{record['commit']}..HEAD", "--", *CODE]
    counted = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return int(counted.stdout) if counted.returncode == 0 else None


def record_of(report: str) -> dict:
    """The record of a run from its JUnit report."""
    (suite,) = xml.etree.ElementTree.fromstring(report).iter("testsuite")
    tests, failures, errors, skipped = (
        int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
    )
    versions = {package: _version(package) for package in PACKAGES}
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": versions,
        "passed": tests - failures - errors - skipped,
        "failed": failures + errors,
        "skipped": skipped,
        "seconds": round(float(suite.get("time", "0"))),
        "tests": sorted(_name(case) for case in suite.iter("testcase") if _passed(case)),
    }


def _name(case: xml.etree.ElementTree.Element) -> str:
    """As pytest takes it."""
    return f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"


def _passed(case: xml.etree.ElementTree.Element) -> bool:
    return all(case.find(outcome) is None for outcome in ("failure", "error", "skipped"))


def commit() -> str:
    """The one that is checked out."""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    report, file = Path(sys.argv[1]), Path(*sys.argv[2:] or [RECORD])
    file.write_text(json.dumps(record_of(report.read_text(encoding="utf-8")), indent=2) + "\n", encoding="utf-8")
    print(f"{file}: {file.read_text(encoding='utf-8')}")
