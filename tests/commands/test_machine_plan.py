"""`plan`: operations by the formulas of `accounting`, times by the roofline, memory that adds up, and what is
refused.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh

from gendiff import networks
from gendiff.commands import command_line
from gendiff.commands.plan import device_work, folder_lines, named_devices, plan_lines, this_machine
from gendiff.commands.plan.named_devices import Devices
from gendiff.commands.plan.plan_options import PlanOptions
from gendiff.commands.train import facts, named_networks, training_cost
from gendiff.commands.train.config import Config
from gendiff.commands.train.facts import Data, Described
from gendiff.pipelines.stable_diffusion import open_model
from gendiff.pipelines.stable_diffusion.model_parts import STORAGES
from gendiff.runs import dtypes
from gendiff.runs.dtypes import Suited
from gendiff.scaling import Accelerator, accelerators, accounting, roofline
from gendiff.training import sharding
from gendiff.weights import quantised
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.test_packed_weights import HALVES, WIDE, in_gguf, wide
from tests.tables import table
from tests.variants import some_slow

OPTIONS = PlanOptions("h100", network="dit-tiny/2", shape=(8, 8, 3), classes=2, batch=8)
TOY = Devices(Accelerator("a toy", 1e9, 1e8, 2e6, "made up"), "bfloat16", 1, 1)


def plan(*words):
    return command_line.main(["plan", *words], {})


@pytest.fixture(scope="module")
def planned():
    return device_work.planned(OPTIONS, TOY)


def test_products_are_those_of_the_formulas_and_no_more_than_xla_counts(planned):
    network = named_networks.build("dit-tiny/2", (8, 8, 3), 2)
    inputs = (
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (((8, 8, 8, 3), jnp.float32), ((8,), jnp.float32), ((8,), jnp.int32))
    )
    counted = accounting.count(network, *inputs, embeddings=True)
    assert planned.parameters == counted.parameters
    assert planned.step.useful == planned.step.flops == counted.training_flops
    assert planned.evaluation.useful == counted.forward_flops < planned.counted
    assert counted.training_flops < planned.counted < 4 * counted.training_flops


def test_the_state_is_five_numbers_per_parameter_and_is_read_and_written_once(planned):
    assert planned.step.fixed == 20 * planned.parameters and planned.step.moved == 40 * planned.parameters
    assert planned.evaluation.memory == 4 * planned.parameters + 8 * 2 * 8 * 8 * 3 * 4 == planned.evaluation.moved


def test_devices_share_the_batch_and_fsdp_the_state(planned):
    shared = device_work.planned(OPTIONS, dataclasses.replace(TOY, parts=4, shards=2))
    for full, part in ((planned.step, shared.step), (planned.evaluation, shared.evaluation)):
        assert (part.useful, part.fixed, part.each, part.batch) == (
            full.useful / 4,
            full.fixed / 2,
            full.each,
            full.batch / 4,
        )


def test_recomputation_and_guidance_cost_what_they_repeat(planned):
    again = device_work.planned(dataclasses.replace(OPTIONS, remat="all", guided=True), TOY)
    assert again.step.flops == pytest.approx(4 / 3 * planned.step.flops) and again.step.useful == planned.step.useful
    assert again.step.each < planned.step.each, "less is kept"
    assert again.evaluation.flops == 2 * planned.evaluation.flops


def test_bfloat16_halves_most_of_what_the_backward_pass_needs(planned):
    full = device_work.planned(OPTIONS, dataclasses.replace(TOY, dtype="float32"))
    assert 1.3 < full.step.each / planned.step.each < 2.0


@table("bandwidth", [1e6, 1e8, 1e12])
def test_a_time_is_the_longer_one_of_arithmetic_and_memory(bandwidth, planned):
    device = dataclasses.replace(TOY.one, bandwidth=bandwidth)
    text = "\n".join(plan_lines.lines(OPTIONS, TOY, planned, device))
    step, evaluation = planned.step, planned.evaluation
    for title, work in (("training step", step), ("evaluation", evaluation)):
        seconds = max(work.flops / device.flops, work.moved / bandwidth)
        match = re.search(rf"^{title}: at least (\S+) (\S+), .* utilisation at most (\d+) %", text, re.M)
        assert float(match[1]) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[match[2]] == pytest.approx(seconds, rel=0.01)
        assert int(match[3]) == pytest.approx(100 * work.useful / seconds / device.flops, abs=0.51)


def test_the_largest_batch_is_the_last_that_fits_and_one_that_does_not_is_told_with_what_helps(planned):
    text = "\n".join(plan_lines.lines(OPTIONS, TOY, planned, TOY.one))
    largest = int(re.search(r"for the backward pass; the largest batch per device is (\d+)", text)[1])
    sizes = [planned.step.fixed + planned.step.each * batch for batch in (largest, largest + 1)]
    assert sizes[0] <= TOY.one.memory < sizes[1] and largest == roofline.largest_batch(
        planned.step.fixed, planned.step.each, TOY.one
    )
    assert ("note: training does not fit" in text) == (planned.step.memory > TOY.one.memory)
    small = dataclasses.replace(TOY, one=dataclasses.replace(TOY.one, memory=planned.step.fixed / 2))
    assert "give --mesh fsdp=N" in "\n".join(plan_lines.lines(OPTIONS, small, planned, small.one))
    large = dataclasses.replace(TOY, one=dataclasses.replace(TOY.one, memory=1e12))
    assert "fit" not in "\n".join(plan_lines.lines(OPTIONS, large, planned, large.one))


def test_every_named_accelerator_is_a_published_one_at_the_rate_of_the_dtype(monkeypatch):
    assert set(named_devices.PUBLISHED.values()) == set(accelerators.PUBLISHED)
    machine = named_devices.devices(dataclasses.replace(OPTIONS, dtype="float32", mesh="data=2,fsdp=4"))
    assert (machine.one.flops, machine.parts, machine.shards) == (accelerators.H100.float32_flops, 8, 4)
    assert named_devices.devices(OPTIONS).dtype == "bfloat16"
    monkeypatch.setattr(dtypes, "suited", lambda: Suited("float32", "it is old"))
    monkeypatch.setattr(this_machine, "measured", lambda dtype, size: Accelerator(dtype, 1.0, 1.0))
    assert named_devices.devices(dataclasses.replace(OPTIONS, accelerator="cpu")).one.name == "float32"


def test_this_machine_is_measured():
    here = this_machine.measured("float32", 64)
    assert (
        1e6 < here.flops < 1e15 and 1e6 < here.bandwidth < 1e15 and here.memory > 1e8 and "measured now" in here.source
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    pytest.importorskip("tokenizers", reason="needs the extra [text]")
    return tiny_folders.Folders(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("name", some_slow(tiny_folders.FOLDERS, set(tiny_folders.FOLDERS) - {"flux", "dit"}))
def test_a_folder_is_planned_by_its_parts_without_its_weights(folders, name, capsys):
    size = ("--size", "24", "16") if name in ("flux", "sd3", "flux_2", "z_image") else ()
    assert plan("--accelerator", "h100", "--model", str(folders[name]), "--steps", "3", "--guided", *size) == 0
    output = capsys.readouterr().out
    pipeline, _, parts = tiny_folders.FOLDERS[name]
    height = size[1] if size else 16
    assert f"({pipeline}) in bfloat16 on H100 SXM: a picture of {height} × 16, 3 steps, guided" in output
    named = re.findall(r"^  (\w+): (\S+) M parameters, .*; (\S+) .?FLOP a call", output, re.M)
    assert re.search(r"about \S+ .?B at once: .*\n  \S+ .?B with --storage int8, \S+ .?B with --storage int4\n", output)
    assert len(re.findall(r"about \S+ .?B of working memory", output)) == output.count("FLOP a call")
    assert {part for part, _, _ in named} == {part for part in parts if not part.startswith(("tok", "sch"))}
    assert all(float(flops) > 0 for _, _, flops in named) and output.count("6 calls") == 1


def test_a_folder_counts_the_products_of_its_networks(folders):
    model = open_model(folders["flux"])
    small, large = (
        {part.name: part for part in folder_lines.planned(model, folder_lines.Draw(side, side, 4, 1))}
        for side in (16, 32)
    )
    assert small["transformer"].calls == 4 and large["transformer"].flops > 2 * small["transformer"].flops
    assert large["vae"].flops > 3.9 * small["vae"].flops
    assert small["text_encoder_2"] == large["text_encoder_2"] and small["vae"].nbytes == 4 * small["vae"].parameters
    assert len(set(small["vae"].stored.values())) == 1
    for name in ("transformer", "text_encoder"):
        stored = small[name].stored
        shapes = model.parts[name].shapes(jnp.dtype(model.dtype))
        for storage in ("int8", "int4"):  # there are no convolutions
            packed = jax.eval_shape(functools.partial(quantised.quantise, rules=STORAGES[storage][:1]), shapes)
            assert stored[storage] == quantised.nbytes(packed) != stored["full"]


def test_devices_that_share_a_folder_hold_their_shares_of_it(folders, capsys):
    model = open_model(folders["flux"])
    one, eight = (
        folder_lines.planned(model, folder_lines.Draw(16, 16, 4, 1), AbstractMesh((1, fsdp, 1), sharding.AXES))
        for fsdp in (1, 8)
    )
    for alone, part in zip(one, eight, strict=True):
        assert alone.shared == alone.stored == part.stored and alone.flops == part.flops
        leaves = jax.tree.leaves(model.parts[part.name].shapes())
        split = [leaf.size * leaf.dtype.itemsize for leaf in leaves if leaf.size >= sharding.SMALLEST]
        assert part.shared["full"] == part.stored["full"] - sum(split) * 7 // 8
    assert any(part.shared["full"] < part.stored["full"] for part in eight)
    size = ("--size", "16", "16", "--steps", "1", "--mesh")
    assert plan("--accelerator", "h100", "--model", str(folders["flux"]), *size, "fsdp=8") == 0
    assert "at once on each of 8 devices (times and working memory are of one): " in capsys.readouterr().out
    assert plan("--accelerator", "h100", "--model", str(folders["flux"]), *size, "fsdp=all") == 2
    assert plan("--accelerator", "h100", "--model", str(folders["flux"]), *size, "tensor=5") == 0


def test_tiles_lower_the_working_memory_of_the_autoencoder_alone(folders):
    model = open_model(folders["stable"])
    full, tiled = (
        {part.name: part.working["full"] for part in folder_lines.planned(model, folder_lines.Draw(64, 64, 4, 2, tile))}
        for tile in (None, 16)
    )
    assert tiled.pop("vae") < 0.5 * full.pop("vae") and tiled == full and all(full.values())


def test_the_most_memory_is_that_of_text_encoders_or_of_all_else_with_what_works(folders):
    model = open_model(folders["stable"], storage="int8")
    parts = folder_lines.planned(model, folder_lines.Draw(64, 64, 4, 2))
    most = folder_lines._drawing(parts, "int8")
    by_name = {part.name: part for part in parts}
    assert most.names == ["unet", "vae"]
    assert most.parameters == by_name["unet"].nbytes + by_name["vae"].nbytes
    assert most.working == max(by_name[name].working["int8"] for name in most.names)
    assert set(by_name["unet"].stored) == {"int8"}


@pytest.mark.parametrize("name", some_slow(WIDE, set(WIDE) - {"flux"}))
def test_a_file_in_blocks_is_planned_with_the_memory_that_it_then_takes(tmp_path, name, capsys):
    pytest.importorskip("gguf", reason="needs the extra [language]")
    folder, arrays = wide(tmp_path / "folder", name)
    file = in_gguf(tmp_path, name, arrays)
    model = open_model(folder, weights=file)
    planned = {part.name: part for part in folder_lines.planned(model, folder_lines.Draw(16, 16, 2, 1))}
    for part in planned:
        assert planned[part].stored == {"as-file": quantised.nbytes(model.part_params(part))}
    size = ("--size", "16", "16", "--steps", "1")
    assert plan("--accelerator", "h100", "--model", str(folder), "--weights", str(file), *size) == 0
    output = capsys.readouterr().out
    assert "for all parameters in as-file" in output and "--storage" not in output


@pytest.mark.slow
@pytest.mark.parametrize("name", HALVES)
def test_halves_as_their_files_have_them_are_planned_with_the_memory_that_they_take(tmp_path, name):
    def half(part):
        return {key: value.astype("float16") for key, value in tiny_folders.arrays_of(name, part).items()}

    model = open_model(tiny_folders.write(tmp_path / name, name, half), storage="as-file")
    for part in folder_lines.planned(model, folder_lines.Draw(16, 16, 2, 1)):
        assert part.nbytes == quantised.nbytes(model.part_params(part.name))


@table(
    ("words", "code", "message"),
    [
        (("--tile", "10"), 2, "--tile 10 must be a multiple of 2 from 16 on"),
        (("--weights", "int8"), 2, "--weights int8 is no file: --storage int8 says how kernels are kept"),
        (("--weights", "absent.safetensors"), 65, "absent.safetensors"),
        (("--storage", "int3"), 2, "Invalid choice"),
    ],
)
def test_what_text_to_image_refuses_of_a_folder_plan_refuses_too(words, code, message, folders, capsys):
    size = ("--size", "16", "16", "--steps", "1")
    assert plan("--accelerator", "h100", "--model", str(folders["flux"]), *size, *words) == code
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_smoke_plan_compiles_a_tiny_network_and_its_state_is_in_what_xla_counts(capsys):
    assert plan("--accelerator", "h100", "--smoke", "--flops-share", "0.5") == 0
    match = capsys.readouterr().out
    assert "dit-tiny/2 in bfloat16 on H100 SXM" in match and "estimates with 0.5 of its arithmetic" in match
    megabytes = float(re.search(r"training step as compiled for this CPU, an estimate: (\S+) MB of memory", match)[1])
    parameters = float(re.search(r"(\S+) M parameters", match)[1])
    assert megabytes > 16 * parameters, "parameters, two moments and the average at least"
    assert "evaluation as compiled for this CPU" in match


@table(
    ("words", "message"),
    [
        (("--accelerator", "h1000"), "Invalid choice"),
        (("--accelerator", "h100", "--network", "dit-xxl/2"), "did you mean 'dit-xl/2'?"),
        (
            ("--accelerator", "h100", "--network", "dit-s/16", "--shape", "40", "40", "4"),
            "patches of 16 pixels do not divide",
        ),
        (("--accelerator", "h100", "--batch", "0"), "--batch 0: it must be a whole number from 1"),
        (("--accelerator", "h100", "--batch", "10", "--mesh", "data=4"), "--batch 10 is no multiple of the 4 devices"),
        (("--accelerator", "h100", "--mesh", "tensor=2"), "give the sizes of data and fsdp as numbers"),
        (("--accelerator", "h100", "--mesh", "data=all"), "give the sizes of data and fsdp as numbers"),
        (
            ("--accelerator", "h100", "--flops-share", "1.5"),
            "--flops-share 1.5: it must be a finite number above 0 and at most 1",
        ),
        (("--accelerator", "h100", "--dtype", "int8"), "Invalid choice"),
        (("--accelerator", "h100", "--size", "64", "64"), "--size is for a folder of diffusers"),
        (("--accelerator", "h100", "--weights", "a.gguf"), "--weights is for a folder of diffusers"),
        (("--accelerator", "h100", "--storage", "int8"), "--storage is for a folder of diffusers"),
        (("--accelerator", "h100", "--tile", "512"), "--tile is for a folder of diffusers"),
        (("--accelerator", "h100", "--model", ".", "--batch", "2"), "--batch does not go with --model"),
    ],
)
def test_a_wrong_option_exits_2_before_anything_is_traced(words, message, capsys):
    assert plan(*words) == 2
    out, errors = capsys.readouterr()
    assert message in errors and "training step" not in out


def test_the_cost_of_many_equal_blocks_follows_from_one_and_two():
    config = Config(network="dit-tiny/2", remat="products")
    short = facts.model(Described(config, Data("", "", 0, 0, 0, (8, 8, 3), 256, ("a", "b"))))
    deep = training_cost.module(short).clone(depth=3)
    model = dataclasses.replace(short, predict=networks.pure(deep), init=facts.init(deep, short.shape, True))
    quick, traced = training_cost.cost(config, model), training_cost.Cost(*training_cost.sums(config, model))
    assert (quick.parameters, quick.kept) == (traced.parameters, traced.kept)
    assert quick.flops == pytest.approx(traced.flops, rel=1e-6), "XLA adds in float32"
