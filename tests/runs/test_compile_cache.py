"""Where compiled programs are kept, which of them, and what happens where they cannot be."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from gendiff.runs import compile_cache, devices
from gendiff.runs.compile_cache import Unkept
from gendiff.runs.reporting import processor
from tests.tables import table

SETTINGS = (
    *("jax_compilation_cache_dir", "jax_enable_compilation_cache", "jax_compilation_cache_max_size"),
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    """A process of a user whose cache folder is new; all that JAX is told is taken back afterwards."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    monkeypatch.delenv(compile_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(compile_cache, "SHORTEST", 0.0)
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compile_one(name):
    """Compiles a function of that name."""

    def function(x):
        return jnp.sin(x) + len(name)

    function.__name__ = function.__qualname__ = name
    jax.jit(function).lower(np.ones(3, np.float32)).compile()


def programs(path):
    """Which functions have a program there."""
    return sorted(file.name.removeprefix("jit_").split("-")[0] for file in path.glob("*-cache"))


def test_by_default_programs_are_kept_in_a_folder_of_the_user_of_bounded_size(tmp_path):
    path = compile_cache.use()
    assert path.is_relative_to(tmp_path / "home" / "gendiff") and path.stat().st_mode & 0o077 == 0
    assert jax.config.jax_compilation_cache_max_size == compile_cache.MOST_BYTES > 0
    assert compile_cache.in_use() and not compile_cache.keeps_all() and devices.compilation()["compile cache"] == "off"


def test_each_kind_of_processor_has_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "INFO", tmp_path / "info")
    folders = set()
    for flags in ("avx2 sse2", "sse2 avx2", "avx512f"):
        (tmp_path / "info").write_text(f"flags : {flags}\n")
        folders.add(compile_cache.of_user())
    assert len(folders) == 2


@table("words", [("none",), ("",), ()])
def test_none_keeps_nothing(words, monkeypatch, tmp_path):
    monkeypatch.setenv(compile_cache.VARIABLE, "none")
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))  # by a variable of JAX's own
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compile_one("before")
    assert compile_cache.use(*words) is None
    assert not compile_cache.in_use() and not (tmp_path / "home").exists()
    compile_one("behind")
    assert programs(tmp_path / "theirs") == ["before"], "JAX looked into it before"


def test_another_folder_takes_the_place_of_one_that_jax_has_opened(tmp_path):
    for name in ("one", "two"):
        compile_cache.use(str(tmp_path / name))
        compile_one(name)
        assert programs(tmp_path / name) == [name]


def test_a_folder_that_was_asked_for_keeps_all_programs_and_leaves_out_what_it_cannot_store(tmp_path):
    without = devices.compiler_options()
    assert compile_cache.use(str(tmp_path / "mine")) == tmp_path / "mine"
    assert compile_cache.keeps_all() and devices.compilation()["compile cache"] == "on"
    assert devices.ONEDNN not in devices.compiler_options() and devices.compiler_options().keys() <= without.keys()


def test_a_folder_that_jax_was_told_of_is_left_as_it_is(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    assert compile_cache.use() == tmp_path / "theirs" and compile_cache.keeps_all()


@pytest.mark.fault("the folder of compiled programs cannot be written")
@pytest.mark.parametrize("problem", ["a file", "the flags", "no home"])
def test_where_programs_cannot_be_kept_a_line_says_so_and_the_command_goes_on(problem, monkeypatch, tmp_path):
    if problem == "a file":
        (tmp_path / "home").write_text("no folder")
    elif problem == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    else:
        monkeypatch.setenv("XLA_FLAGS", f"--{devices.ONEDNN}=true")
    messages = []
    assert compile_cache.use(say=messages.append) is None and not compile_cache.in_use()
    assert len(messages) == 1 and messages[0].startswith("note: compiled programs are not kept, because ")
    assert float(jax.jit(lambda x: x + 1)(1.0)) == 2.0


def test_programs_that_cannot_be_stored_are_left_out_and_all_others_kept():
    def first(x):
        return jnp.sin(x)

    def second(x):
        return jnp.cos(x)

    def third(x):
        return jnp.tan(x)

    def fourth(x):
        return jnp.exp(x)

    path, x = compile_cache.use(), jnp.ones(3)
    jax.jit(first)(x)
    Unkept(jax.jit(second))(x)
    lowered = Unkept(jax.jit(third)).lower(x)
    assert lowered.cost_analysis() and float(lowered.compile()(x)[0]) == float(jnp.tan(x)[0])
    jax.jit(fourth)(x)
    names = programs(path)
    assert {"first", "fourth"} <= set(names) and not {"second", "third"} & set(names)


def test_two_threads_within_keep_nothing_until_both_have_left():
    compile_cache.use()
    states = []
    with compile_cache._PAUSE:
        with compile_cache._PAUSE:
            pass
        states.append(jax.config.jax_persistent_cache_min_compile_time_secs)
    states.append(jax.config.jax_persistent_cache_min_compile_time_secs)
    assert states == [float("inf"), compile_cache.SHORTEST]


def test_programs_of_onednn_keep_it_and_are_not_stored_while_a_folder_of_the_user_is_in_use(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(jax, "__version__", "0.12.0")
    assert not isinstance(devices.jit(jnp.sin), Unkept)
    compile_cache.use()
    assert devices.ONEDNN in devices.compiler_options()
    assert isinstance(devices.jit(jnp.sin), Unkept) and not isinstance(devices.jit(jnp.sin, libraries=False), Unkept)
    assert compile_cache.keeps(jnp.sin) and not compile_cache.keeps(devices.jit(jnp.sin))


COLD = """
    import sys
    import jax, jax.numpy as jnp, numpy as np
    from gendiff.runs import compile_cache, devices
    compile_cache.SHORTEST = 0.0
    compile_cache.use(*sys.argv[2:])
    hits = []
    jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None)
    kernel = 0.01 * jax.random.normal(jax.random.key(0), (3, 3, 64, 64))
    def step(i, x):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.tanh(y @ kernel[0, 0])
    x = jax.random.normal(jax.random.key(1), (4, 16, 16, 64))
    loop = devices.jit(lambda x: jax.lax.fori_loop(0, 2, step, x))(x)
    flat = devices.jit(lambda x: step(0, x))(x)
    before = len(hits)
    plain = devices.jit(lambda x: step(0, jnp.sin(x)), libraries=False)(x)
    np.savez(sys.argv[1], loop=loop, flat=flat, plain=plain)
    print(before, len(hits) - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("location", ["of the user", "asked for"])
def test_a_cold_process_finds_kept_programs_and_computes_the_same_bits(location, tmp_path):
    """With oneDNN a loop, and a program without one, are not stored, where jaxlib would crash."""
    variables = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "home"), "JAX_PLATFORMS": "cpu"}
    outputs, counts = [], []
    for name in ("first", "second"):
        words = [str(tmp_path / f"{name}.npz"), *([str(tmp_path / "mine")] if location == "asked for" else [])]
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(COLD), *words],
            capture_output=True,
            text=True,
            env=variables,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        counts.append([int(word) for word in ended.stdout.split()])
        outputs.append(dict(np.load(words[0])))
    assert counts[0][1] == 0 and counts[1][1] == 1
    assert all(np.array_equal(outputs[0][name], outputs[1][name]) for name in ("loop", "flat", "plain"))
