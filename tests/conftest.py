"""Strict settings for every test: one CPU thread per worker, warnings and rank promotion are errors, key reuse is
checked.
"""

import functools
import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
# also for processes that tests start: none of them touches the folder of the user
os.environ["GENDIFF_COMPILE_CACHE"] = "none"
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores, so each gets one thread
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import jax
import jaxtyping
import pytest
from jax.experimental.compilation_cache import compilation_cache

from gendiff.runs import compile_cache, devices
from gendiff.runs.reporting import environment
from tests import lazy_checks, order

KEPT = os.environ.get("GENDIFF_TEST_PROGRAMS")
"""Folder that keeps compiled programs for the next run of the tests, one folder per kind of processor; none without
it.
"""

APPLICATION = ("tests/experiments/", "tests/runs/", "tests/commands/")
AS_USERS = ("tests/runs/test_compile_cache.py", "tests/runs/test_devices.py", "tests/runs/test_dtypes.py")
"""Files of the application whose programs are compiled as users have them."""
COMPILER_OPTIONS, SOURCE_STATE = devices.compiler_options, environment.source_state
SOURCE_STATE_ONCE = functools.cache(SOURCE_STATE)

sys.argv[0] = "pytest"  # messages name the program that a person typed, and `python -m pytest` is none
gc.disable()  # until all tests are collected: what is imported stays
lazy_checks.install()
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_enable_compilation_cache", False)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

hypothesis.settings.register_profile(
    "gendiff",
    deadline=None,
    max_examples=20,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("gendiff")

collect_ignore = [] if importlib.util.find_spec("torch") else [str(Path(__file__).parent / "peers")]
"""Peers are not collected where they are not installed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--end-within",
        type=float,
        metavar="SECONDS",
        help="skip a test that would not end by then, by its recorded seconds",
    )
    parser.addoption(
        "--third-of",
        metavar="COMMIT",
        help="of the smoke runs of studies run the third that this commit's hash chooses",
    )
    parser.addoption("--record-costs", action="store_true", help="write the seconds of each test to tests/costs.json")


def pytest_configure(config: pytest.Config) -> None:
    options = (config.getoption(name) for name in ("--end-within", "--third-of", "--record-costs"))
    config.pluginmanager.register(order.Order(*options))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)  # what is traced is many objects that soon go: to look for cycles in it is dear
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The application has a cache of its own, by other rules, and calls oneDNN, which cannot be kept: its tests keep
    nothing. Where programs compile quickly it does without oneDNN, and git is asked once for the state of the code.
    """
    application = item.nodeid.startswith(APPLICATION)
    quick = application and jax.config.read("jax_disable_most_optimizations") and not item.nodeid.startswith(AS_USERS)
    devices.compiler_options = (lambda libraries=True: {}) if quick else COMPILER_OPTIONS
    by_git = item.nodeid.startswith("tests/runs/test_environment.py")
    environment.source_state = SOURCE_STATE if by_git else SOURCE_STATE_ONCE
    keeps = bool(KEPT) and not application
    if keeps != jax.config.jax_enable_compilation_cache:
        compilation_cache.reset_cache()
        jax.config.update("jax_enable_compilation_cache", keeps)
        jax.config.update(
            "jax_compilation_cache_dir", str(Path(KEPT).absolute() / compile_cache.of_user().name) if keeps else None
        )


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        # traced programs stay in caches: to look through all of them for garbage took seconds, again and again
        gc.freeze()


@pytest.fixture
def float64() -> Iterator[None]:
    """64-bit types inside the test and the fixtures requested after this one."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape checks of the test run, as users run the library: what is refused inside is refused by gendiff
    itself.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True)
def _float64_when_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    with jax.enable_x64(bool(request.node.get_closest_marker("float64"))):
        yield
