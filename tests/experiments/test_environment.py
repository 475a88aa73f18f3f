import os
import subprocess

import pytest

from experiments.reporting import environment


def git(folder, *arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True, env=clean
    ).stdout.strip()


@pytest.fixture
def project(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("a = 1\n")
    (tmp_path / ".gitignore").write_text("runs/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_clean_tree_gives_its_full_commit(project):
    assert environment.source_state(project) == (git(project, "rev-parse", "HEAD"), False)


def test_a_changed_file_is_dirty(project):
    (project / "code.py").write_text("a = 2\n")
    assert environment.source_state(project)[1] is True


def test_a_new_file_is_dirty_since_it_may_be_imported(project):
    (project / "more.py").write_text("")
    assert environment.source_state(project)[1] is True


@pytest.mark.parametrize("folder", ["runs/digits", "experiments/results/digits"])
def test_output_is_not_dirty(project, folder):
    (project / folder).mkdir(parents=True)
    (project / folder / "results.json").write_text("{}")
    assert environment.source_state(project)[1] is False


def test_outside_git_nothing_is_claimed(tmp_path):
    assert environment.source_state(tmp_path) == (None, None)


def test_a_folder_within_another_repository_is_not_taken_for_it(project):
    (project / "vendored").mkdir()
    assert environment.source_state(project / "vendored") == (None, None)


def test_the_environment_of_a_git_hook_does_not_redirect_the_question(project, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert environment.source_state(project) == (git(project, "rev-parse", "HEAD"), False)


def test_versions_name_what_numbers_depend_on():
    found = environment.versions()
    assert {"python", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn"} <= found.keys()
    assert all(found.values())


def test_the_machine_is_described_without_its_name():
    found = environment.machine()
    assert {"cpu", "cores", "memory_gib", "platform", "devices", "matmul_precision", "x64"} == found.keys()
    assert found["cores"] >= 1
    assert any("cpu" in device for device in found["devices"])
    assert os.uname().nodename not in found["platform"]
