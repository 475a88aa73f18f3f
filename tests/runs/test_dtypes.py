"""`--dtype`: what suits which processor, that it is said and recorded, and that it reaches the network."""

import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import pytest

from gendiff.commands import command_line
from gendiff.commands.images import image_sampling, image_training
from gendiff.core.errors import ConfigError
from gendiff.diffusion import parameterization, schedules
from gendiff.runs import compile_cache, configuration, devices, dtypes
from gendiff.runs.dtypes import WithDtype
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import processor
from gendiff.runs.run_folder import RunFolder
from tests.runs import toy
from tests.tables import table


@dataclasses.dataclass(frozen=True)
class Typed(toy.Config, WithDtype):
    """The numbers of the toy, with a dtype."""


TYPED = dataclasses.replace(toy.EXPERIMENT, config=Typed, presets={"full": Typed()}, smoke=Typed(train_steps=3))


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """Makes this an x86 processor with such flags beside the usual ones, under such a jax."""

    def having(*flags, jax_version="0.12.0"):
        file = tmp_path / "cpuinfo"
        file.write_text(
            f"processor\t: 0\nmodel name\t: a CPU\nflags\t\t: fpu sse2 avx512f {' '.join(flags)}\n\nprocessor\t: 1\n"
        )
        monkeypatch.setattr(processor, "INFO", file)
        monkeypatch.setattr(jax, "__version__", jax_version)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")

    return having


@table("flag", sorted(dtypes.HALVES))
def test_a_processor_with_instructions_for_bfloat16_takes_it_from_jax_0_12_on(cpu, flag):
    cpu(flag)
    assert dtypes.suited() == ("bfloat16", f"this processor has {flag}")
    cpu(flag, jax_version="0.10.2")
    assert dtypes.suited().dtype == "float32" and "jax 0.10.2" in dtypes.suited().reason


def test_a_processor_without_them_and_one_that_is_not_known_take_float32(cpu, monkeypatch, tmp_path):
    cpu("avx512_vnni")
    assert dtypes.suited().dtype == "float32" and "neither amx_bf16 nor avx512_bf16" in dtypes.suited().reason
    monkeypatch.setattr(processor, "INFO", tmp_path / "absent")
    assert dtypes.suited().dtype == "float32" and processor.flags() == frozenset()


def test_programs_that_are_all_kept_do_without_onednn_and_so_without_bfloat16(cpu, monkeypatch):
    cpu("amx_bf16")
    monkeypatch.setattr(compile_cache, "keeps_all", lambda: True)
    assert dtypes.suited().dtype == "float32" and "oneDNN" in dtypes.suited().reason


@table(
    ("device", "dtype"),
    [
        ({"platform": "tpu", "device_kind": "TPU v5e"}, "bfloat16"),
        ({"platform": "gpu", "device_kind": "H100", "compute_capability": "9.0"}, "bfloat16"),
        ({"platform": "gpu", "device_kind": "A100", "compute_capability": "8.0"}, "bfloat16"),
        ({"platform": "gpu", "device_kind": "T4", "compute_capability": "7.5"}, "float32"),
        ({"platform": "gpu", "device_kind": "MI300", "compute_capability": "gfx942"}, "bfloat16"),
    ],
)
def test_an_accelerator_takes_what_it_multiplies(device, dtype, monkeypatch):
    monkeypatch.setattr(devices, "local", lambda: [types.SimpleNamespace(**device)])
    assert dtypes.suited().dtype == dtype


def run(folder, *words):
    command = ["run", "toy", "--train-steps", "3", "--log-every", "1", "--out", str(folder), *words]
    return command_line.main(command, {"toy": TYPED})


def test_auto_is_said_once_and_recorded_as_what_it_came_to(cpu, tmp_path, capsys):
    cpu("amx_bf16")
    assert run(tmp_path / "run", "--dtype", "auto") == 0
    assert capsys.readouterr().out.count("--dtype auto: bfloat16, because this processor has amx_bf16\n") == 1
    stored = [
        json.loads((tmp_path / "run" / f"{name}.json").read_text())["config"]["dtype"] for name in ("config", "results")
    ]
    assert stored == ["bfloat16", "bfloat16"]
    cpu()
    assert dtypes.resolve(Typed(dtype="auto"), Progress(quiet=True)) == Typed()


def test_presets_are_float32_unless_asked(tmp_path, cpu):
    cpu("amx_bf16")
    assert dtypes.resolve(Typed(), Progress(quiet=True)) == Typed(dtype="float32")


def test_samples_take_another_dtype_than_their_run_which_stays_as_it_is(tmp_path, cpu, capsys):
    cpu("amx_bf16")
    networks = []

    def model(config):
        networks.append(config.dtype)
        return toy.model(config)

    experiments = {"toy": dataclasses.replace(TYPED, sample=image_sampling.command(model))}
    assert run(tmp_path / "run") == 0
    for words in ((), ("--dtype", "bfloat16"), ("--dtype", "auto")):
        out = tmp_path / f"{len(words)}{words[-1:]}.npz"
        assert (
            command_line.main(
                ["sample", str(tmp_path / "run"), "--num", "2", "--steps", "2", *words, "--out", str(out)], experiments
            )
            == 0
        )
    assert (
        list(dict.fromkeys(networks)) == ["float32", "bfloat16"] and "--dtype auto: bfloat16" in capsys.readouterr().out
    )
    assert configuration.read(RunFolder(tmp_path / "run")).config["dtype"] == "float32"


def test_samples_of_an_experiment_without_a_choice_take_none(tmp_path, capsys):
    assert (
        command_line.main(["run", "toy", "--train-steps", "3", "--out", str(tmp_path / "run")], {"toy": toy.EXPERIMENT})
        == 0
    )
    assert command_line.main(["sample", str(tmp_path / "run"), "--dtype", "bfloat16"], {"toy": toy.EXPERIMENT}) == 2
    assert "--dtype bfloat16: the networks of this experiment compute in float32 alone" in capsys.readouterr().err


def test_an_unknown_dtype_exits_2_with_those_that_there_are(tmp_path, capsys):
    assert run(tmp_path / "run", "--dtype", "float8") == 2
    errors = capsys.readouterr().err
    assert all(word in errors for word in ("Invalid choice", "float8", "auto", "float32", "bfloat16"))


def test_a_run_that_was_stored_under_the_older_name_keeps_its_dtype(tmp_path):
    stored = {"experiment": "images", "preset": "full", "smoke": False, "config": {"compute": "bfloat16"}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert configuration.read(RunFolder(tmp_path)).config == {"dtype": "bfloat16"}


def test_bfloat16_is_of_products_alone_and_leaves_parameters_and_output_float32():
    recipe = image_training.Recipe(channels=(8,))
    shapes, programs = [], []
    for dtype in ("float32", "bfloat16"):
        model = image_training.unet(recipe, schedules.flow(), parameterization.flow(), dtype=dtype)
        params = jax.eval_shape(model.init, jax.random.key(0))
        inputs = (
            jax.ShapeDtypeStruct(*each)
            for each in (((1, 8, 8, 1), jnp.float32), ((1,), jnp.float32), ((1,), jnp.int32))
        )
        program, output = jax.make_jaxpr(model.predict, return_shape=True)(params, *inputs)
        shapes.append((params, output))
        programs.append(str(program))
    assert shapes[0] == shapes[1] and {leaf.dtype for leaf in jax.tree.leaves(shapes[1])} == {jnp.dtype("float32")}
    convolutions = [[line for line in program.splitlines() if "conv_general_dilated" in line] for program in programs]
    assert [any("bf16" in line for line in lines) for lines in convolutions] == [False, True]
    assert all("bf16" in line for line in convolutions[1])


def test_auto_is_no_dtype_of_a_network():
    with pytest.raises(ConfigError, match="settle the configuration first"):
        dtypes.of_network("auto")
