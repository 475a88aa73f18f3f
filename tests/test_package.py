"""What a user installs and runs: the wheel, the README's example with what it names alone, and the scripts of
experiments/examples.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import gendiff

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "experiments" / "examples"
PROMISES = {
    "eight_devices": ((r"^8 devices", r"differ by ([0-9.e+-]+)"), lambda difference: difference < 1e-4),
    "one_gpu": ((r"no GPU here", r"float32 \(16, 32, 32, 3\), finite: True"), lambda: True),
    "own_network": (
        (r"loss: (\S+) at the start, (\S+) at the end", r"mean and std of 100 samples"),
        lambda start, end: end < 0.7 * start,
    ),
    "own_sampler": (
        (r"order of ddim: (\S+)", r"order of heun: (\S+)"),
        lambda ddim, heun: 0.8 < ddim < 1.2 and 1.8 < heun < 2.2,
    ),
    "resume": (
        (r"restored step 20", r"(\d+) of (\d+) arrays are bitwise equal after step 40"),
        lambda equal, every: equal == every > 10,
    ),
}
"""Script -> what it prints, and what must hold of the numbers in it."""


def run(*command, folder, **variables):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what git has or would take, so that nothing left lying in the tree gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    if not listed:
        pytest.skip("no git repository")  # an unpacked archive
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, source, folder=source)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else_and_says_version_licence_and_bounded_requirements(wheel):
    archive, about = zipfile.ZipFile(wheel), f"gendiff-{gendiff.__version__}.dist-info"
    names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"gendiff", about}
    kept = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "gendiff").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if name.startswith("gendiff/")} == {
        name for name in kept if not name.endswith("README.md")
    }
    metadata = archive.read(f"{about}/METADATA").decode()
    for line in (f"Version: {gendiff.__version__}", "License-Expression: Apache-2.0", "Requires-Python: >=3.11"):
        assert f"\n{line}\n" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in names)
    required = [line for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.M) if "extra ==" not in line]
    assert len(required) == 9
    assert not [line for line in required if ">=" not in line or "<" not in line]


def test_the_readme_example_runs_in_an_environment_with_the_extra_that_it_names(wheel, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "It needs the extra `metrics`" in readme
    (tmp_path / "example.py").write_text(re.search(r"^```python\n(.*?)^```$", readme, re.M | re.S).group(1))
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    # this environment's pip, so that none need be installed; uncompiled, because the example imports a fraction of what
    # is installed
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-compile",
        f"{wheel}[metrics]",
        folder=tmp_path,
    )
    run(python, "-W", "error", "example.py", folder=tmp_path)
    others = ("matplotlib", "tyro", "torch", "jinja2")
    run(
        python,
        "-c",
        f"import importlib.util as u, sys; sys.exit(any(u.find_spec(name) for name in {others}))",
        folder=tmp_path,
    )
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.size == (500, 500)


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The `bin` of an environment that holds the wheel, what its extras name, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-compile")
    run(*pip, f"{wheel}[audio,run,serve]", folder=folder)
    return folder / "bin"


@pytest.fixture
def gendiff_command(environment, tmp_path):
    """`gendiff WORDS` as installed, in an empty folder; with a code, ends with it. What it says."""

    def call(*words, code=0):
        done = subprocess.run(
            [environment / "gendiff", *map(str, words)],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return call


@pytest.mark.timeout(900)  # the first one installs everything
def test_an_installed_command_tells_what_it_does_and_what_it_lacks(gendiff_command, tmp_path):
    usage = gendiff_command("--help")
    assert "usage: gendiff COMMAND" in usage and "text-to-image" in usage and "studies" not in usage
    assert len(usage.splitlines()) <= 40 and "python -m experiments" not in usage
    assert "text-to-image" in gendiff_command("list")
    assert "did you mean 'train'?" in gendiff_command("trian", code=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(900)
def test_weights_that_an_installed_command_lacks_come_by_the_line_that_it_says(environment, gendiff_command, tmp_path):
    drawing = ("text-to-image", "--prompt", "a red circle", "--model", "shapes", "--steps", "2", "--out", "circle.png")
    talking = ("chat", "--prompt", "Hello", "--max-tokens", "2")
    for words in (drawing, talking):
        line = re.search(r"pip install --no-deps ('[^']+'|[^\s;:,]+)", gendiff_command(*words, code=2))
        run(
            sys.executable,
            "-m",
            "pip",
            "--python",
            environment / "python",
            *shlex.split(line[0])[1:],
            "--quiet",
            folder=tmp_path,
        )
    gendiff_command(*drawing)
    assert gendiff_command(*talking).strip()
    with Image.open(tmp_path / "circle.png") as picture:
        assert picture.text["gendiff"]
    assert "add --api-key-file FILE" in gendiff_command("serve", "--host", "0.0.0.0", "--port", "0", code=2)
    words = [
        environment / "gendiff",
        "serve",
        "--port",
        "0",
        "--model",
        "shapes",
        "--together",
        "1",
        "--compile-cache",
        "none",
    ]
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as server:
        try:
            place = next(match[0] for line in server.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
            body = json.dumps({"prompt": "a red circle", "steps": 2}).encode()
            request = urllib.request.Request(
                f"{place}/v1/images/generations", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                assert json.load(answer)["data"][0]["b64_json"].startswith("iVBOR")
            server.terminate()
            assert server.wait(timeout=60) == 42
        finally:
            server.kill()


@pytest.mark.timeout(900)
def test_installed_commands_train_and_draw_without_a_clone(gendiff_command, tmp_path):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    assert "runs/images-smoke/report.html" in gendiff_command("train", "photos", "--smoke")
    gendiff_command("sample", "runs/images-smoke", "--num", "4", "--steps", "2", "--out", "four.png")
    gendiff_command("video", "--num", "1", "--frames", "2", "--steps", "1", "--out", "clip.webp")
    gendiff_command("report", "runs/images-smoke")
    gendiff_command("plan", "--accelerator", "h100", "--network", "dit-s/2", "--batch", "8")
    for name in ("four.png", "clip.webp"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size[0] > 8


@pytest.mark.timeout(900)
def test_installed_commands_tune_and_plan_and_report_on_data(gendiff_command, tmp_path):
    (tmp_path / "photos").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    gendiff_command("tune", "--smoke", "--out", "sft")
    gendiff_command("tune", "--method", "dpo", "--smoke", "--out", "dpo")
    assert "serving has cost as much as training" in gendiff_command("plan", "--cost", "--smoke")
    assert "6 training pictures" in gendiff_command("data-report", "photos")
    assert "training rows" in gendiff_command("data-report", "sft")
    for name in ("runs/data-report", "sft"):
        assert (tmp_path / name / "data_report.html").is_file() and (tmp_path / name / "data_report.json").is_file()


@pytest.mark.timeout(900)
def test_installed_commands_learn_sounds_and_draw_some(gendiff_command, tmp_path):
    (tmp_path / "sounds").mkdir()
    for number in range(40):
        tone = 10_000 * np.sin(np.arange(8000) * 0.02 * (number + 1))
        wavfile.write(tmp_path / "sounds" / f"{number}.wav", 8000, tone.astype(np.int16))
    gendiff_command("train", "sounds", "--smoke", "--out", "run")
    gendiff_command("sample", "run", "--num", "2", "--steps", "2", "--out", "two")
    for number in range(2):
        rate, samples = wavfile.read(tmp_path / "two" / f"{number:06d}.wav")
        assert rate == 16_000 and samples.any()
    assert "40 training sounds" in gendiff_command("data-report", "sounds")


def test_every_script_is_tested():
    assert {path.stem for path in SCRIPTS.glob("*.py")} - {"__init__"} == set(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_a_script_prints_what_it_promises(name):
    promised, holds = PROMISES[name]
    out = run(
        sys.executable, "-W", "error", SCRIPTS / f"{name}.py", folder=ROOT, JAX_PLATFORMS="cpu", PYTHONPATH=str(ROOT)
    )
    printed = [re.search(promise, out, re.M) for promise in promised]
    assert all(printed), out
    assert holds(*(float(number) for match in printed if match for number in match.groups())), out
