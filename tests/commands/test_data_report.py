"""The command `data-report`: planted licences, marks, reservations, repeats and leaks are counted, and nothing else."""

import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

from experiments import catalogue
from gendiff.commands import command_line
from gendiff.commands.train import facts, opened_pictures
from gendiff.commands.train.config import Config, Numbers
from gendiff.commands.train.facts import Facts
from gendiff.runs import configuration, run_folder
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
    run_path = tmp_path / "run"
    run_path.mkdir()
    resolved = configuration.Resolved("images", "full", False, json_files.encode(config))
    json_files.write(run_path / "config.json", resolved)
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
    tuned = dataclasses.replace(resolved, config=json_files.encode(dataclasses.replace(config, model="sd", lora=4)))
    json_files.write(run_path / "config.json", tuned)
    assert run(run_path) == 2 and "learned a change of sd" in capsys.readouterr().err
    json_files.write(run_path / "config.json", dataclasses.replace(resolved, experiment="digits"))
    assert run(run_path) == 2 and "is a run of digits" in capsys.readouterr().err
    assert run_folder.existing(run_path) and run(run_path, "--size", "8") == 2
    assert "--size belongs to DATA" in capsys.readouterr().err


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
