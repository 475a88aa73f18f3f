"""What the file of a picture declares: licence and creators, that a model made it, that nobody may train on it.

Declarations stand in EXIF, in XMP (Dublin Core, Adobe's rights, Creative Commons, IPTC and PLUS, TDMRep) and in content
credentials (C2PA). Anybody can write them and most programs strip them: their absence allows nothing.
"""

import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

from gendiff.core.errors import DataError
from gendiff.provenance import content_credentials, metadata

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DUBLIN = "{http://purl.org/dc/elements/1.1/}"
_RIGHTS = "{http://ns.adobe.com/xap/1.0/rights/}"
_PLUS = "{http://ns.useplus.org/ldf/xmp/1.0/}"
_SCHEMA = f"{{{content_credentials.SCHEMA}}}"
_LICENCES = (
    f"{_RIGHTS}WebStatement",
    "{http://creativecommons.org/ns#}license",
    f"{_RIGHTS}UsageTerms",
    f"{_DUBLIN}rights",
    *(f"{_PLUS}{name}" for name in ("LicensorURL", "LicensorName", "CopyrightOwnerName")),
    *(
        f"{_SCHEMA}{name}"
        for name in ("license", "copyrightNotice", "copyrightHolder", "usageInfo", "acquireLicensePage")
    ),
)
_CREATORS = (f"{_DUBLIN}creator", f"{_SCHEMA}author", f"{_SCHEMA}creator")
_SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_DATA_MINING = f"{_PLUS}DataMining"
_TDM = ("{http://www.w3.org/ns/tdmrep/}reservation", "{http://www.w3.org/ns/tdmrep#}reservation")
AI_SOURCES = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
"""IPTC's digital source types of what a trained model made, as a whole or in parts."""


@dataclass(frozen=True)
class DeclaredRights:
    """What the file of a picture declares. Equal texts stand once.

    Args:
        licences: addresses and texts, such as "https://creativecommons.org/licenses/by/4.0/" or a copyright notice.
        creators: names.
        ai_marks: what says that a model made it, such as "IPTC trainedAlgorithmicMedia" or "settings of gendiff".
        reservations: what says that it may not be trained on, such as "PLUS DMI-PROHIBITED-AIMLTRAINING", "TDMRep
            reservation" or "C2PA cawg.ai_training notAllowed".
    """

    licences: tuple[str, ...] = ()
    creators: tuple[str, ...] = ()
    ai_marks: tuple[str, ...] = ()
    reservations: tuple[str, ...] = ()


def read(path: str | os.PathLike[str], *, credentials: bool = True) -> DeclaredRights:
    """Read the declarations of a PNG or JPEG.

    Args:
        path: the file.
        credentials: whether content credentials are read too, which the extra `c2pa` does. A manifest of a file that
            was changed since counts as well.

    Raises:
        DataError: path first, for what is no whole picture, and for entries that cannot be read.
        ImportError: without Pillow, or with `credentials` without c2pa-python.

    References:
        IPTC Photo Metadata Standard 2023.1 (Data Mining, of PLUS); TDM Reservation Protocol, W3C community group, 2024;
        CAWG Training and Data Mining Assertion 1.1; C2PA 2.2, metadata assertions in JSON-LD; CAWG Metadata
        Assertion 1.1.
    """
    record = metadata.read(path)
    properties = xmp_properties(record.others["XMP"], os.fspath(path)) if "XMP" in record.others else {}
    signed = content_credentials.read(path) if credentials else None
    for name, texts in (signed.properties if signed else {}).items():
        properties[name] = (*properties.get(name, ()), *texts)
    sources = [*properties.get(_SOURCE_TYPE, ()), *(signed.sources if signed else ())]
    marks = [f"IPTC {name}" for name in map(_last_part, sources) if name in AI_SOURCES]
    marks += ["settings of gendiff"] * (record.settings is not None)
    marks += ["generation parameters"] * ("parameters" in record.others)  # as web UIs of Stable Diffusion write them
    mining = map(_last_part, properties.get(_DATA_MINING, ()))
    reservations = [f"PLUS {value}" for value in mining if value.startswith("DMI-PROHIBITED")]
    reservations += ["TDMRep reservation" for name in _TDM for value in properties.get(name, ()) if value == "1"]
    reservations += [
        f"C2PA {use} {word}" for use, word in (signed.training.items() if signed else ()) if word != "allowed"
    ]
    return DeclaredRights(
        _once([*notices(properties), record.others.get("Copyright", "")]),
        _once([*creators(properties), record.others.get("Artist", "")]),
        _once(marks),
        _once(reservations),
    )


def from_tags(tags: Mapping[str, str]) -> DeclaredRights:
    """Give what the tags of a sound declare: licence, copyright and artist. No tag marks or reserves anything.

    Args:
        tags: by name, as `data.audio.sound_files.tags` reads them.
    """
    return DeclaredRights(
        _once([tags.get(name, "") for name in ("license", "copyright")]), _once([tags.get("artist", "")])
    )


def notices(properties: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Give what properties by {namespace}name say of licence and copyright."""
    return tuple(value for name in _LICENCES for value in properties.get(name, ()))


def creators(properties: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Give the creators that properties by {namespace}name say."""
    return tuple(value for name in _CREATORS for value in properties.get(name, ()))


def xmp_properties(packet: str, name: str) -> dict[str, tuple[str, ...]]:
    """Read the values of each property of a packet of XMP, by {namespace}name; those of lists and languages in order.

    Args:
        packet: the XML.
        name: of the file, for errors.

    Raises:
        DataError: name first, for what is no XML, and for XML that declares entities.
    """
    if "<!DOCTYPE" in packet or "<!ENTITY" in packet:
        raise DataError(f"{name}: its XMP declares entities, which no packet needs")
    try:
        root = ET.fromstring(packet.strip("\ufeff\0 \r\n").encode())
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{name}: its XMP is no XML: {error}") from error
    properties: dict[str, tuple[str, ...]] = {}
    for description in root.iter(f"{_RDF}Description"):
        for key, value in description.items():
            if not key.startswith(_RDF):
                properties[key] = (*properties.get(key, ()), value)
        for child in description:
            resource = child.get(f"{_RDF}resource")
            items = [item.text or item.get(f"{_RDF}resource") for item in child.iter(f"{_RDF}li")]
            values = [resource] if resource else items or [child.text]
            texts = (" ".join((value or "").split()) for value in values)
            properties[child.tag] = (*properties.get(child.tag, ()), *filter(None, texts))
    return properties


def _last_part(address: str) -> str:
    return address.rstrip("/").rsplit("/", 1)[-1]


def _once(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
