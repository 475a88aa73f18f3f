"""What a file declares of its rights, in EXIF, XMP and content credentials."""

import importlib.util
import io
import json

import numpy as np
import pytest
from PIL import Image

from gendiff.core.errors import DataError
from gendiff.provenance import content_credentials, declared_rights
from gendiff.provenance.declared_rights import DeclaredRights
from tests.refusals import refusals
from tests.tables import table

PICTURE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "cc": "http://creativecommons.org/ns#",
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "tdm": "http://www.w3.org/ns/tdmrep/",
}
MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
PROHIBITED = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING"


def packet(attributes="", children=""):
    names = " ".join(f'xmlns:{name}="{address}"' for name, address in NAMESPACES.items())
    description = f"<rdf:Description {attributes}>{children}</rdf:Description>"
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/" {names}><rdf:RDF>{description}</rdf:RDF></x:xmpmeta>'


def saved(file, xmp=None, exif=None):
    options = {name: value for name, value in (("xmp", xmp and xmp.encode()), ("exif", exif)) if value}
    Image.fromarray(PICTURE).save(file, **options)
    return file


@table(
    ("attributes", "children", "expected"),
    [
        ("", "", DeclaredRights()),
        (
            'xmpRights:WebStatement="https://a.example/by"',
            '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© Ada\n  Example</rdf:li></rdf:Alt></dc:rights>'
            "<dc:creator><rdf:Seq><rdf:li>Ada</rdf:li><rdf:li>Bo</rdf:li><rdf:li>Ada</rdf:li></rdf:Seq></dc:creator>",
            DeclaredRights(("https://a.example/by", "© Ada Example"), ("Ada", "Bo")),
        ),
        ("", '<cc:license rdf:resource="https://a.example/cc0"/>', DeclaredRights(("https://a.example/cc0",))),
        (f'ext:DigitalSourceType="{MODEL}"', "", DeclaredRights(ai_marks=("IPTC trainedAlgorithmicMedia",))),
        ("", f"<ext:DigitalSourceType>{CAMERA}</ext:DigitalSourceType>", DeclaredRights()),
        (
            f'plus:DataMining="{PROHIBITED}" tdm:reservation="1"',
            "",
            DeclaredRights(reservations=("PLUS DMI-PROHIBITED-AIMLTRAINING", "TDMRep reservation")),
        ),
        (
            f'plus:DataMining="{PROHIBITED.replace("PROHIBITED-AIMLTRAINING", "ALLOWED")}" tdm:reservation="0"',
            "",
            DeclaredRights(),
        ),
    ],
)
def test_each_property_is_read_in_every_form_that_xmp_gives_it(attributes, children, expected, tmp_path):
    for name in ("a.jpg", "a.png"):
        if name == "a.png":
            from PIL.PngImagePlugin import PngInfo

            information = PngInfo()
            information.add_itxt("XML:com.adobe.xmp", packet(attributes, children))
            Image.fromarray(PICTURE).save(tmp_path / name, pnginfo=information)
        else:
            saved(tmp_path / name, packet(attributes, children))
        assert declared_rights.read(tmp_path / name, credentials=False) == expected


def test_exif_and_settings_count_too(tmp_path):
    exif = Image.Exif()
    exif[0x8298], exif[0x013B] = "(c) Ada", "Ada"
    assert declared_rights.read(saved(tmp_path / "a.jpg", exif=exif), credentials=False) == DeclaredRights(
        ("(c) Ada",), ("Ada",)
    )
    from gendiff.provenance import metadata

    metadata.save(tmp_path / "b.png", PICTURE, {"seed": 3})
    assert declared_rights.read(tmp_path / "b.png", credentials=False).ai_marks == ("settings of gendiff",)


credentials = pytest.mark.skipif(importlib.util.find_spec("c2pa") is None, reason="needs the extra c2pa")


def signed(file, data, label="cawg.training-mining"):
    """A PNG with a manifest that has this assertion."""
    import c2pa

    certificate = content_credentials.self_made_certificate("Toy")
    created = {"label": "c2pa.actions", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": CAMERA}]}}
    assertions = [created, {"label": label, "data": data}]
    claim = {"claim_generator_info": [{"name": "toy"}], "format": "image/png", "assertions": assertions}
    info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificate.chain, certificate.key, None)
    plain, content = saved(file.with_name("plain.png")), io.BytesIO()
    with open(plain, "rb") as opened, c2pa.Signer.from_info(info) as signer:
        with c2pa.Builder(json.dumps(claim)) as builder:
            builder.sign(signer, "image/png", opened, content)
    file.write_bytes(content.getvalue())
    return file


@credentials
def test_a_manifest_says_who_made_a_picture_and_whether_it_may_be_trained_on_whatever_its_name(tmp_path):
    certificate = content_credentials.self_made_certificate("Toy")
    content_credentials.sign(saved(tmp_path / "a.png"), tmp_path / "b.png", certificate, {}, program="toy")
    assert declared_rights.read(tmp_path / "b.png") == DeclaredRights(ai_marks=("IPTC trainedAlgorithmicMedia",))
    mining = {"entries": {"cawg.ai_training": {"use": "notAllowed"}, "cawg.data_mining": {"use": "allowed"}}}
    for name in ("c.png", "c.jpg", "c"):
        rights = declared_rights.read(signed(tmp_path / name, mining))
        assert rights.reservations == ("C2PA cawg.ai_training notAllowed",), name


@credentials
@table("mining", [["a"], {"entries": ["a"]}, {"entries": {"cawg.ai_training": "a"}}])
def test_a_manifest_of_another_form_is_an_error_with_the_path(mining, tmp_path):
    with pytest.raises(DataError, match=r"a\.png: "):
        declared_rights.read(signed(tmp_path / "a.png", mining))


LICENSOR = [{"plus:LicensorName": "Ada Inc", "plus:LicensorURL": "https://a.example/buy"}]
OWN = {"@context": {"d": NAMESPACES["dc"], "terms": NAMESPACES["xmpRights"] + "UsageTerms"}}
LICENCES = (
    (
        "cawg.metadata",
        {"dc:rights": {"x-default": "(c) Ada"}, "dc:creator": ["Ada", "Bo"]},
        ("(c) Ada",),
        ("Ada", "Bo"),
    ),
    ("c2pa.metadata", {"xmpRights:UsageTerms": {"@value": "ask", "@language": "en"}}, ("ask",), ()),
    ("cawg.metadata", {"cc:license": {"@id": "https://a.example/by"}}, ("https://a.example/by",), ()),
    ("cawg.metadata", {"plus:Licensor": LICENSOR}, ("https://a.example/buy", "Ada Inc"), ()),
    ("org.example.metadata", OWN | {"d:creator": {"@list": ["Bo"]}, "terms": "ask"}, ("ask",), ("Bo",)),
    (
        "stds.schema-org.CreativeWork",
        {
            **{"@context": "https://schema.org", "@type": "CreativeWork", "license": "https://a.example/cc0"},
            **{"author": [{"@type": "Person", "name": "Ada"}], "copyrightHolder": {"name": "Ada Inc"}},
        },
        ("https://a.example/cc0", "Ada Inc"),
        ("Ada",),
    ),
)


@table(("label", "data", "licences", "creators"), LICENCES)
def test_the_metadata_of_a_manifest_are_properties_as_those_of_xmp(label, data, licences, creators):
    names = content_credentials.NAMESPACES | ({"@vocab": "http://schema.org/"} if "schema-org" in label else {})
    properties = content_credentials.json_ld_properties(data, names)
    assert declared_rights.notices(properties) == licences and declared_rights.creators(properties) == creators


@credentials
def test_a_manifest_says_the_licence_and_the_creators(tmp_path):
    for number, (label, data, licences, creators) in enumerate(LICENCES):
        context = {"@context": content_credentials.NAMESPACES}
        rights = declared_rights.read(signed(tmp_path / f"{number}.png", context | data, label))
        assert (rights.licences, rights.creators) == (licences, creators), label
    mined = {
        "@context": content_credentials.NAMESPACES,
        "plus:DataMining": PROHIBITED,
        "Iptc4xmpExt:DigitalSourceType": MODEL,
    }
    rights = declared_rights.read(signed(tmp_path / "mined.png", mined, "cawg.metadata"))
    assert rights == DeclaredRights((), (), ("IPTC trainedAlgorithmicMedia",), ("PLUS DMI-PROHIBITED-AIMLTRAINING",))


BROKEN = [*([], ["a"], "a", 3, None), {"@context": [3, {"dc": 4}], "dc:rights": [None, {"": []}, {"@value": {}}, True]}]


@table("data", BROKEN)
def test_metadata_of_another_form_are_read_or_refused(data):
    try:
        assert content_credentials.json_ld_properties(data, content_credentials.NAMESPACES) == {}
    except ValueError as error:
        assert "must be an object" in str(error) and not isinstance(data, dict)


@credentials
def test_a_manifest_with_metadata_that_are_no_object_is_an_error_with_the_path(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: metadata of a manifest must be an object"):
        declared_rights.read(signed(tmp_path / "a.png", ["a"], "stds.iptc"))


test_a_packet_that_is_no_xml_or_declares_entities_is_refused = refusals(
    (lambda: declared_rights.xmp_properties("<x", "a.jpg"), "a.jpg: its XMP is no XML", DataError),
    (
        lambda: declared_rights.xmp_properties("<!DOCTYPE a><a/>", "a.jpg"),
        "a.jpg: its XMP declares entities",
        DataError,
    ),
)
