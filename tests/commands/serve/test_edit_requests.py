"""A form with a picture is read whole; a form, a picture or a field that does not fit is one error that names it."""

import dataclasses
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gendiff.commands.serve import edit_requests, multipart, start_pictures
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.image_requests import ImageRequest, Limits
from tests.tables import table

LIMITS = Limits("shapes", 6, 4, steps=100, usual_steps=10)
KIND = "multipart/form-data; boundary=xYz"


def png(width=6, height=4, value=255):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (value, 0, 0)).save(stream, format="PNG")
    return stream.getvalue()


def mask(width=6, height=4, mode="RGBA", clear=((1, 1),)):
    """A PNG that is transparent at these pixels alone, and nearly so at another."""
    alpha = np.full((height, width), 255, np.uint8)
    alpha[-1, -1] = 1
    for pixel in clear:
        alpha[pixel] = 0
    image = Image.new("RGBA", (width, height), (9, 9, 9, 0))
    image.putalpha(Image.fromarray(alpha))
    stream = io.BytesIO()
    image.convert(mode).save(stream, format="PNG")
    return stream.getvalue()


def gif():
    stream = io.BytesIO()
    Image.new("P", (6, 4)).save(stream, format="GIF", transparency=0)
    return stream.getvalue()


def header(width, height):
    """The beginning of a PNG of this size."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    begin = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))
    return begin + struct.pack(">I", 9) + b"IDAT"


def form(fields, end=b"--xYz--\r\n"):
    parts = [
        b'--xYz\r\nContent-Disposition: form-data; name="%s"; filename="a.png"\r\n\r\n%s\r\n'
        % (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in (fields.items() if isinstance(fields, dict) else fields)
    ]
    return b"".join(parts) + end


def read(fields):
    return edit_requests.read(KIND, form({"prompt": "a cat", "image": png()} | fields), LIMITS)


def test_a_form_is_a_request_whose_picture_is_scaled_and_whose_strength_counts_steps():
    request = read({"seed": "3"})
    assert request == ImageRequest("a cat", steps=10, seed=3, first=3) and request.run == 7
    np.testing.assert_array_equal(request.picture, np.broadcast_to(np.float32([1, -1, -1]), (4, 6, 3)))
    several = {"n": "2", "steps": "4", "stream": "true", "strength": "0.35", "user": "12", "quality": "hd"}
    request = read(several)
    assert (request.n, request.first, request.stream) == (2, 3, True)
    assert "quality 'hd' changes nothing" in request.notes[0]
    request = read({"image": png(12, 12)})
    assert request.picture.shape == (4, 6, 3) and request.notes == ("image: its middle is scaled from 12x12 to 6x4",)
    assert read({"strength": "1"}).first == 0
    assert read({"strength": "null", "seed": "1"}) == read({"seed": "1"})


@table("mode", ["RGBA", "LA"])
def test_what_is_fully_transparent_in_a_mask_is_drawn_anew_in_all_steps_unless_a_strength_is_given(mode):
    request = read({"mask": mask(mode=mode), "seed": "3"})
    assert request == ImageRequest("a cat", steps=10, seed=3)
    expected = np.zeros((4, 6, 1), np.float32)
    expected[1, 1] = 1
    np.testing.assert_array_equal(request.mask, expected)
    assert read({"mask": mask(), "strength": "0.5"}).first == 5 and read({}).mask is None


def test_a_mask_is_scaled_as_its_picture_is_and_belongs_to_the_first_one():
    half = [(row, column) for row in range(16) for column in range(6)]
    request = read({"image": png(12, 16), "mask": mask(12, 16, clear=half)})
    np.testing.assert_array_equal(request.mask[..., 0], [[1, 1, 1, 0, 0, 0]] * 4)
    limits = dataclasses.replace(LIMITS, references=2)
    fields = [("prompt", "a cat"), ("image[]", png()), ("image[]", png(12, 12)), ("mask", mask())]
    request = edit_requests.read(KIND, form(fields), limits)
    assert request.picture is None and request.first == 0 and len(request.references) == 2 and request.mask.sum() == 1


def test_a_sampler_with_noise_of_its_own_refuses_masks():
    limits = dataclasses.replace(LIMITS, masks=False)
    with pytest.raises(ApiError, match="start the server with --sampler ddim") as caught:
        edit_requests.read(KIND, form({"prompt": "a cat", "image": png(), "mask": mask()}), limits)
    assert caught.value.field == "mask" and caught.value.status == 400


def test_a_network_that_reads_pictures_changes_one_by_words_unless_a_strength_is_given():
    limits = dataclasses.replace(LIMITS, references=2)
    fields = {"prompt": "a cat", "image": png(), "seed": "3"}
    request = edit_requests.read(KIND, form(fields), limits)
    assert request == ImageRequest("a cat", steps=10, seed=3) and request.picture is None and request.edits
    assert len(request.references) == 1
    assert edit_requests.read(KIND, form(fields | {"strength": "0.7"}), limits) == read({"seed": "3"})


def test_a_network_that_reads_several_pictures_has_them_in_their_order():
    limits = dataclasses.replace(LIMITS, references=2)
    fields = [("prompt", "a cat"), ("image[]", png(value=255)), ("image[]", png(12, 12, value=0))]
    request = edit_requests.read(KIND, form(fields), limits)
    assert request.picture is None and [picture[0, 0, 0] for picture in request.references] == [1, -1]
    assert request.notes == ("image 2: its middle is scaled from 12x12 to 6x4",)


@table(
    ("references", "more", "words"),
    [
        (0, [("image[]", png())], "image names 2 pictures, and this request begins from one$"),
        (2, [("image[]", png()), ("image[]", png())], "image names 3 pictures, .* reads at most 2 beside the prompt"),
        (2, [("image[]", png()), ("strength", "0.5")], "begins from one; leave out strength"),
        (2, [("image[]", b"")], "image is missing"),
    ],
)
def test_more_pictures_than_a_network_takes_are_refused(references, more, words):
    limits = dataclasses.replace(LIMITS, references=references)
    with pytest.raises(ApiError, match=words) as caught:
        edit_requests.read(KIND, form([("prompt", "a cat"), ("image", png()), *more]), limits)
    assert caught.value.field == "image" and caught.value.status == 400


def test_what_stands_in_a_part_is_read_bit_for_bit():
    content = bytes(range(256)) + b"\r\n--xY\r\n\r\n-xYz\r\n"
    (part,) = multipart.read('Multipart/Form-Data; Boundary="xYz"', form({"image": content}))
    assert part == ("image", content)


@pytest.mark.fault("serve: a picture to begin from or a mask that is none, does not fit, or is too large")
@table(
    ("fields", "field", "words"),
    [
        ({"image": b""}, "image", "is missing"),
        ({"image": b"GIF89a"}, "image", "no file of BMP, GIF, JPEG, PNG, WEBP"),
        ({"image": png()[:50]}, "image", "image"),
        ({"image": "/etc/passwd"}, "image", "no file of"),
        ({"image": png(300, 200)}, "image", "60000 pixels: at most 50000"),
        ({"image": header(20_000, 20_000)}, "image", "too large: at most 50000 pixels"),
        ({"mask": b""}, "mask", "is no file of PNG"),
        ({"mask": "a"}, "mask", "is no file of PNG"),
        ({"mask": mask()[:60]}, "mask", "mask: not a whole image"),
        ({"mask": gif()}, "mask", "is no file of PNG"),
        ({"mask": header(20_000, 20_000)}, "mask", "too large: at most 50000 pixels"),
        ({"mask": mask(300, 200)}, "mask", "60000 pixels: at most 50000"),
        ({"mask": png()}, "mask", "no alpha channel"),
        ({"mask": mask(12, 8)}, "mask", "mask is 12x8 and image 6x4: a mask has the size"),
        ({"mask": mask(clear=())}, "mask", "marks nothing of what is drawn: make fully transparent"),
        ({"image": png(12, 12), "mask": mask(12, 12, clear=((0, 0),))}, "mask", "marks nothing of what is drawn"),
        ({"mask": mask(), "mask[]": mask()}, "mask", "stands twice"),
        ({"image[]": png()}, "image", "names 2 pictures"),
        ({"steps[]": "3", "steps": "3"}, "steps", "stands twice"),
        ({"strength": "0"}, "strength", "runs none of 10 steps"),
        ({"strength": "1.5"}, "strength", "from 0 to 1"),
        ({"strength": "NaN"}, "strength", "must be a number"),
        ({"steps": "ten"}, "steps", "'ten' must be an integer"),
        ({"n": "[" * 1000}, "n", "must be an integer"),
        ({"user": b"\xff"}, "user", "UTF-8"),
    ],
)
def test_a_mistake_is_one_error_that_names_its_field(monkeypatch, fields, field, words):
    monkeypatch.setattr(start_pictures, "MOST_PIXELS", 50_000)
    with pytest.raises(ApiError, match=words) as caught:
        read(fields)
    assert caught.value.field == field and caught.value.status == 400 and len(str(caught.value)) < 300


@pytest.mark.fault("serve: a request that is none, or asks for what cannot be drawn")
@table(
    ("kind", "body"),
    [
        ("multipart/form-data", form({})),
        (KIND, b""),
        (KIND, b"--xYz"),
        (KIND, form({"image": png()}, end=b"")),
        (KIND, b"--xYz\r\n\r\n\r\n--xYz--"),
        (KIND, b"--xYz\r\nContent-Disposition: form-data\r\n\r\na\r\n--xYz--"),
        (KIND, b"--xYz\r\nContent-Disposition: form-data; name*=x''%\xff\r\n\r\na\r\n--xYz--"),
        (KIND, b"--xYz\r\n" * 70 + b"--xYz--"),
        ("multipart/form-data; boundary=\udcff", b"--"),
    ],
)
def test_a_body_that_is_no_whole_form_is_refused(kind, body):
    with pytest.raises(ApiError) as caught:
        edit_requests.read(kind, body, LIMITS)
    assert caught.value.status == 400
