"""What the tests assert, as Markdown: `python -m tests.peers.table` writes README.md beside, and runs nothing."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.peers import k_diffusion_cases
from tests.peers.diffusers_agreements import AGREEMENTS
from tests.peers.diffusers_differences import ABSENT, APART, DIFFERENCES

FILE = Path(__file__).with_name("README.md")
HEAD = """# Coming from diffusers and k-diffusion

## What is called what

| there | here |
| --- | --- |
| `scheduler` | a schedule (`diffusion.schedules`), a grid of levels (`diffusion.grids`) and a sampler (`diffusion.samplers`), chosen apart |
| `beta_schedule="scaled_linear"`, `"linear"`, `"squaredcos_cap_v2"` | `schedules.scaled_linear()`, `linear()`, `cosine()` |
| `rescale_betas_zero_snr=True` | `schedules.zero_terminal_snr(schedule)` |
| `timestep_spacing="leading"`, `"trailing"`, `"linspace"` | `grids.leading`, `trailing`, `linspace` |
| `steps_offset=1` | `grids.leading(schedule, n, offset=1)` |
| `set_alpha_to_one=False` | a grid with `end="first"` |
| `use_karras_sigmas`, `use_exponential_sigmas` | `grids.karras`, `grids.log_snr` |
| `prediction_type="epsilon"`, `"sample"`, `"v_prediction"`, `"flow_prediction"` | `parameterization.noise()`, `clean()`, `velocity()`, `flow()` |
| `guidance_scale`, `guidance_rescale` | `guidance.classifier_free(conditional, unconditional, scale, rescale=…)` |
| `generator` | `key` and `index`: sample i is the same in every batch |
| `sigmas` of k-diffusion | the levels of `schedules.edm()`, where alpha is 1 |
| a saved `UNet2DModel` or `DiTTransformer2DModel` | `weights.diffusers_unet`, `weights.diffusers_dit` |

## What agrees and what differs

`make test-peers` runs every row below on one oracle, a Gaussian mixture whose noised score is exact. In a table without differences, end points
agree to 1e-9 in float64, and to 1e-5 in the precision that the peer ships with. In a table with differences, the number is the largest over the
end points. All rows have 10 steps unless they name another number. SD is Stable Diffusion's schedule, `schedules.scaled_linear()`; ZERO_SNR is
that with zero terminal SNR; EDM and FLOW are `schedules.edm()` and `schedules.flow()`; "own" means the levels that the scheduler visits.
"""


def markdown() -> Iterator[str]:
    """Lines: what agrees, what differs, what has no counterpart."""
    yield HEAD
    peers = ("diffusers", AGREEMENTS, DIFFERENCES, APART, ABSENT), ("k-diffusion", *k_diffusion_cases.TABLES)
    for peer, agreements, differences, apart, absent in peers:
        yield from _rows((peer, "gendiff", "levels"), ((case, f"`{case.sampler}`", f"`{case.levels}`") for case in agreements))
        yield from _rows(
            (peer, "gendiff", "levels", "difference", "cause"),
            ((entry.case, f"`{entry.case.sampler}`", f"`{entry.case.levels}`", _size(entry.size), entry.cause) for entry in differences),
        )
        yield from _rows((peer, "driven apart"), apart.items())
        yield from _rows((peer, "without counterpart, as it is"), absent.items())


def _size(value: float) -> str:
    return "NaN" if value == float("inf") else f"{value:.2g}"


def _rows(head: tuple[str, ...], rows: Iterable[tuple]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


if __name__ == "__main__":
    FILE.write_text("\n".join(markdown()), encoding="utf-8")
