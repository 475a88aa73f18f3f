"""The command `data-report`: planted licences, marks, reservations, repeats and leaks are counted, and nothing else."""

import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

from experiments import catalogue
from gendiff.commands import command_line, tune
from gendiff.commands.train import facts, opened_pictures
from gendiff.commands.train.config import Config, Numbers
from gendiff.commands.train.facts import Facts
from gendiff.commands.train.fine_tuning import captioned_pictures, jobs
from gendiff.commands.tune import rows as tune_rows
from gendiff.commands.tune import train as tuning
from gendiff.data import audio
from gendiff.runs import configuration, run_folder
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files, report
from tests.commands.test_copies import folder, pictures
from tests.provenance.test_declared_rights import MODEL, PROHIBITED, packet
from tests.runs.test_report_browser import browser  # noqa: F401
from tests.tables import table

TRAIN, OTHERS = pictures(0, 40), pictures(1, 6)


def run(*words):
    return command_line.main(["data-report", *map(str, words)], catalogue.EXPERIMENTS)


def content(out):
    return json.loads((out / "data_report.json").read_text(encoding="utf-8"))


@pytest.fixture
def photos(tmp_path):
    """40 pictures of two classes; one equals another, one nearly does, and three have metadata."""
    images = TRAIN.copy()
    images[7], images[9] = images[2], np.clip(images[4].astype(int) + 2, 0, 255)
    folder(tmp_path / "photos", images[::2], "even/{:02d}.png")
    folder(tmp_path / "photos", images[1::2], "odd/{:02d}.png")
    texts = (
        ("licensed", packet('xmpRights:WebStatement="https://a.example/by"')),
        ("marked", packet(f'ext:DigitalSourceType="{MODEL}"')),
        ("reserved", packet(f'plus:DataMining="{PROHIBITED}"')),
        ("broken", "<x"),
    )
    for (name, xmp), image in zip(texts, pictures(3, 4), strict=True):
        Image.fromarray(image).save(tmp_path / "photos" / "odd" / f"{name}.jpg", xmp=xmp.encode())
    (tmp_path / "photos" / "LICENSE").write_text("CC BY")
    folder(tmp_path / "others", np.concatenate([OTHERS, TRAIN[12:13]]))
    return tmp_path / "photos"


def test_what_was_planted_is_counted_and_the_page_shows_it(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(photos, "--held-out", tmp_path / "others", "--size", "12", "--out", out, "--pictures", "5") == 0
    left, output = content(out), capsys.readouterr().out
    declared = left["declared"]
    assert left["classes"] == {"odd": 24, "even": 20} and left["training_n"] == 44 and left["held_out_n"] == 7
    assert left["left_out_n"] == 1 and left["licence_files"] == ["LICENSE"] and left["sides"] == [12, 12, 12]
    assert (declared["n"], declared["licensed"], declared["marked"], declared["reserved"]) == (43, 1, 1, 1)
    assert declared["names"] == ["odd/reserved.jpg"] and "its XMP is no XML" in declared["unread"][0]
    assert left["repeats"]["equal"] == [["odd/03.png", "even/01.png"]] and left["repeats"]["near_n"] == 2
    assert left["repeats"]["near"] == [["even/02.png", "odd/04.png"]]
    assert left["leaks"]["equal"] == [["006.png", "even/06.png"]] and left["leaks"]["near_n"] == 0
    assert "1 of 43 (2.3 %) reserve their rights" in output and "1 of 7 (14.3 %) held-out pictures equal" in output
    page = (out / "data_report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 5 + 2 and "2.3 Data crawled and scraped from online sources" in page
    lines = (out / "data_hashes.txt").read_text(encoding="utf-8").splitlines()
    first = hashlib.sha256((photos / "even" / "00.png").read_bytes()).hexdigest()
    assert len(lines) == 44 and lines[0] == f"{first}  even/00.png"


def test_arrays_have_no_declarations_and_the_same_repeats(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", images=np.concatenate([TRAIN, TRAIN[:2]]))
    assert run(tmp_path / "a.npz", "--out", tmp_path / "out") == 0
    left = content(tmp_path / "out")
    assert left["declared"] is None and left["bytes"] is None and left["leaks"] is None
    assert left["repeats"]["equal_n"] == 2 and "nothing is declared of any" in capsys.readouterr().out


def test_held_out_pictures_of_another_size_or_colour_are_refused_until_all_are_alike(tmp_path, capsys):
    np.save(tmp_path / "a.npy", TRAIN)
    cases = (
        (OTHERS[:, :8, :8], ("--size", "8"), "held.npy: pictures have 8 × 8 pixels, and those of .*a.npy 12 × 12"),
        (OTHERS[..., :1], ("--mode", "L"), "held.npy: pictures have 1 channels, and those of .*a.npy 3: give --mode"),
    )
    for images, option, message in cases:
        np.save(tmp_path / "held.npy", images)
        words = tmp_path / "a.npy", "--held-out", tmp_path / "held.npy", "--out", tmp_path / "out"
        assert run(*words) == 65 and re.search(message, capsys.readouterr().err)
        assert run(*words, *option) == 0


def test_a_run_has_its_own_data_and_its_report_links_to_the_page(photos, tmp_path, capsys):
    config = Config(data=(str(photos),), size=12, on_bad_image="skip")
    run_path = run_folder_with(tmp_path / "run", "images", config)
    opened = opened_pictures.open_pictures(config, str(photos), None)
    data = facts.summarize(config, str(photos), opened)
    json_files.write(run_path / "data.json", Facts(data, Numbers(1, 1, 1.0, 1)))
    assert report._data_reports(run_path) == [("data_report.html", False)]
    assert run(run_path) == 0
    left, output = content(run_path), capsys.readouterr()
    assert (left["training_n"], left["held_out_n"]) == (data.training, data.held_out)
    assert left["fingerprint"] == data.fingerprint and "has changed" not in output.out
    assert left["leaks"]["equal_n"] == 0 and left["network"] == "unet-small"
    assert report._data_reports(run_path) == [("data_report.html", True)]
    (photos / "odd" / "licensed.jpg").unlink()
    assert (
        run(run_path, "--out", tmp_path / "out") == 0 and "has changed since the run began" in capsys.readouterr().out
    )
    other = configuration.Resolved("digits", "full", False, json_files.encode(config))
    json_files.write(run_path / "config.json", other)
    assert (
        run(run_path) == 2
        and "is a run of digits, and the data of train and tune are reported" in capsys.readouterr().err
    )
    assert run_folder.existing(run_path) and run(run_path, "--size", "8") == 2
    assert "--size belongs to DATA" in capsys.readouterr().err


def run_folder_with(path, experiment, config):
    """A run folder that holds nothing but its configuration."""
    path.mkdir()
    json_files.write(path / "config.json", configuration.Resolved(experiment, "full", False, json_files.encode(config)))
    return path


def test_a_lora_reports_on_the_pictures_and_captions_that_it_learned_from(tmp_path, capsys):
    photos = folder(tmp_path / "photos", np.concatenate([TRAIN[:12], TRAIN[:1]]), "{:02d}.png")
    for number in range(13):
        (photos / f"{number:02d}.txt").write_text(f"picture {number}")
    config = Config(data=(str(photos),), model="models/sd", lora=4)
    run_path = run_folder_with(tmp_path / "run", "images", config)
    parts = captioned_pictures.opened(config, 8, Progress(quiet=True))
    known = captioned_pictures.fingerprint(*parts)
    json_files.write(run_path / "fine_tuning.json", jobs.JobFacts(known, "", 11, 2, 8, Numbers(1, 1, 1.0, 1)))
    assert report._data_reports(run_path) == [("data_report.html", False)]
    assert run(run_path) == 0 and "has changed" not in capsys.readouterr().out
    left = content(run_path)
    assert (left["training_n"], left["held_out_n"], left["captions"]) == (len(parts[0]), len(parts[1]), 13)
    assert left["shape"] == [8, 8, 3] and left["fingerprint"] == known and left["repeats"]["equal_n"] == 1
    assert (left["network"], left["base"]) == ("LoRA of rank 4", "models/sd") and left["declared"]["n"] == 13
    assert report._data_reports(run_path) == [("data_report.html", True)]
    assert "a change of the model <code>models/sd</code>" in (run_path / "data_report.html").read_text()
    (photos / "03.txt").write_text("another caption")
    assert run(run_path) == 0 and "has changed since the run began" in capsys.readouterr().out


def test_a_run_of_tune_reports_on_its_rows(tmp_path, capsys):
    rows = [{"prompt": f"{n // 2}?", "completion": "yes" if n < 18 else str(n)} for n in range(22)]
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    config = tune.Config(data=str(data), held_out=0.2)
    run_path = run_folder_with(tmp_path / "run", "tune", config)
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    json_files.write(run_path / "tuning.json", tuning.JobFacts(digest, 18, 4, 1, 1.0))
    assert report._data_reports(run_path) == [("data_report.html", False)]
    assert run(run_path) == 0 and "has changed" not in capsys.readouterr().out
    left, lines = content(run_path), [row.line for row in tune_rows.read(config).held_out]
    twins = [line for line in lines if line <= 18 and (line - 1 ^ 1) + 1 not in lines]
    pairs = [first for first in range(1, 18, 2) if first not in lines and first + 1 not in lines]
    assert (left["training_n"], left["held_out_n"], left["fingerprint"]) == (18, 4, digest) and len(twins) > 0
    assert left["equal"] == [[first + 1, first] for first in pairs] and left["equal_n"] == len(pairs)
    assert left["leaks"] == [[line, (line - 1 ^ 1) + 1] for line in twins] and left["leaks_n"] == len(twins)
    assert left["prompts_leaked_n"] == sum((line - 1 ^ 1) + 1 not in lines for line in lines)
    assert left["prompts"] == [2, 2, 3] and left["answers"] == [2, 3, 3]
    assert report._data_reports(run_path) == [("data_report.html", True)] and digest in page_of(run_path)
    data.write_text(data.read_text().replace("yes", "no"))
    assert run(run_path, "--out", tmp_path / "out") == 0 and "has changed since" in capsys.readouterr().out
    assert run(run_path, "--near", "2") == 2 and "--near is for pictures and sounds" in capsys.readouterr().err


def page_of(out):
    return (out / "data_report.html").read_text(encoding="utf-8")


def test_sounds_are_reported_as_sounds_with_what_their_tags_declare(tmp_path, capsys):
    soundfile = pytest.importorskip("soundfile")
    tones = [0.3 * np.sin(np.arange(6000) * (0.1 + 0.02 * n)) for n in range(5)]
    tags = {"license": "CC BY 4.0", "copyright": "(c) Ada", "artist": "Ada"}
    files = (
        ("a.flac", 8000, tones[0], tags),
        ("b.ogg", 8000, tones[1], tags),
        ("c.wav", 8000, tones[2], {"copyright": "(c) Ada"}),
        ("d.mp3", 16_000, tones[3], {"artist": "Bo"}),
        ("e.wav", 8000, np.stack([tones[4]] * 2, 1), {}),
        ("f.wav", 8000, np.stack([tones[4]] * 2, 1), {}),
    )
    for part, names in (("sounds", files), ("others", files[:1])):
        (tmp_path / part).mkdir()
        for name, rate, samples, texts in names:
            with soundfile.SoundFile(tmp_path / part / name, "w", rate, samples.ndim) as file:
                for tag, text in texts.items():
                    setattr(file, tag, text)
                file.write(samples)
    (tmp_path / "sounds" / "g.wav").write_bytes(b"no sound")
    words = tmp_path / "sounds", "--held-out", tmp_path / "others", "--seconds", "0.2", "--sample-rate", "8000"
    assert run(*words, "--out", tmp_path / "out") == 0
    left, output, page = content(tmp_path / "out"), capsys.readouterr().out, page_of(tmp_path / "out")
    assert (left["kind"], left["training_n"], left["left_out_n"], left["sides"]) == ("sounds", 6, 1, None)
    assert left["sounds"] == {
        "seconds": pytest.approx(5 * 0.75 + 0.375, abs=0.2),  # an MP3 is padded
        "lengths": [pytest.approx(0.4, abs=0.1), 0.75, 0.75],
        "rates": {"8000 Hz": 5, "16000 Hz": 1},
        "channels": {"1": 4, "2": 2},
        "compared": [0.256, 8000],
    }
    declared = left["declared"]
    assert declared["licences"] == {"(c) Ada": 3, "CC BY 4.0": 2} and declared["creators"] == {"Ada": 2, "Bo": 1}
    assert (declared["n"], declared["licensed"], declared["credentials"]) == (6, 3, False)
    assert left["repeats"]["equal"] == [["f.wav", "e.wav"]] and left["leaks"]["equal"] == [["a.flac", "a.flac"]]
    assert "Tags were read in 6 of 6 files" in output and "equal an earlier one in the first 0.256 s" in output
    assert (
        "picture" not in output + page.split("<body>")[1]
        and "Audio. 6 training sounds" in page
        and "Spectrograms of 6" in page
    )
    assert "say that a model made them" not in output


def test_sounds_and_pictures_are_not_compared(tmp_path, capsys):
    pytest.importorskip("soundfile")
    (tmp_path / "sounds").mkdir()
    for number in range(2):
        content = audio.sound_files.to_wav(np.sin(np.arange(9000.0) * 0.1 * (number + 1)), 8000)
        (tmp_path / "sounds" / f"{number}.wav").write_bytes(content)
    grey = folder(tmp_path / "grey", TRAIN[:2, :, :, 0])
    assert run(tmp_path / "sounds", "--held-out", grey, "--out", tmp_path / "out") == 65
    assert "grey: holds pictures, and " in capsys.readouterr().err
    assert run(grey, "--seconds", "1", "--out", tmp_path / "out") == 2
    assert "--seconds is for sounds" in capsys.readouterr().err


@table(
    ("words", "code", "message"),
    [
        (("nowhere",), 65, "no such file or folder"),
        (("textures", "--held-out", "."), 2, "textures have held-out regions of their own"),
        (("emoji", "--size", "0"), 2, "--size 0: it must be a whole number from 1"),
        (("emoji", "--out", "full"), 2, "--out full holds"),
        (("empty",), 65, "no images in it"),
    ],
)
def test_what_cannot_be_reported_on_is_refused_before_anything_is_written(
    words, code, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir(exist_ok=True)
    (tmp_path / "full").mkdir(exist_ok=True)
    (tmp_path / "full" / "letter.txt").write_text("Dear")
    assert run(*words) == code and message in capsys.readouterr().err and not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_screen(browser, photos, tmp_path, width):  # noqa: F811
    assert run(photos, "--size", "12", "--out", tmp_path / "out") == 0
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(f"file://{tmp_path}/out/data_report.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    page.close()
