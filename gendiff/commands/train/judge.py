"""How a run is judged without a labelled judge: against held-out pictures, with the floor and controls beside every
number.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands import drawing_programs
from gendiff.commands.images import image_training, sample_files
from gendiff.commands.images.image_model import Model
from gendiff.commands.train import facts, opened_pictures
from gendiff.commands.train.config import GAUSSIAN, MEAN, ONE_STEP, OTHERS, REAL, SETS, UNTRAINED, Config
from gendiff.commands.train.facts import Described
from gendiff.commands.train.measures import SEED, Measures, some
from gendiff.core.errors import DataError
from gendiff.core.types import Params
from gendiff.data import emoji, scaling
from gendiff.diffusion import process
from gendiff.metrics import baselines
from gendiff.runs import devices, drawing, meshes, shards, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures, json_files
from gendiff.runs.reporting.environment import versions
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.shards import Manifest
from gendiff.runs.study import Measured
from gendiff.training import digests

GRID, ACROSS, COPIES, NAMED = 80, 8, 12, 12
"""Pictures in a grid and in its row, samples beside their nearest training pictures, and classes that a table names at
most.
"""
LENGTHS = (0.03, 0.05, 0.08, 0.12, 0.2)
"""Of averages, as shares of the training, where snapshots were kept."""
SAMPLES, SHARDS = ".judged", 50
"""Folder of the samples that are judged, while they are, and into how many files those of a set are split at most."""
LOG_SNR = np.linspace(-8.0, 8.0, 17)
"""Noise levels of the denoising error."""
FEW = 1000
"""Held-out pictures below which a Fréchet distance says little."""


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Every set of pictures; its last row has its figures and tables. DataError where the pictures are gone, or others
    than then.
    """
    several = len(config.data) > 1
    for entry, (name, within) in zip(config.data, facts.places(config, folder), strict=True):
        yield from OneSet(config, entry, name if several else "", folder, within, progress).judge()
    for _, within in facts.places(config, folder):
        shutil.rmtree(within.path / SAMPLES, ignore_errors=True)


class OneSet:
    """One set of pictures: opened again, and its networks judged. title: in front of names, where there are several
    sets.
    """

    def __init__(
        self, config: Config, entry: str, title: str, run: RunFolder, folder: RunFolder, progress: Progress
    ) -> None:
        self.config, self.entry, self.title, self.run, self.folder, self.progress = (
            config,
            entry,
            title,
            run,
            folder,
            progress,
        )
        self.facts = facts.read(folder)
        pictures = self._opened()
        self.training, self.labels, _ = opened_pictures.arrays(pictures.training, config.judged)
        self.held_out, self.held_out_labels, _ = opened_pictures.arrays(pictures.held_out, config.judged)
        self.described = Described(config, self.facts.data)
        self.model = facts.model(self.described)

    def judge(self) -> list[Measured]:
        """A row of each set of pictures; committed sets have two controls more."""
        config, committed, plots, further = self.config, self.entry in SETS, list[Figure](), list[Table]()
        named = list[Measured]()
        with self.progress.phase("measure real pictures"):
            classes = self.model.num_classes
            measures = Measures(config, self.training, self.held_out, self.labels if classes else None)
            rows = [self._row("real training pictures", measures.real, len(some(self.training, config.samples)))]
        with self.progress.phase("controls"):
            rows.append(self._row(GAUSSIAN, measures.measure(self._gaussian(config.controls)), config.controls))
            if committed:
                mean = np.repeat(
                    np.rint(self.training.mean(axis=0, keepdims=True)).astype(np.uint8), config.controls, axis=0
                )
                rows.append(self._row(MEAN, measures.measure(mean), config.controls))
            if classes:
                shares = measures.named(self.held_out, self.held_out_labels)
                named.append(self._row(REAL, shares, len(self.held_out)))
        for seed in config.seeds:
            params = image_training.averaged(self.model, self.folder, seed)
            with self.progress.phase("sample", seed=seed):
                samples = self._draw(params, config.samples, f"seed {seed}", self._checkpoint(seed))
                fresh = meshes.placed(self.model.init(jax.random.key(seed)), params)
                samples_of = {
                    UNTRAINED: self._draw(fresh, config.controls, "an untrained network", seed)
                }  # there, so that one program serves both
                if committed:
                    identity = self._checkpoint(seed), ONE_STEP
                    samples_of[ONE_STEP] = self._draw(
                        params, config.controls, f"seed {seed}, {ONE_STEP}", identity, steps=1
                    )
            with self.progress.phase("judge", seed=seed):
                labels = self._labels(len(samples))
                rows.append(self._row("", measures.measure(samples, labels), len(samples), seed))
                rows += [
                    self._row(name, measures.measure(images, self._labels(len(images))), len(images), seed)
                    for name, images in samples_of.items()
                ]
                if classes:
                    shares = measures.named(samples, (labels + 1) % classes)
                    named.append(self._row(OTHERS, shares, len(samples), seed))
                if seed == config.seeds[0]:
                    plots += self._figures(measures, samples, params)
            if seed == config.seeds[0] and self.folder.snapshots(seed).is_dir():
                with self.progress.phase("averages of other lengths", seed=seed):
                    figure, table = self._lengths(measures, params, seed)
                plots, further = [*plots, figure], [table]
        distances = {self._label(row): value for row in rows if isinstance(value := row.measures["frechet"], tuple)}
        caption = (
            f"{self._words}Fréchet distance of every set to held-out pictures; the floor, 1, is training pictures."
        )
        plots.append(
            figures.bars(distances, self._file("frechet"), caption, x_label="Fréchet distance, in floors", log=True)
        )
        all_rows = [*named, *rows]
        tables = [self._facts_table(), *self._tables(rows), *self._named_tables(all_rows), *further]
        return [*all_rows[:-1], dataclasses.replace(rows[-1], arrays={"figures": plots, "tables": tables})]

    def _row(self, name: str, numbers: dict[str, Number], n: int, seed: int | None = None) -> Measured:
        return Measured(f"{self.entry}: {name}" if name else self.entry, numbers, seed, n, self.title)

    def _label(self, row: Measured) -> str:
        seed, name = (
            "" if row.seed is None else f"seed {row.seed}",
            row.name.removeprefix(self.entry).removeprefix(": "),
        )
        return ", ".join(part for part in (seed, name) if part)

    def _opened(self) -> opened_pictures.Pictures:
        stored = self.facts.data
        if stored.place not in SETS and not Path(stored.place).exists():
            raise DataError(f"{stored.place}: the pictures are gone, and judging needs them; `sample` does not")
        pictures = opened_pictures.open_pictures(self.config, stored.place, self.run)
        facts.check_same(stored, facts.summarize(self.config, stored.place, pictures), self.folder)
        return pictures

    def _draw(self, params: Params, count: int, title: str, identity: object, steps: int | None = None) -> np.ndarray:
        """uint8 samples whose classes are drawn as those of the training pictures are.

        They are kept in shards until the judge has ended, so that an interrupted one goes on from there.
        identity: of the parameters.
        """
        config = self.config
        program = drawing_programs.label_program(
            facts.model, self.described, steps or config.sampling_steps, config.sampler, guided=config.guidance != 1
        )
        draw = functools.partial(
            program,
            params,
            jax.random.key(SEED),
            jnp.float32(config.guidance),
            jnp.float32(self.model.temperature),
        )
        labels = self._labels(count)
        together = min(config.together, count)
        size = together * -(-count // (together * SHARDS))
        settings = json_files.encode({"of": identity, "run": config, "pictures": self.facts.data.fingerprint})
        manifest = Manifest(
            "images", count, min(size, count), self.model.shape, self.model.names, settings, {"versions": versions()}
        )
        name = hashlib.sha256(json.dumps([settings, count]).encode()).hexdigest()[:16]
        archive, notes = shards.create(self.folder.path / SAMPLES / name, manifest)
        for note in notes:
            self.progress.line(note)
        todo = list(archive.incomplete())
        if done := count - sum(len(manifest.ids(number)) for number in todo):
            self.progress.line(f"sample {title}: {done} of {count} samples are there already")
        if todo:
            fill = functools.partial(drawing.into_shards, draw, archive, todo, pixels=opened_pictures.as_bytes)
            fill(labels=lambda index: labels[index], together=together, progress=self.progress, title=title)
        return np.concatenate([images for images, _ in archive])

    def _labels(self, count: int) -> np.ndarray:
        return np.random.default_rng(SEED).choice(self.labels, count).astype(np.int32)

    def _checkpoint(self, seed: int) -> str:
        step = training_loop.newest_step(self.folder, seed)
        return digests.folder_digest(self.folder.checkpoints(seed) / str(step))

    def _gaussian(self, count: int) -> np.ndarray:
        pixels, labels = self.training.astype(np.float32) / 127.5 - 1, np.zeros(len(self.training), np.int32)
        samples = baselines.gaussian_per_class(pixels, labels, np.random.default_rng(SEED), np.zeros(count, np.int32))
        return opened_pictures.as_bytes(samples)

    def _figures(self, measures: Measures, samples: np.ndarray, params: Params) -> list[Figure]:
        config, words = self.config, self._words
        report = measures.memorisation(samples)
        order = np.argsort(report.ratios, kind="stable")[:COPIES]
        beside = np.stack(
            [samples[order], *(self.training[report.nearest[order, number]] for number in range(2))], axis=1
        )
        order = np.random.default_rng(SEED).permutation(len(self.held_out))
        sides = {
            "training pictures": self._some(self.training, self.labels),
            "held-out pictures": self._some(self.held_out, self.held_out_labels),
        }
        levels = error_curves(self.model, params, sides, config.together)
        loss = [image_training.loss_curve(f"seed {seed}", self.folder, seed) for seed in config.seeds]
        copies = (
            f"{words}The {len(order)} samples that stand out most as copies; right of each its two nearest training "
            f"pictures. {len(report.copies)} of {len(samples)} are near-copies."
        )
        by_level = (
            f"{words}Denoising error over the noise level (noise at the left). Where the curves part, pictures "
            "are known by heart."
        )
        source = f" {emoji.ATTRIBUTION}." if self.entry == "emoji" else ""
        lines = image_training.smoothed(len(self.folder.read_metrics(config.seeds[0])))
        of_loss = f"{words}Training loss: squared error of the predicted flow" + (
            f", a mean over {lines} lines." if lines > 1 else "."
        )
        error = "mean squared error of the noise"
        return [
            self._grid(self.held_out[order], self.held_out_labels[order], "real", f"Held-out pictures.{source}"),
            self._grid(samples, self._labels(len(samples)), "samples", "Samples, not selected."),
            figures.grid(beside.reshape(-1, *beside.shape[2:]), 9, self._file("nearest"), copies),
            figures.curves(levels, self._file("levels"), by_level, x_label="log-SNR", y_label=error, log_y=True),
            figures.curves(loss, self._file("loss"), of_loss, x_label="step", y_label="loss", log_y=True),
        ]

    def _grid(self, pictures: np.ndarray, labels: np.ndarray, file: str, caption: str) -> Figure:
        """The first of the pictures; where there are classes, those of a class in a column. Sounds get players."""
        rows, columns = np.arange(min(GRID, len(pictures))), ACROSS
        of_class = {
            name: np.flatnonzero(labels == number) for number, name in enumerate(self.model.names) if number in labels
        }
        if by_class := dict(itertools.islice(of_class.items(), ACROSS)):
            down = min(GRID // ACROSS, *map(len, by_class.values()))
            rows, columns = np.stack([each[:down] for each in by_class.values()], axis=1).reshape(-1), len(by_class)
            caption = f"{caption} Columns: {', '.join(by_class)}."
        path, sound = self._file(file), self.model.sound
        if sound is not None:
            caption = f"{caption} Time goes to the right, pitch upwards. The players have the first row."
            for number, row in enumerate(rows[:columns]):
                name = sample_files.name(number, int(labels[row]), self.model.names)
                content = sample_files.wav(sound, pictures[row])
                json_files.write_bytes(path.with_name(f"{path.stem}_{name}.wav"), content)
        return figures.grid(pictures[rows], columns, path, f"{self._words}{caption}")

    def _lengths(self, measures: Measures, like: Params, seed: int) -> tuple[Figure, Table]:
        """How near samples come by averages of other lengths, made from the snapshots. like: lies on the devices as
        they shall.
        """
        distances, rows = list[Number](), list[tuple[CellValue, ...]]()
        for length in LENGTHS:
            params, _, missed = training_loop.restore_length(
                self.model.init, self.folder, seed=seed, relative_std=length
            )
            count, params = self.config.controls, meshes.placed(params, like)
            identity = self._checkpoint(seed), length
            numbers = measures.measure(
                self._draw(params, count, f"seed {seed}, average of length {length:g}", identity)
            )
            distances.append(numbers["frechet"])
            rows.append((length, count, numbers["frechet"], _cell(numbers["recall"]), missed))
        caption = (
            f"{self._words}Fréchet distance of samples by averages of the parameters of any length, made from "
            "snapshots, with intervals."
        )
        curve = figures.Curve("averages", LENGTHS, *([each[end] for each in distances] for end in range(3)))
        words = "length of the average, as a share of the training"
        columns = ("length", "n", "Fréchet / floor", "recall", "share of the average that snapshots miss")
        table = Table(
            f"{self._words}Averages of other lengths, seed {seed}",
            columns,
            tuple(rows),
            "`sample RUN --ema LENGTH` draws by one.",
        )
        file = self._file("ema_lengths")
        return figures.curves(
            [curve], file, caption, x_label=words, y_label="Fréchet distance, in floors", log_x=True
        ), table

    def _some(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.random.default_rng(SEED).permutation(len(images))[: self.config.level_pictures]
        return images[rows], labels[rows]

    def _tables(self, rows: list[Measured]) -> list[Table]:
        """What decides, and the rest."""
        against = f"against {len(self.held_out)} held-out pictures, features {self.config.features}"

        first, rest = list[tuple[CellValue, ...]](), list[tuple[CellValue, ...]]()
        for row in rows:
            name, numbers = self._label(row), row.measures
            first.append(
                (
                    name,
                    row.n,
                    numbers["frechet"],
                    *(_cell(numbers[column]) for column in ("precision", "recall", "excess")),
                )
            )
            rest.append((name, *(_cell(numbers[column]) for column in ("distance", "kernel", "copies"))))
        columns = ("set", "n", "Fréchet / floor", "precision", "recall", "near-copies above held-out")
        return [
            Table(f"{self._words}How near, {against}", columns, tuple(first), " ".join(self._remarks()), main=True),
            Table(
                f"{self._words}More measures, {against}",
                ("set", "Fréchet", "kernel distance", "near-copies"),
                tuple(rest),
            ),
        ]

    def _named_tables(self, rows: list[Measured]) -> Iterator[Table]:
        if cells := [(self._label(row), row.n, row.measures["named"]) for row in rows if "named" in row.measures]:
            yield Table(
                f"{self._words}What is named as the class that was asked for, features {self.config.features}",
                ("set", "n", "share"),
                tuple(cells),
                "A picture is named by the class whose training pictures are nearest on average. Each class counts "
                f"alike; there are {self.model.num_classes}.",
            )

    def _remarks(self) -> Iterator[str]:
        """What the numbers can say, and what not."""
        if self.config.features == "random-convolutions":
            yield (
                "Features of a network with random weights see colours and textures, not things: samples without "
                "shape may come near 1."
            )
        if len(self.held_out) < FEW:
            yield (
                f"{len(self.held_out)} held-out pictures are few: the floor is high. Below {FEW} trust large "
                "differences only."
            )
        yield "Look at the samples before you believe a number."

    def _facts_table(self) -> Table:
        data, numbers = self.facts.data, self.facts.numbers
        rows: list[tuple[CellValue, ...]] = [
            ("pictures to learn from", data.training),
            ("held out", data.held_out),
            ("skipped", data.skipped),
            ("size", " × ".join(map(str, data.shape))),
            ("classes", ", ".join(data.classes) if 0 < len(data.classes) <= NAMED else len(data.classes)),
            ("network", self.config.network),
            ("steps", numbers.steps),
            ("pictures per step", numbers.batch),
            ("passes over the pictures", numbers.steps * numbers.batch / data.training),
        ]
        return Table(f"{self._words}What was learned", ("", "number"), tuple(rows))

    @property
    def _words(self) -> str:
        return f"{self.title}: " if self.title else ""

    def _file(self, name: str) -> Path:
        return self.run.figure(f"{self.title}_{name}" if self.title else name)


def _cell(number: CellValue) -> CellValue:
    """The number with its interval, or alone where all draws agree: their spread then says nothing."""
    return number[0] if isinstance(number, tuple) and number[1] == number[2] else number


def error_curves(
    model: Model, params: Params, sides: dict[str, tuple[np.ndarray, np.ndarray]], together: int
) -> list[Curve]:
    """A curve for each side, (uint8 pictures, labels): the mean squared error of the noise over log-SNR, with its 95 %
    interval.
    """
    program, curves = devices.jit(functools.partial(_errors, model)), []
    for name, (images, labels) in sides.items():
        aligned = np.arange(len(images), dtype=np.int32), np.asarray(scaling.to_unit(images, 256)), labels

        def errors_at(log_snr: float, aligned: tuple[np.ndarray, ...] = aligned) -> np.ndarray:
            draw = functools.partial(program, params, jnp.float32(log_snr))
            return np.concatenate([part for *_, part in drawing.stream(draw, [(None, aligned)], together=together)])

        errors = np.stack([errors_at(value) for value in LOG_SNR])
        mean, spread = errors.mean(axis=1), 1.96 * errors.std(axis=1) / np.sqrt(errors.shape[1])
        curves.append(Curve(name, LOG_SNR, mean, mean - spread, mean + spread))
    return curves


def _errors(
    model: Model, params: Params, log_snr: jax.Array, index: jax.Array, clean: jax.Array, label: jax.Array
) -> jax.Array:
    """(n,) the mean squared error of the predicted noise of each picture. The noise of picture i is the same at all
    levels.
    """
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(SEED)))(index)
    noise = jax.vmap(lambda key: jax.random.normal(key, clean.shape[1:]))(keys)
    level = model.schedule.at_log_snr(log_snr)
    condition = (label,) if model.num_classes else ()
    denoise = model.denoiser(params, *condition)
    prediction = denoise(process.add_noise(clean, noise, level), level)
    return jnp.mean(jnp.square(prediction.noise - noise), axis=(1, 2, 3))
