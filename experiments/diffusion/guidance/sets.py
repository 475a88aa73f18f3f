"""Every set of samples of the guidance experiment, drawn and measured: what the claims, tables and figures are made of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.diffusion.guidance import cures as guidance_cures
from experiments.diffusion.guidance import measures, networks
from experiments.diffusion.guidance.config import Config
from experiments.diffusion.guidance.cures import Sweep
from experiments.diffusion.guidance.measures import Rows, Subject
from experiments.diffusion.guidance.networks import Data
from experiments.diffusion.guidance.rules import RULES
from experiments.diffusion.image_draws import Draws, classifier_free
from experiments.diffusion.image_training import Learning
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.core.types import Params


@dataclass(frozen=True)
class DrawnSets:
    """plain, deaf: of each subject. cures, short: of digits, by rule; short is plain guidance of as many samples as a cure.

    dropouts: by the share, one seed each. shuffled: of the network that learned shuffled labels. shown: of each subject the first images of
    the first seed, (scales, n, h, w, c). explored: of each subject (scales, steps, seeds, n, h, w, c).
    """

    plain: Mapping[str, Sweep]
    deaf: Mapping[str, Sweep]
    cures: Mapping[str, Sweep]
    short: Sweep
    dropouts: Mapping[float, Sweep]
    shuffled: Sweep
    shown: Mapping[str, np.ndarray]
    explored: Mapping[str, np.ndarray]


def draw(config: Config, folder: RunFolder, progress: Progress) -> DrawnSets:
    """From the checkpoints of the folder."""
    with progress.phase("sample digits"):
        subject = measures.of_digits()
        digits = _Drawn(config, "digits", subject, folder, progress)
        plain, short, shown = digits.plain(config.samples, config.cure_samples)
        deaf = digits.deaf()
        cures = digits.cures(short)
        shares = {config.digits.drop_condition: plain.seed(0)} | {
            share: digits.other(networks.dropout_name(share), config.digits) for share in networks.dropouts(config)
        }
        shuffled = digits.other(networks.SHUFFLED, config.digits)
    with progress.phase("sample shapes"):
        shapes = _Drawn(config, "shapes", measures.of_shapes(config), folder, progress)
        plain_shapes, _, shown_shapes = shapes.plain(config.shape_samples, config.shape_samples)
        deaf_shapes = shapes.deaf()
    with progress.phase("explore"):
        explored = {"digits": digits.explored(), "shapes": shapes.explored()}
    return DrawnSets(
        {"digits": plain, "shapes": plain_shapes},
        {"digits": deaf, "shapes": deaf_shapes},
        cures,
        short,
        dict(sorted(shares.items())),
        shuffled,
        {"digits": shown, "shapes": shown_shapes},
        explored,
    )


class _Drawn:
    """Networks of one data set, the program that draws from them, and the subject that judges."""

    def __init__(self, config: Config, data: Data, subject: Subject, folder: RunFolder, progress: Progress) -> None:
        self._config, self._data, self._subject, self._folder = config, data, subject, folder
        learning, self._name = (config.digits, "") if data == "digits" else (config.shapes, "shapes")
        model = networks.model(learning, data)
        second = networks.model(config.weaker, data) if data == "digits" else model  # shapes have no weaker network
        together = config.together if data == "digits" else config.shapes_together
        self._draw = Draws(model, config.sampling_steps, together, progress, second=second)
        self._params = {seed: networks.restore(learning, data, folder, self._name, seed) for seed in config.seeds}

    def plain(self, count: int, fewer: int) -> tuple[Sweep, Sweep, np.ndarray]:
        """The sweep over all scales, that of the first `fewer` samples, and the images of the first seed that are shown."""
        all_rows, some_rows, shown = [], [], []
        for seed, params in self._params.items():
            sets = [self._set(f"seed {seed}, guidance {scale:g}", params, count, scale) for scale in self._config.scales]
            all_rows.append([self._subject.rows(images) for images in sets])
            some_rows.append(all_rows[-1] if fewer == count else [self._subject.rows(images[:fewer]) for images in sets])
            spread = np.arange(self._config.shown) * max(1, self._subject.classes // self._config.shown)  # of all classes
            shown.append(np.stack(sets)[:, spread])
        scales = self._config.scales
        return guidance_cures.sweep(scales, all_rows), guidance_cures.sweep(scales, some_rows), shown[0]

    def deaf(self) -> Sweep:
        """Without labels, at the scales at which faithfulness is claimed to grow."""
        most, count = self._limit(), self._config.control_samples if self._data == "digits" else self._config.shape_samples
        scales = [scale for scale in self._config.scales if scale <= most]
        rows = [
            [self._subject.rows(self._set(f"deaf, seed {seed}, guidance {scale:g}", params, count, scale, "deaf")) for scale in scales]
            for seed, params in self._params.items()
        ]
        return guidance_cures.sweep(scales, rows)

    def cures(self, plain: Sweep) -> dict[str, Sweep]:
        """Each rule at its own scales, after the one where it does nothing: plain guidance's 1, or 0 for CFG++; thresholding has none."""
        sweeps = {}
        for name in self._config.cures:
            own = self._config.renoised_scales if name == "CFG++" else self._config.cure_scales
            rows: list[list[Rows]] = []
            for seed, params in self._params.items():
                weaker = networks.restore(self._config.weaker, self._data, self._folder, "weaker", seed)
                count = self._config.cure_samples
                sets = [self._set(f"{name}, seed {seed}, scale {scale:g}", params, count, scale, name, weaker) for scale in own]
                rows.append([self._subject.rows(images) for images in sets])
            start = 0.0 if name == "CFG++" else 1.0
            swept = guidance_cures.sweep(own, rows)
            sweeps[name] = swept if name == "thresholding" else plain.of([start]).followed_by(swept)
        return sweeps

    def other(self, name: str, learning: Learning) -> Sweep:
        """The sweep of a network of the first seed that lies in its own folder."""
        params = networks.restore(learning, self._data, self._folder, name, self._config.seeds[0])
        count = self._config.samples
        rows = [self._subject.rows(self._set(f"{name}, guidance {scale:g}", params, count, scale)) for scale in self._config.scales]
        return guidance_cures.sweep(self._config.scales, [rows])

    def explored(self) -> np.ndarray:
        """(scales, steps, seeds, n, h, w, c): the same noise under every guidance, number of steps and seed."""
        config = self._config

        def draw(scale: float, steps: int, seed: int) -> np.ndarray:
            title = f"guidance {scale:g}, {steps} steps, seed {seed}"
            return self._draw(title, self._params[seed], config.explored, scale=scale, rule=classifier_free, steps=steps)

        return np.array(
            [[[draw(scale, steps, seed) for seed in self._params] for steps in config.explored_steps] for scale in config.scales]
        )

    def _limit(self) -> float:
        return self._config.digits_faithful_to if self._data == "digits" else self._config.shapes_faithful_to

    def _set(self, title: str, params: Params, count: int, scale: float, rule: str = "plain", weaker: Params = None) -> np.ndarray:
        return self._draw(f"{self._data}, {title}", params, count, scale=scale, rule=RULES[rule], second=weaker)
