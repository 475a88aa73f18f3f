"""The planted faults fit the code, and the program that plants them tells what is found, what is not, and what fits no
longer.
"""

import subprocess
import sys
from pathlib import Path

from tests import mutants

ROOT = Path(__file__).parents[1]
TREE = {
    "counted.py": "def last(values):\n    return values[-1]\n\n\ndef mean(values):\n    return sum(values) / "
    "len(values)\n",
    "tests/test_counted.py": (
        "import counted\n\n\ndef test_last():\n    assert counted.last([1, 2]) == 2\n\n\n"
        "def test_mean():\n    assert counted.mean([3, 3]) == 3\n"
    ),
    "tests/mutants.txt": (
        "counted.py tests/test_counted.py::test_last\n- values[-1]\n+ values[0]\n\ncounted.py "
        "tests/test_counted.py::test_mean\n- return sum(values) / len(values)\n+ return values[0]\n\ncounted.py "
        "tests/test_counted.py::test_mean\n- return\n\ncounted.py tests/test_counted.py::test_median\n- sum(values)\n+ "
        "0\n"
    ),
}


def test_every_fault_fits_its_file_once_and_its_tests_are_there():
    rows = mutants.listed(ROOT)
    assert not [f"{fault}: {why}" for fault in rows if (why := mutants.stale(fault, ROOT))]
    assert len(set(rows)) == len(rows) >= 60


def test_a_fault_is_found_or_not_or_fits_no_longer_and_the_tree_stays_as_it_was(tmp_path):
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def planted(*words):
        command = [sys.executable, "-m", "tests.mutants", "--root", str(tmp_path), *words]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    code, said = planted()
    assert code == 1 and "sound: 2 tests without a fault" in said and "1 of 4 faults are found (25%)" in said
    assert "found by tests/test_counted.py::test_last" in said and "counted.py: values[-1] → values[0]" in said
    assert "SURVIVED" in said and "counted.py: return sum(values) / len(values) → return values[0]" in said
    assert "STALE counted.py: return → nothing: what it replaces occurs 2 times" in said
    assert "STALE counted.py: sum(values) → 0: there is no tests/test_counted.py::test_median" in said
    assert planted("values[-1]")[0] == 0
    assert {name: (tmp_path / name).read_text() for name in TREE} == TREE
    assert not list(tmp_path.rglob("*.pyc")) and len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(
        TREE
    )
