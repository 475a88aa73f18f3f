"""Commands that belong to no experiment."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gendiff.commands import catalogue, command_line
from gendiff.runs import program, registry
from tests.pipelines.stable_diffusion import tiny_folders
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
from pathlib import Path
from experiments.catalogue import EXPERIMENTS
from gendiff.commands import catalogue, command_line
from gendiff.runs import shards
from gendiff.runs.reporting import json_files

Path("run").mkdir()
json_files.write(Path("run/config.json"), {"experiment": "images", "preset": "full", "smoke": False, "config": {}})
Path("shards").mkdir()
Path("folder").mkdir()
json_files.write(Path("folder/model_index.json"), {"_class_name": "NewPipeline"})
json_files.write(Path("shards", shards.MANIFEST), shards.Manifest("images", 2, 1, (8, 8, 3), (), {}, {}))
for line in sys.stdin:
    code = command_line.main(line.split(), EXPERIMENTS)
    heavy = {"jax", "flax", "optax", "orbax", "scipy", "matplotlib", "PIL", "jinja2"} & sys.modules.keys()
    if heavy or code != 0 and code not in (2, 65):
        sys.exit(f"{line} ends with {code} and loads {heavy}")
    print("", f"code {code} of {line}", flush=True)
"""
QUICK = [
    *("--help", "list", *(f"{name} --help" for name in catalogue.TOOLS), "train --help", "tune --help"),
    "prepare images --help",
    *("bench --help", "bench-language --help", "bench-stable-diffusion --help"),
    "bench-full-size --help",
    *("sample run --help", "finalize shards --help", "evaluate shards --help", "evaluate --help", "report --help"),
]
REFUSED = [
    *("nothing", "prepare", "digits --help", "bench --device tpu", "bench --peers --device accelerator"),
    *("bench --check --smoke", "bench --measured absent", "bench --check --measured absent"),
    *("chat --wide", "chat --top-p 2", "quantise smollm2 --out x.gguf --rows 0", "inspect absent"),
    *("inspect run", "inspect folder"),
    *("copies run --train run --threshold 2", "data-report run --size 0", "verify absent.png", "plan --cost"),
    *(f"plan --accelerator h100 --{option}" for option in ("batch 0", "mesh data=3", "network dit-x/2", "size 8 8")),
    *(f"text-to-image --prompt cat --{option}" for option in ("steps 0", "sampler dimm", "height 64", "out no/x.png")),
    *("scaling-fit --data x.csv --resamples 1", "serve --port 70000", "serve-load --clients 0", "video --frames 0"),
    *(f"train run --{option}" for option in ("batch 0", "mesh wide=2", "network unet", "features inception")),
    *("train absent", "tune absent.jsonl", "train --model run --lora 8 --data emoji"),
    "prepare images --data textures --cache x",
    *("sample absent", "sample run --steps 0", "sample run --num 2 --index 0:2", "sample run --grid coarse"),
    *("finalize shards --to x.zip", "evaluate shards", "evaluate absent", "report absent"),
]
"""Each command once at least, with a value that it refuses."""


def test_help_and_refusals_load_no_jax(tmp_path):
    root, lines = Path(__file__).parents[2], [*QUICK, *REFUSED]
    ended = subprocess.run(
        [sys.executable, "-c", LOADED],
        input="\n".join(lines),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    refused = [line for line in lines if f"code 0 of {line}\n" not in ended.stdout]
    assert refused == REFUSED, ended.stdout


WITH_JAX = """
import sys
from experiments.catalogue import EXPERIMENTS
from gendiff.commands import command_line
from gendiff.runs import registry, run_folder
from gendiff.runs.progress import Progress

LATER = {"matplotlib", "PIL", "sklearn", "skimage", *(f"scipy.{name}" for name in ("stats", "optimize", "ndimage"))}
code = command_line.main("plan --accelerator h100 --network dit-tiny/2 --shape 8 8 3".split(), EXPERIMENTS)
chapters = {f"gendiff.{name}" for name in ("diffusion.distillation", "diffusion.certify", "language", "weights.rules")}
print("plan", code, sorted((LATER | chapters | {"optax", "jinja2"}) & sys.modules.keys()))
code = command_line.main(["inspect", "dit"], EXPERIMENTS)
chapters = {f"gendiff.{name}" for name in ("data.emoji", "diffusion.distillation", "language", "training")}
unused = LATER | chapters | {"optax", "gendiff.pipelines.stable_diffusion.opened"}
print("inspect", code, sorted(unused & sys.modules.keys()))
for name in EXPERIMENTS:
    registry.load(name, EXPERIMENTS)
print("studies", sorted(LATER & sys.modules.keys()))
digits = registry.load("digits", EXPERIMENTS)
digits.train(digits.smoke, run_folder.create("run"), Progress(quiet=True))
print("training", sorted({"matplotlib", "PIL"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_plan_inspect_the_options_of_studies_and_a_training_load_only_what_they_use(tmp_path):
    """They load JAX, but neither the chapters nor the packages of others: those take as long again. A training draws
    nothing before its first figure.
    """
    tiny_folders.write(tmp_path / "dit", "dit")
    command = [sys.executable, "-c", WITH_JAX]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "plan 0 []\n" in ended.stdout and "inspect 0 []\n" in ended.stdout, ended.stdout
    assert ended.stdout.endswith("studies []\ntraining []\n"), ended.stdout


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
