"""Commands that belong to no experiment."""

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

from gendiff.commands import catalogue, command_line
from gendiff.runs import program, registry
from tests.tables import table


@dataclasses.dataclass(frozen=True)
class Options:
    """Show a width."""

    width: int = 8
    """How wide it is."""


def shows(options, catalogue, progress):
    print(f"width {options.width} beside {', '.join(catalogue)}")


def test_a_command_without_an_experiment_is_listed_and_hears_of_every_experiment(capsys):
    tools = {"wide": registry.Tool(Options, shows, "How wide is it?")}

    def run(*words):
        return command_line.main(words, {}, tools)

    assert run("list") == 0 and command_line.main(["wide", "--width", "9"], {"bare": "no.module"}, tools) == 0
    output = capsys.readouterr().out
    assert "commands\n  wide                   How wide is it?\n" in output and "width 9 beside bare" in output
    assert run("wide", "--help") == 0 and "How wide it is" in capsys.readouterr().out
    assert run("wiide") == 2 and "did you mean 'wide'?" in capsys.readouterr().err
    # no studies
    assert (
        command_line.main(["nothing"], catalogue.EXPERIMENTS) == 2 and "there are: train, " in capsys.readouterr().err
    )
    assert run("wide", "--widht", "9") == 2 and "--width" in capsys.readouterr().err


LOADED = """
import sys
from experiments.catalogue import EXPERIMENTS
from gendiff.commands import catalogue, command_line
helps = [f"{name} --help" for name in catalogue.TOOLS]
for words in ("--help", "list", "nothing", "inspect absent", "chat --wide", "sample absent", *helps):
    command_line.main(words.split(), EXPERIMENTS)
    heavy = {"jax", "flax", "optax", "orbax", "scipy", "matplotlib", "PIL", "jinja2"} & sys.modules.keys()
    if heavy:
        sys.exit(f"{words} loads {heavy}")
"""


def test_help_and_refusals_load_no_jax():
    program = [sys.executable, "-c", LOADED]
    ended = subprocess.run(program, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_every_command_names_a_function_that_is_there():
    for name in catalogue.TOOLS:
        late = registry.tool(name, catalogue.TOOLS).call
        if isinstance(late, registry.Late):
            file = importlib.util.find_spec(late.module).origin
            assert f"\ndef {late.function}(" in Path(file).read_text(encoding="utf-8"), name


@table(
    ("started", "named"),
    [
        ("/env/bin/gendiff", "gendiff"),
        ("/site/gendiff/__main__.py", "gendiff"),
        ("/clone/experiments/__main__.py", "python -m experiments"),
        ("circle.py", "python circle.py"),
        ("/env/bin/pytest", "python -m experiments"),
    ],
)
def test_messages_name_what_a_person_typed(started, named, monkeypatch):
    monkeypatch.setattr("sys.argv", [started])
    assert program.program() == named
