"""What the video experiment trains on, spends, measures, claims and draws, on clips and numbers that are known."""

import dataclasses
import importlib.util

import jax
import numpy as np
import pytest

from experiments import catalogue, video
from experiments.video import clips, costs, measures
from experiments.video.measures import Judged
from gendiff.commands import command_line
from gendiff.commands.trained_networks import FOLDER
from gendiff.commands.video import clip_network, clip_options, draw, draws, networks
from gendiff.commands.video.clip_options import ClipOptions
from gendiff.commands.video.config import ATTENTIONS, CAUSAL, CONTEXT, FACTORISED, FULL
from gendiff.core.errors import CheckpointCorruptError, CheckpointMismatchError, ConfigError, DataError
from gendiff.data import clip_files
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements
from gendiff.scaling import accounting
from tests.experiments.studies import smoke
from tests.quickly import quickly
from tests.tables import table

FULL_RUN, SMOKE = video.EXPERIMENT.presets["full"], video.EXPERIMENT.smoke
KNOWN = dataclasses.replace(FULL_RUN, seeds=(0, 1), real=150, samples=100, draws=3, resamples=50, long=3)


def test_a_batch_is_a_function_of_seed_and_step_and_no_step_repeats_another():
    config = dataclasses.replace(SMOKE, batch=6)
    parts = [clips.batch(config, FULL, seed, step) for seed, step in ((3, 0), (3, 1), (5, 0))]
    (labels,) = parts[0].condition
    assert parts[0].clean.shape == (6, config.frames, 16, 16, 1) and labels.shape == (6,)
    all_batches = np.concatenate([part.clean for part in parts])
    assert len(np.unique(all_batches.reshape(18, -1), axis=0)) == 18
    wider = clips.batch(dataclasses.replace(config, batch=10, pictures=2), CAUSAL, 3, 0)
    np.testing.assert_array_equal(all_batches[:12], wider.clean)


def test_causal_attention_takes_four_times_the_operations_of_others_and_factorised_more_steps_than_full():
    spent = {attention: networks.spent(FULL_RUN, attention) / FULL_RUN.flops for attention in ATTENTIONS}
    assert spent == pytest.approx({FULL: 0.25, FACTORISED: 0.25, CAUSAL: 1.0}, rel=1e-2)
    assert networks.steps(FULL_RUN, CAUSAL) > networks.steps(FULL_RUN, FACTORISED) > networks.steps(FULL_RUN, FULL)


@table("attention", [FULL, CAUSAL])
def test_operations_are_those_that_the_library_counts_in_the_network(attention):
    example = networks.example(SMOKE, attention, frames=2, side=20)
    counted = accounting.count(networks.network(SMOKE, attention), *example, embeddings=False)
    assert networks.forward_flops(SMOKE, attention, 2, 20) == counted.forward_flops


def test_errors_on_digits_count_up_to_four_times_and_in_noise_alone_as_others():
    clean = np.full((1, 3, 2, 2, 1), -1.0, np.float32)
    clean[:, :, 0, 0] = 0.5
    answer = networks.on_digits(clean + 1, clean, np.array([[0.0, 500.0, 1000.0]], np.float32))
    squared = np.square(answer - clean)
    np.testing.assert_allclose(squared[0, :, 0, 0, 0], [4, 2.5, 1], rtol=1e-6)
    np.testing.assert_allclose(squared[:, :, 1:], 1, rtol=1e-6)


def test_the_causal_loss_shows_earlier_frames_as_a_rollout_does_and_asks_nothing_of_known_ones():
    calls = []

    def answers_zero(params, x, t, label, *history):
        calls.append((x, t, history))
        return 0.0 * x

    batch = clips.batch(dataclasses.replace(FULL_RUN, batch=64, pictures=3), CAUSAL, 0, 0)
    value, metrics = networks.CausalLoss(answers_zero, 3)((), jax.random.key(0), batch)
    (x, t, (history,)), (picture, _, _) = calls
    assert picture.shape == (3, 1, 16, 16, 1) and value > metrics["mse"] > 0
    clean = batch.clean[:64]
    assert x.shape == clean.shape and 0.01 < np.abs(history.clips - clean).mean() < 0.3
    known = np.all(x == history.clips, (2, 3, 4))
    np.testing.assert_array_equal(known, np.logical_and.accumulate(known, 1))  # they come first
    assert 0.1 < known.mean() < 0.35 and not known[:, -1].any()
    assert t[known].max() <= networks.SCHEDULE.at(CONTEXT).t < t[~known].max()


def test_a_frame_with_a_cache_costs_what_it_adds_to_a_clip_but_that_earlier_frames_do_not_see_it():
    """A clip of 8 frames has 8² pairs of frames, all of which are counted; frames one by one, each seen by 8, have as
    many.
    """
    full = networks.forward_flops(FULL_RUN, CAUSAL, FULL_RUN.frames, FULL_RUN.side)
    assert networks.cached_flops(FULL_RUN) == full / FULL_RUN.frames
    counted = costs.frame_flops(FULL_RUN)
    assert counted[costs.WHOLE] / counted[costs.CACHED] == pytest.approx(8 * 16 / 17)


def test_an_exponent_is_exact_for_a_power_and_a_sum_lies_between():
    along = costs.values(FULL_RUN, costs.FRAMES)
    assert (
        intervals.exponent(along, 3 * along**2) == pytest.approx(2) and costs.values(FULL_RUN, costs.PIXELS)[0] == 16**2
    )
    assert 1 < intervals.exponent(along, along + along**2 / 16) < 2
    rounds = np.array([[1.0], [1.1], [9.0]]) * along**2  # the median round counts
    assert intervals.exponent(along, rounds) == pytest.approx(2)


@pytest.fixture(scope="module")
def judged():
    return measures.ClipJudge(KNOWN)


def test_the_judge_knows_real_clips_from_shuffled_ones_from_digits_that_change_and_from_noise(judged):
    real, shuffled = judged.real, judged.shuffled
    assert real.confidence.mean() > 0.8 and real.identity.mean() > 0.95 and real.displacement.max() < 1e-6
    numbers = measures.numbers(shuffled, real, judged.floor, KNOWN.resamples)
    assert numbers["astray"][1] > 0.5 and numbers["Fréchet distance"][1] > 2
    np.testing.assert_allclose(shuffled.confidence.mean(), real.confidence.mean())  # it sees single frames
    held_out = clips.held_out(KNOWN)
    changing = np.roll(held_out.clips, 1, 0)
    mixed = np.concatenate([held_out.clips[:, :4], changing[:, 4:]], 1)
    assert judged.measure(mixed, held_out.labels).identity.mean() < 0.8
    noise = np.random.default_rng(0).uniform(-1, 1, held_out.clips.shape).astype(np.float32)
    assert judged.measure(noise, held_out.labels).confidence.mean() < 0.3


def test_faint_noise_on_clips_changes_no_measure_and_a_digit_at_rest_has_no_speed(judged):
    held_out = clips.held_out(KNOWN)
    faint = held_out.clips + np.random.default_rng(0).normal(scale=0.01, size=held_out.clips.shape).astype(np.float32)
    np.testing.assert_allclose(judged.measure(faint, held_out.labels).confidence, judged.real.confidence)
    still = np.repeat(held_out.clips[:, :1], KNOWN.frames, 1)
    at_rest = judged.measure(still, held_out.labels)
    assert at_rest.speed.max() < 1e-6 and at_rest.displacement.max() < 1e-6
    np.testing.assert_allclose(judged.real.speed, np.linalg.norm(held_out.velocities, axis=1), atol=1e-6)


def clips_with(confidence, displacement, speed=2.0, identity=0.99, distance=1.5):
    """A set of clips with about these numbers."""
    rng = np.random.default_rng(0)

    def about(value, *shape):
        return value + 0.01 * rng.standard_normal((KNOWN.samples, *shape))

    images = np.full((8, KNOWN.frames, 16, 16, 1), -1.0, np.float32)
    distances = distance + 0.01 * rng.standard_normal(20)
    frames = KNOWN.frames
    return Judged(
        about(confidence, frames),
        about(identity, frames),
        about(displacement, frames - 1),
        about(speed),
        distances,
        images,
    )


class KnownJudge:
    """Measures of the sets that it is given. end: confidence at the end of long rollouts without and with context
    noise.
    """

    def __init__(self, held_out, *, end=(0.5, 0.9), shuffled=2.0):
        self.real, self.shuffled, self.floor = (
            clips_with(0.9, 0.0),
            clips_with(0.9, shuffled, distance=9.0),
            np.ones(20),
        )
        self._sets, self._ends = iter([held_out] * len(ATTENTIONS) * len(KNOWN.seeds) + [clips_with(0.1, 3.0)]), end

    def measure(self, example, labels):
        return next(self._sets)

    def probabilities(self, example):
        frames = example.shape[1]
        last = self._ends[int(example.max() > -1)]
        confidence = np.linspace(0.9, last, frames) + 0.01 * np.random.default_rng(0).standard_normal(
            (len(example), frames)
        )
        right = np.eye(10)[draws.labels(len(example))][:, None, :]
        return np.where(right, confidence[:, :, None], (1 - confidence[:, :, None]) / 9)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """What the study measures of known clips, rollouts and seconds."""

    def measure(generated, *, cached=1.0, full=5.0, power=2.0, **options):
        rounds = 1 + 0.01 * np.random.default_rng(0).random(KNOWN.rounds)
        powers = {FULL: power, FACTORISED: 1.0, CAUSAL: power}
        sizes = [size for axis in costs.AXES for size in costs.sizes(KNOWN, axis)]
        spent = {
            f"{name} {f} {side}": (f * side**2) ** each * rounds for name, each in powers.items() for f, side in sizes
        }
        monkeypatch.setattr(measures, "ClipJudge", lambda config: KnownJudge(generated, **options))
        monkeypatch.setattr(clip_network, "restore", lambda *_: np.zeros(1))
        monkeypatch.setattr(clip_network, "publish", lambda *_: None)
        monkeypatch.setattr(draws, "clips", lambda *_: None)
        shape = (KNOWN.long_samples, KNOWN.long * KNOWN.frames, 16, 16, 1)
        monkeypatch.setattr(
            draws,
            "long_clips",
            lambda config, params, count, long, noise, *_: np.full(shape, noise or -1.0, np.float32),
        )
        monkeypatch.setattr(
            costs, "timed", lambda *_: {**spent, costs.CACHED: cached * rounds, costs.WHOLE: full * rounds}
        )
        return Measurements(video.measure(KNOWN, RunFolder(tmp_path), Progress(quiet=True)))

    return measure


def test_clips_like_real_ones_pass_every_claim(measured):
    by_id = {f"{claim.id} {claim.seed}": claim for claim in video.STUDY.judge(measured(clips_with(0.88, 0.05)))}
    assert {claim.verdict for claim in by_id.values()} == {"PASS"} and len(
        {claim.id for claim in by_id.values()}
    ) == len(video.STUDY.rows)
    assert by_id["displacement-causal 1"].value == pytest.approx(0.025, abs=0.01)  # 0.05 of 2 pixels per frame
    assert by_id["cached None"].value == pytest.approx(5) and by_id["measured None"].value == pytest.approx(1)


@table(
    ("generated", "options", "failing"),
    [
        (clips_with(0.7, 0.05), {}, {f"confidence-{attention}" for attention in ATTENTIONS}),
        (clips_with(0.88, 0.5), {}, {f"displacement-{attention}" for attention in ATTENTIONS}),
        (clips_with(0.88, 0.0, speed=0.1), {}, {f"speed-{attention}" for attention in ATTENTIONS}),
        (clips_with(0.88, 0.0, identity=0.7), {}, {f"identity-{attention}" for attention in ATTENTIONS}),
        (clips_with(0.88, 0.05), {"end": (0.9, 0.3)}, {"long", "context-noise"}),
        (clips_with(0.88, 0.05), {"full": 1.2, "power": 1.0}, {"cached", "measured"}),
        (clips_with(0.88, 0.05), {"shuffled": 0.2}, {"shuffled"}),
    ],
)
def test_what_is_wrong_fails_the_claims_about_it_alone(measured, generated, options, failing):
    judged = video.STUDY.judge(measured(generated, **options))
    assert {claim.id for claim in judged if claim.verdict == "FAIL"} == failing


def test_tables_and_players_show_every_set(measured, tmp_path):
    generated = measured(clips_with(0.88, 0.05))
    rows = next(iter(video.STUDY.show(generated))).rows
    assert [row[0] for row in rows][1:7:2] == [f"{attention} attention" for attention in ATTENTIONS]
    player, rollouts = (draw(generated, RunFolder(tmp_path)) for draw in video.STUDY.figures[-2:])
    assert len(player.axes[1].values) == KNOWN.frames and len(rollouts.axes[1].values) == KNOWN.long * KNOWN.frames
    assert {path.stem for path in tmp_path.glob("*.webp")} >= {
        f"clips_{attention}_attention" for attention in ATTENTIONS
    }
    full = clip_files.read_clip(tmp_path / "rollouts_without_context_noise.webp", mode="L")
    assert len(full) == KNOWN.long * KNOWN.frames


@pytest.fixture(scope="module")
def fresh():
    return quickly(lambda key: networks.init(SMOKE, CAUSAL, key))(jax.random.key(0))


def test_a_network_survives_its_file_and_changed_bytes_other_files_and_other_networks_are_refused(fresh, tmp_path):
    path = tmp_path / clip_network.NAME
    about = clip_network.write(path, SMOKE, fresh, 7, 3)
    config, params, words = clip_network.read(path)
    assert config == SMOKE and words == about and (words.trained_seed, words.checkpoint) == (7, 3)
    jax.tree.map(np.testing.assert_array_equal, params, jax.device_get(fresh))
    full = path.read_bytes()
    path.write_bytes(full[:-1] + bytes([full[-1] ^ 1]))
    with pytest.raises(CheckpointCorruptError, match="sha256"):
        clip_network.read(path)
    path.write_bytes(full[: len(full) // 2])
    with pytest.raises(DataError, match="not a whole"):
        clip_network.read(path)
    clip_network.write(path, dataclasses.replace(SMOKE, channels=(8, 8)), fresh, 7, 3)
    with pytest.raises(CheckpointMismatchError, match="parameters"):
        clip_network.read(path)
    for changes, message in (
        ({"groups": 3}, "--groups 3 must divide"),
        ({"heads": 5}, "--heads 5 must divide"),
        ({"lengths": (8, 4)}, "--lengths"),
        ({"blocks": 2**30}, "--blocks 1073741824 is outside"),
        ({"flops": float("inf")}, "--flops inf"),
    ):
        clip_network.write(path, dataclasses.replace(SMOKE, **changes), fresh, 7, 3)
        with pytest.raises(DataError, match=f"{path}: config: {message}"):
            clip_network.read(path)
    with pytest.raises(DataError, match="no network of video, but one of text-to-image"):
        clip_network.read(FOLDER / "shapes.safetensors")


@table(
    ("attention", "changes", "message"),
    [
        (CAUSAL, {"label": 10}, "--label 10"),
        (CAUSAL, {"noise": 1.0}, "--noise 1"),
        (CAUSAL, {"frames": 10_000}, "too large for one file"),
        (FULL, {"frames": 99}, "--frames 99: full attention draws 8 at once"),
        (FACTORISED, {"noise": 0.1}, "is of rollouts"),
    ],
)
def test_options_that_do_not_fit_are_refused(attention, changes, message, tmp_path):
    options = ClipOptions(**changes)
    with pytest.raises(ConfigError, match=message):
        clip_options.check(options)
        draw.check(FULL_RUN, attention, options, tmp_path / "x.webp")


def test_a_file_of_another_kind_and_a_network_that_is_not_there_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="must be named .gif"):
        draw.check(FULL_RUN, CAUSAL, ClipOptions(), tmp_path / "x.png")
    (tmp_path / "folder.webp").mkdir()
    with pytest.raises(ConfigError, match="folder.webp is a folder, not a file"):
        draw.check(FULL_RUN, CAUSAL, ClipOptions(force=True), tmp_path / "folder.webp")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"x.mp4 needs imageio-ffmpeg: install .* \[video\]"):
        draw.check(FULL_RUN, CAUSAL, ClipOptions(), tmp_path / "x.mp4")
    with pytest.raises(ConfigError, match="is no file"):
        draw.model_file(str(tmp_path / "none"))
    (there := tmp_path / "there.gif").write_bytes(b"old")
    with pytest.raises(ConfigError, match="exists: add --force"):
        draw.check(FULL_RUN, CAUSAL, ClipOptions(), there)
    draw.check(FULL_RUN, CAUSAL, ClipOptions(force=True), there)


def test_the_command_writes_clips_of_any_length_from_a_file(fresh, tmp_path, capsys):
    path, out = tmp_path / clip_network.NAME, tmp_path / "made" / "clips.webp"
    clip_network.write(path, SMOKE, fresh, 0, 1)
    words = ["video", "--model", str(path), "--num", "2", "--frames", "5", "--out", str(out)]
    assert command_line.main(words, catalogue.EXPERIMENTS) == 0
    written = clip_files.read_clip(out, mode="L")
    assert written.shape == (5, 16 * draw.SCALE, 33 * draw.SCALE, 1)
    assert "2 clips of 5 frames" in capsys.readouterr().out


def _asked(count):
    """Key, index and labels of clips."""
    return jax.random.key(draws.SEED), np.arange(count), draws.labels(count)


@pytest.mark.slow
def test_a_longer_rollout_begins_as_a_shorter_one_and_context_noise_reaches_all_but_its_first_frame(fresh):
    config = dataclasses.replace(SMOKE, together=2)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), fresh)
    short, long = (draws.long_clips(config, params, 2, times, 0.1, "", Progress(quiet=True)) for times in (1, 2))
    np.testing.assert_allclose(long[:, : config.frames], short, atol=1e-5)
    full = draws.rollout(config, config.sampling_steps, 2 * config.frames, params, *_asked(2), 0.1)
    np.testing.assert_allclose(long, full.frames, atol=1e-5)
    quiet = draws.long_clips(config, params, 2, 2, 0.0, "", Progress(quiet=True))
    np.testing.assert_allclose(quiet[:, 0], long[:, 0], atol=1e-5)  # it looks back at nothing
    assert np.abs(quiet[:, 1:] - long[:, 1:]).max() > 1e-4


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_and_is_sampled(tmp_path, capsys):
    folder = tmp_path / "run"
    run = ["run", "video", "--smoke", "--out", str(folder)]
    smoke.run("video", folder, capsys)
    before = (folder / clip_network.NAME).read_bytes()
    (folder / "results.json").unlink()
    assert command_line.main(run, catalogue.EXPERIMENTS) == 0
    assert (
        clip_network.read(folder / clip_network.NAME)[1] is not None
        and before == (folder / clip_network.NAME).read_bytes()
    )
    for attention in ATTENTIONS:
        words = [
            "sample",
            str(folder),
            "--attention",
            attention,
            "--num",
            "3",
            "--out",
            str(tmp_path / f"{attention}.gif"),
        ]
        assert command_line.main(words, catalogue.EXPERIMENTS) == 0
        assert len(clip_files.read_clip(tmp_path / f"{attention}.gif", mode="L")) == SMOKE.frames
    assert command_line.main(["sample", str(folder), "--attention", FULL, "--frames", "9"], catalogue.EXPERIMENTS) == 2
    assert "full attention draws 3 at once" in capsys.readouterr().err
