import os
import subprocess

import pytest

from gendiff.runs.reporting import environment
from tests.tables import table


def git(folder, *arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.com",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.hooksPath=/dev/null",
    ]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=clean).stdout.strip()


@pytest.fixture
def project(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("a = 1\n")
    (tmp_path / ".gitignore").write_text("runs/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


@table(
    ("file", "dirty"),
    [
        (None, False),
        ("code.py", True),
        ("more.py", True),
        ("runs/digits/results.json", False),
        ("experiments/results/digits/a.png", False),
    ],
)
def test_a_changed_or_new_file_is_dirty_and_output_is_not(project, file, dirty):
    if file is not None:
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text("a = 2\n")
    assert environment.source_state(project) == (git(project, "rev-parse", "HEAD"), dirty)
    git(project, "stash", "-q", "-u")


def test_outside_git_and_within_another_repository_nothing_is_claimed(project, tmp_path_factory):
    (project / "vendored").mkdir()
    for folder in (tmp_path_factory.mktemp("bare"), project / "vendored"):
        assert environment.source_state(folder) == (None, None)


def test_the_environment_of_a_git_hook_does_not_redirect_the_question(project, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert environment.source_state(project) == (git(project, "rev-parse", "HEAD"), False)


def test_versions_name_what_numbers_depend_on_and_the_machine_is_nameless():
    versions, machine = environment.versions(), environment.machine()
    assert {
        "python",
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax-checkpoint",
        "numpy",
        "scipy",
        "scikit-learn",
    } <= versions.keys()
    assert all(versions.values())
    assert {"cpu", "cores", "memory_gib", "platform", "devices", "matmul_precision", "x64"} == machine.keys()
    assert machine["cores"] >= 1 and any("cpu" in device for device in machine["devices"])
    assert os.uname().nodename not in machine["platform"]
