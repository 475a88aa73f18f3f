"""The rules of the house that a reader can rely on, checked on the source of every file."""

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gendiff

ROOT = Path(__file__).resolve().parents[1]
SIBLINGS = ("networks", "diffusion", "training", "data", "metrics", "weights")
UPPER = ("pipelines", "gan", "language")
EXTRAS = (
    "torch",
    "diffusers",
    "transformers",
    "tyro",
    "rich",
    "matplotlib",
    "PIL",
    "sklearn",
    "grain",
    "orbax",
    "tensorboardX",
    "diffrax",
    "equinox",
)
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Makefile",
    ".gitignore",
    ".ci",
    "gendiff",
    "experiments",
    "tests",
}
LONGEST = 400


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of each import anywhere in the file, in functions too; `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def allowed_chapters(chapter: str) -> set[str]:
    if chapter == "core":
        return {"core"}
    if chapter in SIBLINGS:
        return {"core", chapter}
    return {"core", *SIBLINGS, chapter}


def show(path: Path, line: int, said: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {said}"


def test_every_folder_of_gendiff_is_a_known_chapter():
    folders = {path.name for path in (ROOT / "gendiff").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= {"core", *SIBLINGS, *UPPER}


def test_imports_go_down_and_not_between_siblings():
    wrong = []
    for path in python_files("gendiff"):
        parts = path.relative_to(ROOT / "gendiff").parts
        for line, module in imported(path):
            names = module.split(".")
            if names[0] == "experiments":
                wrong.append(show(path, line, module))
            elif names[0] == "gendiff" and len(parts) > 1 and (len(names) < 2 or names[1] not in allowed_chapters(parts[0])):
                wrong.append(show(path, line, module))
    assert not wrong, "\n".join(wrong)


def test_flax_is_imported_in_networks_only():
    wrong = [
        show(path, line, module)
        for path in python_files("gendiff", "experiments")
        for line, module in imported(path)
        if module.split(".")[0] == "flax" and path.relative_to(ROOT).parts[:2] != ("gendiff", "networks")
    ]
    assert not wrong, "\n".join(wrong)


def test_orbax_is_imported_in_checkpoints_only():
    wrong = [
        show(path, line, module)
        for path in python_files("gendiff", "experiments")
        for line, module in imported(path)
        if module.split(".")[0] == "orbax" and path.relative_to(ROOT).as_posix() != "gendiff/training/checkpoints.py"
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_private_of_jax_is_used():
    wrong = [
        show(path, number, line.strip())
        for path in python_files("gendiff", "experiments")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "jax._src" in line or "from jax import _" in line
    ]
    assert not wrong, "\n".join(wrong)


def test_gendiff_imports_no_peer():
    peers = ("torch", "torchvision", "diffusers", "transformers")
    wrong = [
        show(path, line, module) for path in python_files("gendiff") for line, module in imported(path) if module.split(".")[0] in peers
    ]
    assert not wrong, "\n".join(wrong)


def test_gendiff_prints_nothing():
    wrong = [
        show(path, node.lineno, "print")
        for path in python_files("gendiff")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, "\n".join(wrong)


def test_gendiff_does_not_assert_what_a_user_passes():
    wrong = [
        show(path, node.lineno, "assert")
        for path in python_files("gendiff")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_file_is_named_by_its_idea():
    nameless = {"utils.py", "util.py", "common.py", "helper.py", "helpers.py", "misc.py"}
    assert not [path for path in python_files("gendiff", "experiments", "tests") if path.name in nameless]


def test_no_file_is_longer_than_the_limit():
    lengths = {path: len(path.read_text().splitlines()) for path in python_files("gendiff", "experiments", "tests")}
    assert not {path: length for path, length in lengths.items() if length > LONGEST}


def test_the_top_level_holds_what_the_design_lists():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("no git repository")  # an unpacked archive
    assert {name.split("/")[0] for name in listed.stdout.splitlines()} <= TOP_LEVEL


def public_objects() -> Iterator[tuple[str, object]]:
    for found in pkgutil.walk_packages(gendiff.__path__, "gendiff."):
        module = importlib.import_module(found.name)
        listed = getattr(module, "__all__", None)
        yield found.name, module
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == found.name and (inspect.isclass(value) or inspect.isfunction(value))
            if own and (name in listed if listed is not None else not name.startswith("_")):
                yield f"{found.name}.{name}", value


def test_everything_public_has_a_docstring():
    assert not [name for name, value in public_objects() if not inspect.getdoc(value)]


def test_every_listed_name_exists():
    missing = [
        f"{module.__name__}.{name}"
        for module in (gendiff, *(importlib.import_module(found.name) for found in pkgutil.walk_packages(gendiff.__path__, "gendiff.")))
        for name in getattr(module, "__all__", ())
        if not hasattr(module, name)
    ]
    assert not missing


def test_importing_gendiff_loads_neither_flax_nor_orbax_nor_an_extra():
    program = f"import sys, gendiff; print(*sorted({{'flax', *{EXTRAS!r}}} & set(sys.modules)))"
    assert fresh(program) == ""


def test_networks_are_loaded_on_first_use():
    assert fresh("import sys, gendiff; gendiff.networks.init; print('flax' in sys.modules, 'orbax' in sys.modules)") == "True False"


def test_importing_gendiff_starts_no_backend():
    """A script may still choose its devices, or call jax.distributed.initialize, after the import."""
    program = "import gendiff, gendiff.networks, jax; jax.config.update('jax_num_cpu_devices', 3); print(jax.device_count())"
    assert fresh(program, JAX_PLATFORMS="cpu") == "3"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'network'"):
        gendiff.network  # noqa: B018


def fresh(program: str, **variables: str) -> str:
    """What the program prints in a new interpreter with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
