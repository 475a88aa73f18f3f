"""What a user installs: the wheel holds the library alone, and the README's example runs with the declared requirements alone."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import gendiff

ROOT = Path(__file__).resolve().parents[1]


def run(*command: object, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run([str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what git has or would take, so that nothing left lying in the tree gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("no git repository")  # an unpacked archive
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, source, folder=source)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"gendiff", f"gendiff-{gendiff.__version__}.dist-info"}
    assert "gendiff/py.typed" in names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gendiff").rglob("*.py")}
    assert {name for name in names if name.startswith("gendiff/")} == modules | {"gendiff/py.typed"}


def test_the_wheel_says_version_licence_and_python(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(f"gendiff-{gendiff.__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {gendiff.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_every_requirement_has_both_bounds(wheel):
    metadata = zipfile.ZipFile(wheel).read(f"gendiff-{gendiff.__version__}.dist-info/METADATA").decode()
    required = [line for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.M) if "extra ==" not in line]
    assert len(required) == 9
    assert not [line for line in required if ">=" not in line or "<" not in line]


def test_the_readme_example_runs_in_an_empty_environment(wheel, tmp_path):
    example = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)[0]
    (tmp_path / "example.py").write_text(example)
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    # this environment's pip, so that none need be installed; uncompiled, because the example imports a fraction of what is installed
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", wheel, folder=tmp_path)
    run(python, "-W", "error", "example.py", folder=tmp_path)
    extras = ("matplotlib", "sklearn", "tyro", "PIL", "torch")
    run(python, "-c", f"import importlib.util as u, sys; sys.exit(any(u.find_spec(name) for name in {extras}))", folder=tmp_path)
