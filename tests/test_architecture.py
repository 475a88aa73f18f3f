"""The rules of the house that a reader can rely on, checked on the source of every file."""

import ast
import functools
import gc
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

import gendiff
from experiments import catalogue

ROOT = Path(__file__).resolve().parents[1]
LOWER = {"networks", "training", "data", "metrics", "weights"}
MIDDLE = {"diffusion", "language", "preferences", "adversarial", "provenance", "scaling"}
STEPPING = ("adversarial", "preferences")
"""Chapters with a step of their own, which is made of training steps."""
CHAPTERS = (
    {"core": {"core"}}
    | {chapter: {"core", chapter} for chapter in LOWER}
    | {chapter: {"core", "networks", "metrics", chapter} for chapter in MIDDLE}
    | {chapter: {"core", "networks", "metrics", "training", chapter} for chapter in STEPPING}
    | {"runs": {"core", "training", "runs"}}
    | {"pipelines": {"core", "pipelines", *LOWER, *MIDDLE, "runs"}}
    | {"commands": {"core", "pipelines", *LOWER, *MIDDLE, "runs", "commands"}}
)
"""Chapter of gendiff -> the chapters that it may import."""
APPLICATION = ("runs", "commands")
"""The floor above the library: the only chapters that print, and programs rather than functions for others."""
RUNS_ALSO = ("gendiff.data.batches", "gendiff.metrics.bootstrap")
LANGUAGE_TEXTS = "experiments.language.writing_tasks"
"""The bench times replies to what an experiment asks."""
TASKS = "experiments.tasks"
EXPERIMENTS = {
    "catalogue.py": (),
    "__main__.py": ("gendiff.commands.start",),
    **dict.fromkeys(("diffusion", "multimodal", "video"), (TASKS,)),
    **dict.fromkeys(("adversarial", "language", "scaling"), (TASKS, "experiments.diffusion")),
    **dict.fromkeys(("preferences", "provenance", "edge"), (TASKS, "experiments.diffusion", "experiments.language")),
    "bench": ("experiments.diffusion", LANGUAGE_TEXTS),
    "documentation": ("experiments.catalogue",),
}
"""Part of experiments -> what it may import beside itself and the library; other parts nothing."""
EXTRAS = (
    *(
        "torch",
        "diffusers",
        "transformers",
        "tyro",
        "rich",
        "matplotlib",
        "PIL",
        "sklearn",
        "skimage",
        "grain",
        "orbax",
        "tensorboardX",
    ),
    *("diffrax", "equinox", "msgspec", "jinja2", "datasets", "array_record", "tokenizers", "gguf"),
    *("fastapi", "uvicorn", "prometheus_client", "imageio_ffmpeg", "soundfile"),
)
TOP_LEVEL = {
    *("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile", ".gitignore", ".ci"),
    *("gendiff", "experiments", "tests"),
}
LONGEST = 500
MOST_ANY = 250
REFUSED = frozenset(
    "found told made asked said given drawn shown kept seen wanted own of every whole apart begun settled place".split()
)
"""Words that say what was done with a thing, and not what it is: no variable, function or class is called so."""
LEFT: dict[str, int] = {
    "gendiff/core": 1,
    "gendiff/diffusion": 1,
    "gendiff/networks": 2,
    "gendiff/training": 1,
    "tests/costs.py": 1,
    "tests/experiments": 1,
    "tests/language": 2,
    "tests/mutants.py": 10,
    "tests/refusals.py": 1,
    "tests/test_mutants.py": 1,
    "tests/test_package.py": 3,
    "tests/test_pages.py": 2,
    "tests/test_peers_record.py": 1,
    "tests/test_tables.py": 1,
}
"""Chapter -> how many of its names are still refused words. A number falls until its line goes; none grows."""


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.fixture(autouse=True, scope="module")
def _without_collector() -> Iterator[None]:
    """The trees are millions of objects, none of which goes."""
    gc.disable()
    yield
    gc.enable()


@functools.cache
def imported(path: Path) -> tuple[tuple[int, str], ...]:
    """(line, module) of each import anywhere in the file, in functions too; `from a import b` counts as a.b."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def imports_against(rule: Callable[[str, list[str]], bool], *folders: str) -> list[str]:
    """The imports that the rule, a function of (file below the root, parts of the module's name), does not allow."""
    imports = (
        (path.relative_to(ROOT).as_posix(), line, module)
        for path in python_files(*folders)
        for line, module in imported(path)
    )
    return [f"{file}:{line}: {module}" for file, line, module in imports if not rule(file, module.split("."))]


def nodes_against(rule: Callable[[ast.AST], bool], *folders: str) -> list[str]:
    """The nodes of the source that the rule does not allow."""
    located = ((path, node) for path in python_files(*folders) for node in nodes(path))
    return [f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}" for path, node in located if not rule(node)]


def test_every_folder_of_gendiff_is_a_known_chapter_that_imports_what_lies_below_it_and_no_other():
    def allowed(file: str, names: list[str]) -> bool:
        if names[0] != "gendiff" or file.count("/") == 1:
            return names[0] != "experiments"
        chapter = file.split("/")[1]
        beside = chapter == "runs" and ".".join(names).startswith(RUNS_ALSO)
        return len(names) > 1 and (names[1] in CHAPTERS[chapter] or beside)

    assert {path.parent.name for path in ROOT.glob("gendiff/*/*.py")} <= CHAPTERS.keys()
    assert not imports_against(allowed, "gendiff")


def test_experiments_import_what_lies_below_them():
    def allowed(file: str, names: list[str]) -> bool:
        part = file.split("/")[1]
        below = (*EXPERIMENTS.get(part, ()), f"experiments.{part}", "gendiff")
        module = ".".join(names)
        return names[0] not in ("experiments", "gendiff") or any(f"{module}.".startswith(f"{each}.") for each in below)

    assert not imports_against(allowed, "experiments")


def test_no_study_imports_another():
    """What two share is a room beside them, a command, or the library's. The bench may time what a study trains."""
    studies = {each.module for each in catalogue.EXPERIMENTS.values() if each.module.startswith("experiments.")}
    # its recipes are judged anew
    shared = ("experiments.diffusion.few_step_text.", "experiments.diffusion.text_to_image.")

    def study(module: str) -> str:
        return max((each for each in studies if f"{module}.".startswith(f"{each}.")), key=len, default="")

    def allowed(file: str, names: list[str]) -> bool:
        this, other = study(file.removesuffix(".py").replace("/", ".")), study(".".join(names))
        return other in ("", this) or file.startswith("experiments/bench/") or (f"{this}.", f"{other}.") == shared

    assert not imports_against(allowed, "experiments")


def test_a_test_outside_the_folder_of_studies_imports_no_study_but_digits():
    """So that `make test` pays for none; `python -m experiments` has the others' tests in `make test-studies`."""
    # what people run, and the rig of processes
    typed = ("images", "digits", "text-to-image", "chat", "scaling-fit", "batch-jobs")
    studies = {each.module for name, each in catalogue.EXPERIMENTS.items() if name not in typed} | {"experiments.bench"}

    def allowed(file: str, names: list[str]) -> bool:
        module = ".".join(names)
        return file.startswith(("tests/experiments/studies/", "tests/peers/")) or not any(
            f"{module}.".startswith(f"{study}.") for study in studies
        )

    assert not imports_against(allowed, "tests")


@pytest.mark.parametrize(
    ("package", "folder"),
    [("flax", "gendiff/networks/"), ("orbax", "gendiff/training/checkpoints.py"), ("filelock", "gendiff/runs/")]
    + [(server, "gendiff/commands/serve/") for server in ("fastapi", "starlette", "uvicorn", "prometheus_client")]
    + [(peer, "experiments/") for peer in ("torch", "torchvision", "diffusers", "transformers")],
)
def test_a_package_is_imported_in_one_place_only(package: str, folder: str):
    assert not imports_against(
        lambda file, names: names[0] != package or file.startswith(folder), "gendiff", "experiments"
    )


def test_shapes_are_checked_in_every_chapter_of_the_library():
    checked = (
        re.search(r"--jaxtyping-packages=(\S+),beartype", (ROOT / "pyproject.toml").read_text()).group(1).split(",")
    )
    assert sorted(checked) == sorted(f"gendiff.{chapter}" for chapter in CHAPTERS if chapter not in APPLICATION)


def test_nothing_private_of_jax_is_used():
    files = {path: path.read_text() for path in python_files("gendiff", "experiments")}
    assert not [path for path, text in files.items() if "jax._src" in text or "from jax import _" in text]


def calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def test_the_library_prints_nothing_and_does_not_assert_what_a_user_passes():
    library = [f"gendiff/{chapter}" for chapter in CHAPTERS if chapter not in APPLICATION]
    assert not nodes_against(lambda node: not calls(node, "print") and not isinstance(node, ast.Assert), *library)


def test_no_protocol_is_found_by_hasattr():
    """What may be probed for: a leaf's dtype, and what a platform offers."""
    free = ("leaf", "os", "signal")
    assert not nodes_against(
        lambda node: not calls(node, "hasattr") or ast.unparse(node.args[0]) in free, "gendiff", "experiments"
    )


def test_no_function_takes_a_config_of_any_type():
    def allowed(node: ast.AST) -> bool:
        untyped = (
            node.annotation is None or ast.unparse(node.annotation) == "Any" if isinstance(node, ast.arg) else False
        )
        return not (untyped and node.arg == "config")

    folders = [path.relative_to(ROOT).as_posix() for path in (ROOT / "experiments").iterdir() if path.is_dir()]
    # mkdocs names its own so
    assert not nodes_against(allowed, *(folder for folder in folders if not folder.endswith("documentation")))


def test_signatures_say_what_goes_in():
    """A line counts where its code has the name `Any`: imports, comments and texts do not count."""
    lines = {
        (path, node.lineno)
        for path in python_files("gendiff")
        for node in nodes(path)
        if isinstance(node, ast.Name) and node.id == "Any"
    }
    assert len(lines) <= MOST_ANY


def test_every_file_is_named_by_its_idea_and_not_longer_than_the_limit():
    nameless = {"utils.py", "util.py", "common.py", "helper.py", "helpers.py", "misc.py"}
    files = python_files("gendiff", "experiments", "tests")
    assert not [path for path in files if path.name in nameless or len(path.read_text().splitlines()) > LONGEST]


def bound_names(path: Path) -> Iterator[str]:
    """Of the variables, parameters, functions and classes of a file, but for fields of classes."""
    classes = (node for node in nodes(path) if isinstance(node, ast.ClassDef))
    fields = {id(each.target) for node in classes for each in node.body if isinstance(each, ast.AnnAssign)}
    for node in nodes(path):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def refused_names() -> Counter[str]:
    """Chapter -> its names that are refused words."""
    counts: Counter[str] = Counter()
    for path in python_files("gendiff", "experiments", "tests"):
        chapter = "/".join(path.relative_to(ROOT).parts[:2])
        counts[chapter] += sum(name in REFUSED for name in bound_names(path))
    return counts


def test_names_say_what_a_thing_is():
    assert not {chapter: count for chapter, count in refused_names().items() if count > LEFT.get(chapter, 0)}


def test_the_top_level_holds_what_the_design_lists():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("no git repository")  # an unpacked archive
    assert {name.split("/")[0] for name in listed.stdout.splitlines()} <= TOP_LEVEL


def modules() -> Iterator[ModuleType]:
    """Those of the library."""
    chapters = [f"gendiff.{chapter}" for chapter in CHAPTERS if chapter not in APPLICATION]
    folders = [str(ROOT / chapter.replace(".", "/")) for chapter in chapters]
    walked = (
        each.name
        for chapter, folder in zip(chapters, folders, strict=True)
        for each in pkgutil.walk_packages([folder], f"{chapter}.")
    )
    yield from map(importlib.import_module, ("gendiff", *chapters, *walked))


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The names that a module lists, and without a list its own classes and functions."""
    defined = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and name[0] != "_"
    ]
    yield from ((f"{module.__name__}.{name}", getattr(module, name)) for name in getattr(module, "__all__", defined))


def test_everything_public_has_a_docstring_and_every_listed_name_exists():
    named = [(module.__name__, module) for module in modules()] + [
        each for module in modules() for each in public(module)
    ]
    kinds = (ModuleType, FunctionType, type)
    assert not [name for name, value in named if isinstance(value, kinds) and not inspect.getdoc(value)]


def test_a_listed_function_or_module_stands_in_a_test_of_its_chapter():
    """A record or a type is tested by what makes it."""
    untested, words = [], {}
    for module in modules():
        chapter = "/".join(module.__name__.split(".")[1:2])  # the library's own names may be tested by any
        if chapter not in words:
            files = [path for path in python_files(f"tests/{chapter}") if path != Path(__file__)]
            words[chapter] = set(re.findall(r"\w+", " ".join(path.read_text(encoding="utf-8") for path in files)))
        for name in getattr(module, "__all__", ()):
            if isinstance(getattr(module, name), ModuleType | FunctionType) and name not in words[chapter]:
                untested.append(f"{module.__name__}.{name}")
    assert not untested


@pytest.mark.slow
def test_importing_gendiff_loads_no_extra_and_starts_no_backend():
    """A script may still choose its devices, or call jax.distributed.initialize, after the import."""
    program = f"""
import sys, gendiff, gendiff.data, gendiff.metrics
print(*sorted({{'flax', *{EXTRAS!r}}} & set(sys.modules)))
gendiff.networks.init
print('flax' in sys.modules, 'orbax' in sys.modules)
import jax
jax.config.update('jax_num_cpu_devices', 3)
print(jax.device_count())"""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", program]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n") == ["", "True False", "3", ""]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'network'"):
        gendiff.network  # noqa: B018
