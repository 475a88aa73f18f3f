"""The command `verify`: what files say of themselves, and what they carry."""

import importlib.util
import sys

import jax
import numpy as np
import pytest
import tokenizers
from PIL import Image

from experiments import catalogue
from gendiff.commands import command_line
from gendiff.commands.verify import picture_evidence
from gendiff.language import tokens
from gendiff.provenance import (
    content_credentials,
    image_detection,
    image_watermarks,
    metadata,
    spread_spectrum,
    text_detection,
    text_watermarks,
    watermark_files,
)
from tests.provenance.rig import written
from tests.quickly import quickly
from tests.tables import table

KEY, OTHER = 0x5EC2E7, 0xBAD
PICTURE = np.random.default_rng(0).integers(60, 196, (8, 8, 3)).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)


def verify(capsys, *words):
    """What it prints, as one line."""
    assert command_line.main(["verify", *map(str, words)], catalogue.EXPERIMENTS) == 0
    return " ".join(capsys.readouterr().out.split())


def p_value(printed):
    return float(printed.split(" p = ")[1].split()[0].rstrip(",:"))


def test_settings_and_other_programs_entries_are_told_apart(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    metadata.save(tmp_path / "a.jpg", PICTURE, {"prompt": "a cat\x1b[2J", "seed": 3})
    output = verify(capsys, tmp_path / "a.jpg")
    assert (
        "JPEG, 32 × 32 pixels" in output
        and "prompt: a cat?[2J seed: 3" in output
        and "which anybody can write" in output
    )
    assert (
        "content credentials (C2PA): not read" in output
        and "[c2pa]" in output
        and "What is absent proves nothing" in output
    )
    Image.fromarray(PICTURE).save(tmp_path / "bare.png")
    assert "metadata: no settings of gendiff" in verify(capsys, tmp_path / "bare.png")
    Image.fromarray(PICTURE).save(tmp_path / "a.webp")
    assert "only those of PNG and JPEG are read" in verify(capsys, tmp_path / "a.webp")


@pytest.mark.skipif(importlib.util.find_spec("c2pa") is None, reason="the package c2pa-python is not installed")
def test_a_manifest_is_reported_with_what_its_state_means(tmp_path, capsys):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    assert "content credentials (C2PA): none" in verify(capsys, tmp_path / "a.png")
    certificate = content_credentials.self_made_certificate("A Test")
    content_credentials.sign(tmp_path / "a.png", tmp_path / "b.png", certificate, {"steps": 30}, program="a program")
    output = verify(capsys, tmp_path / "b.png")
    assert "(C2PA): Valid: intact since it was signed; nobody vouches for the signer" in output
    assert "signed as 'A Test' by 'a program' origin: trainedAlgorithmicMedia steps: 30" in output


def test_a_watermark_in_pixels_is_found_with_its_key_and_not_with_another(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(image_detection, "_ranked", quickly(image_detection._ranked_scores, static_argnames="keys"))
    monkeypatch.setattr(picture_evidence, "KEYS", 199)
    shape, grey = (16, 16, 1), PICTURE[::2, ::2, :1]
    for name, key in (("mark", KEY), ("other", OTHER)):
        watermark_files.save(
            tmp_path / f"{name}.json", spread_spectrum.spread_spectrum(key, shape, bits=(1, 0, 0, 1), strength=0.3)
        )
    mark = watermark_files.load_image(tmp_path / "mark.json")
    marked = quickly(lambda mark, images: mark.write(images))(mark, (grey[None] / 127.5 - 1).astype(np.float32))
    metadata.save(tmp_path / "a.png", np.round((np.clip(marked[0], -1, 1) + 1) * 127.5).astype(np.uint8), {})
    output = verify(capsys, tmp_path / "a.png", "--mark", tmp_path / "mark.json")
    assert (
        p_value(output) <= 0.01
        and "4 of 4 bits agree" in output
        and "It is not the chance that the file is unmarked" in output
    )
    assert p_value(verify(capsys, tmp_path / "a.png", "--mark", tmp_path / "other.json")) > 0.01


def test_a_watermark_in_noise_is_left_to_those_who_have_the_model(tmp_path, capsys):
    watermark_files.save(tmp_path / "ring.json", image_watermarks.tree_ring(KEY, (32, 32, 3), radius=6))
    metadata.save(tmp_path / "a.png", PICTURE, {})
    assert "the model that drew it must run backwards" in verify(
        capsys, tmp_path / "a.png", "--mark", tmp_path / "ring.json"
    )


def test_a_watermark_is_looked_for_below_white_where_a_picture_is_transparent(tmp_path, capsys):
    Image.fromarray(np.dstack([PICTURE, np.arange(32, dtype=np.uint8)[:, None].repeat(32, 1)])).save(tmp_path / "a.png")
    watermark_files.save(tmp_path / "mark.json", spread_spectrum.spread_spectrum(KEY, (32, 32, 3)))
    assert 0 < p_value(verify(capsys, tmp_path / "a.png", "--mark", tmp_path / "mark.json")) <= 1


def test_a_watermark_of_a_text_is_found_with_its_key_and_not_with_another(tmp_path, capsys):
    mark = text_watermarks.unigram(KEY, 256)
    watermark_files.save(tmp_path / "mark.json", mark)
    watermark_files.save(tmp_path / "other.json", text_watermarks.unigram(OTHER, 256))
    green = np.asarray(text_detection.scores(mark, np.arange(256)[:, None])[0])[:, 0]
    text = "".join(chr(letter) for letter in range(32, 127) if green[letter])
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    options = (tmp_path / "a.txt", "--model", "bytes", "--mark")
    output = verify(capsys, *options, tmp_path / "mark.json")
    assert p_value(output) < 1e-6 and f"{len(text)} of {len(text)} tokens scored" in output
    assert p_value(verify(capsys, *options, tmp_path / "other.json")) > 0.01
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text(tokens.plain().special_library.to_str())
    watermark_files.save(tmp_path / "of_model.json", text_watermarks.unigram(KEY, 257))
    as_model = verify(capsys, tmp_path / "a.txt", "--model", tmp_path / "model", "--mark", tmp_path / "of_model.json")
    assert p_value(as_model) == p_value(output)
    assert "a text file has no place for any" in verify(capsys, tmp_path / "a.txt")


def test_a_text_whose_tokens_read_again_are_not_those_that_were_written_keeps_most_of_its_mark(tmp_path, capsys):
    """A model may write "th" as two tokens; whoever reads the text sees one, so that choice and the next one are
    lost.
    """
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=276, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(["the theme then other mother rather than these in the inn"] * 9, trainer)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text(library.to_str())
    tokenizer = tokens.load(tmp_path / "model")
    mark = text_watermarks.green_list(KEY, tokenizer.size)
    possible = [set(tokenizer.decode([id])) <= set("aehimnorst ") for id in range(tokenizer.size)]
    logits = np.where(possible, 0, -np.inf).astype(np.float32)[None]
    sampled = np.asarray(written(jax.random.key(0), mark, logits, 200))[0]
    again = tokenizer.encode(tokenizer.decode(sampled))
    assert 100 < len(again) < len(sampled)
    (tmp_path / "a.txt").write_text(tokenizer.decode(sampled), encoding="utf-8")
    for name, each in (("mark", mark), ("other", text_watermarks.green_list(OTHER, tokenizer.size))):
        watermark_files.save(tmp_path / f"{name}.json", each)
    detection, other = (
        p_value(verify(capsys, tmp_path / "a.txt", "--model", tmp_path / "model", "--mark", tmp_path / f"{name}.json"))
        for name in ("mark", "other")
    )
    p_of_all = text_detection.detect(mark, sampled[None]).p[0]
    assert p_of_all < detection < 1e-6 and other > 0.01


@pytest.mark.fault("verify: another file, a damaged one, or a mark that does not belong to it")
@table(
    ("words", "code", "message"),
    [
        (("absent.png",), 65, "no such file"),
        (("broken.png",), 65, "no whole PNG or JPEG"),
        (("entry.png",), 65, "its entry 'gendiff': not JSON"),
        (("mark.json",), 2, "can be verified"),
        (("a.png", "--mark", "mark.json"), 65, "no watermark of a picture"),
        (("a.png", "--mark", "pixels.json"), 65, "the mark is for the shape"),
        (("a.png", "--model", "bytes"), 2, "leave it out"),
        (("a.txt", "--mark", "mark.json"), 2, "needs --model"),
        (("a.txt", "--mark", "mark.json", "--model", "nowhere"), 2, "--model nowhere"),
        (("a.txt", "--mark", "large.json", "--model", "bytes"), 65, "the mark is for 999 tokens"),
        (("a.txt", "--mark", "pixels.json", "--model", "bytes"), 65, "no watermark of a text"),
        (("empty.txt",), 0, ""),
        (("empty.txt", "--mark", "mark.json", "--model", "bytes"), 65, "holds no text"),
    ],
)
def test_what_cannot_be_verified_ends_with_a_typed_error(words, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    metadata.save("a.png", PICTURE, {})
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    (tmp_path / "entry.png").write_bytes((tmp_path / "a.png").read_bytes())
    monkeypatch.setattr(metadata.json, "dumps", lambda *_, **__: "{")
    metadata.save("entry.png", PICTURE, {})
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Hello.")
    (tmp_path / "empty.txt").write_text("")
    watermark_files.save("mark.json", text_watermarks.unigram(KEY, 256))
    watermark_files.save("large.json", text_watermarks.unigram(KEY, 999))
    watermark_files.save("pixels.json", spread_spectrum.spread_spectrum(KEY, (16, 16, 3)))
    assert command_line.main(["verify", *words], catalogue.EXPERIMENTS) == code
    output = capsys.readouterr().err
    assert message in output and "Traceback" not in output and len(output.splitlines()) <= command_line.MOST_LINES
