"""Strict settings for every test: one CPU thread per worker, warnings and rank promotion are errors, key reuse is
checked.
"""

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

from gendiff.runs import compile_cache
from tests import lazy_checks, order

KEPT = os.environ.get("GENDIFF_TEST_PROGRAMS")
"""Folder that keeps compiled programs for the next run of the tests, one folder per kind of processor; none without
it.
"""

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
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The application has a cache of its own, by other rules, and calls oneDNN, which cannot be kept: its tests keep
    nothing.
    """
    keeps = bool(KEPT) and not item.nodeid.startswith(("tests/experiments/", "tests/runs/", "tests/commands/"))
    folder = str(Path(KEPT).absolute() / compile_cache.of_user().name) if keeps else None
    # a page whose example runs a command may leave JAX without the folder
    if keeps != jax.config.jax_enable_compilation_cache or (keeps and folder != jax.config.jax_compilation_cache_dir):
        compilation_cache.reset_cache()
        jax.config.update("jax_enable_compilation_cache", keeps)
        jax.config.update("jax_compilation_cache_dir", folder)


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
