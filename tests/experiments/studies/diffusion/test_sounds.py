"""The study of sounds: its judge can be wrong, its claims can fail, and its picture comes with sounds."""

import wave

import numpy as np

from experiments.diffusion import sounds
from experiments.diffusion.image_judge import DigitsJudge
from experiments.diffusion.sounds import GAUSSIAN, NEXT, REAL, REBUILT, SAMPLES, SPECTROGRAMS, UNKNOWN, VARIANTS
from experiments.tasks.instrument_notes import INSTRUMENTS, SPECTROGRAM
from gendiff.data import digits
from gendiff.metrics import classifier_accuracy, features
from gendiff.runs import run_folder
from gendiff.runs.study import Measured, Measurements
from tests.tables import table

GOOD = {
    SAMPLES: {"accuracy": 0.85, "frechet": 1.6, "precision": 0.33, "recall": 0.55},
    SPECTROGRAMS: {"excess": 0.01},
    REAL: {"accuracy": 0.88},
    VARIANTS: {"excess": 0.39},
    REBUILT: {"accuracy": 0.89, "frechet": 1.3},
    UNKNOWN: {"frechet": 2.5},
    GAUSSIAN: {"frechet": 5.3, "precision": 0.07},
    NEXT: {"accuracy": 0.01},
}


def verdicts(changed=None):
    """Of every row, where the numbers of some sets are others."""
    numbers = {name: measures | (changed or {}).get(name, {}) for name, measures in GOOD.items()}
    measured = [
        Measured(name, {key: (value, value - 0.005, value + 0.005) for key, value in measures.items()}, seed, 400)
        for name, measures in numbers.items()
        for seed in ((0, 1) if name in (SAMPLES, SPECTROGRAMS, NEXT) else (None,))
    ]
    return {each.id: each.verdict for each in sounds.STUDY.judge(Measurements(measured))}


def test_every_claim_and_control_can_hold():
    assert set(verdicts().values()) == {"PASS"} and len(verdicts()) == len(sounds.STUDY.rows)


@table(
    "changed, failing",
    (
        ({SAMPLES: {"accuracy": 0.6}}, {"accuracy"}),
        ({SAMPLES: {"frechet": 9.0}}, {"frechet", "gaussian-frechet", "unknown-frechet"}),
        ({SAMPLES: {"precision": 0.05}}, {"precision", "gaussian-precision"}),
        ({SAMPLES: {"recall": 0.2}}, {"recall"}),
        ({SPECTROGRAMS: {"excess": 0.35}}, {"copies", "variants-copies"}),
        ({SAMPLES: {"accuracy": 0.1}, NEXT: {"accuracy": 0.1}}, {"accuracy", "next-accuracy"}),
        ({UNKNOWN: {"frechet": 1.0}}, {"unknown-frechet"}),
        ({REAL: {"accuracy": 0.7}}, {"judge"}),
        ({REBUILT: {"accuracy": 0.5, "frechet": 5.0}}, {"rebuilt-accuracy", "rebuilt-frechet"}),
    ),
)
def test_what_is_wrong_fails_and_nothing_else(changed, failing):
    assert {id for id, verdict in verdicts(changed).items() if verdict != "PASS"} == failing


def test_a_judge_takes_another_classifier_and_other_features():
    rng, labels = np.random.default_rng(0), np.arange(40, dtype=np.int32) % 10
    images = np.zeros((40, 4, 4, 1), np.float32) - 1
    images[np.arange(40), labels // 4, labels % 4] = 1
    images += rng.normal(0, 0.01, images.shape).astype(np.float32)
    split, shifted = digits.Split(images, labels, images[::-1].copy(), labels[::-1]), (labels + 1) % 10
    rows = features.random_convolutions(0, widths=(4,))
    judge = DigitsJudge(2, 20, split, classifier_accuracy.train(images, shifted), rows)
    assert judge.accuracy(images, labels)[0] == 0 and judge.accuracy(images, shifted)[0] == 1
    assert judge.measure(images, shifted, rounded=False).accuracy[0] == 1
    assert judge.floor.tolist() != DigitsJudge(2, 20, split).floor.tolist()
    assert DigitsJudge(2, 20, split).accuracy(images, labels)[0] == 1


def test_the_picture_comes_with_sounds_of_each_instrument(tmp_path):
    images = np.full((10, SPECTROGRAM.mels, SPECTROGRAM.frames, 1), -1, np.float32)
    images[:, 20] = 0.5
    names = (REAL, REBUILT, GAUSSIAN, SPECTROGRAMS, SAMPLES)
    measured = Measurements(Measured(name, {}, arrays={"images": images}) for name in names)
    figure = sounds.spectrograms(measured, run_folder.create(tmp_path / "run"))
    assert (tmp_path / "run" / figure.file).is_file()
    files = sorted((tmp_path / "run").glob("spectrograms_*.wav"))
    assert [file.stem for file in files] == [
        f"spectrograms_{name}_{word}" for name in INSTRUMENTS for word in ("recorded", "sample")
    ]
    with wave.open(str(files[0])) as stream:
        assert (stream.getframerate(), stream.getnframes()) == (SPECTROGRAM.rate, SPECTROGRAM.length)
