"""What a user installs: the wheel holds the library alone, and the README's example runs with what it names alone."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import gendiff

pytestmark = pytest.mark.slow

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


def test_the_readme_example_runs_in_an_environment_with_the_extra_that_it_names(wheel, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "It needs the extra `metrics`" in readme
    (tmp_path / "example.py").write_text(re.search(r"^```python\n(.*?)^```$", readme, re.M | re.S).group(1))
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    # this environment's pip, so that none need be installed; uncompiled, because the example imports a fraction of what is installed
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", f"{wheel}[metrics]", folder=tmp_path)
    run(python, "-W", "error", "example.py", folder=tmp_path)
    others = ("matplotlib", "tyro", "torch", "jinja2")
    run(python, "-c", f"import importlib.util as u, sys; sys.exit(any(u.find_spec(name) for name in {others}))", folder=tmp_path)
    assert Image.open(tmp_path / "digits.png").size == (500, 500)
