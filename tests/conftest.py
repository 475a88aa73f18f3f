"""Strict settings for every test: one CPU thread a worker, warnings and rank promotion are errors, key reuse is checked, no disk cache."""

import gc
import os
import time
from collections.abc import Iterator

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
os.environ["GENDIFF_COMPILE_CACHE"] = "none"  # also for processes that tests start: none of them touches the folder of the user
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores, so each gets one thread
    os.environ.setdefault("NPROC", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_enable_compilation_cache", False)

hypothesis.settings.register_profile(
    "gendiff",
    deadline=None,
    max_examples=20,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("gendiff")

MARKERS = (
    "float64: run the test with 64-bit types",
    "slow: takes longer than the tests of every change may (make test-slow)",
    "peers: needs other people's libraries (torch, diffusers), which gendiff never imports",
)


BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--begin-within", type=float, metavar="SECONDS", help="leave out tests that would begin later: they are skipped")


def pytest_runtest_setup(item: pytest.Item) -> None:
    seconds = item.config.getoption("--begin-within")
    if seconds is not None and time.monotonic() - BEGAN > seconds:
        pytest.skip(f"--begin-within {seconds:.0f}: no time is left")


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        gc.freeze()  # traced programs stay in caches: to look through all of them for garbage took seconds, again and again


def pytest_configure(config: pytest.Config) -> None:
    filters = config.getini("filterwarnings")
    if "error" not in filters:
        filters.insert(0, "error")  # first, so that a narrower filter of the project still wins
    known = {line.split(":")[0].strip() for line in config.getini("markers")}
    for marker in MARKERS:
        if marker.split(":")[0] not in known:
            config.addinivalue_line("markers", marker)


@pytest.fixture
def float64() -> Iterator[None]:
    """64-bit types inside the test and the fixtures requested after this one."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape checks of the test run, as users run the library: what is refused inside is refused by gendiff itself."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True)
def _float64_when_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    with jax.enable_x64(bool(request.node.get_closest_marker("float64"))):
        yield
