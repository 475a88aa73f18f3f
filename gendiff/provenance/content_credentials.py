"""Content credentials (C2PA): a signed manifest inside a picture's file says what made it, and if it changed since.

The signature shows that the file is as it was signed, and with which certificate. Who owns that certificate is known
only where a list of trusted issuers is consulted. Anybody can make a certificate of their own, as
`self_made_certificate` does, and anybody can remove a manifest: its absence proves nothing. The package `c2pa-python`
does the work; the extra `c2pa` brings it.
"""

import dataclasses
import datetime
import importlib.util
import io
import json
import os
import re
from pathlib import Path
from types import ModuleType

from gendiff.core import extras, files, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import Config

SETTINGS = "org.gendiff.settings"
"""Label of the assertion that holds settings."""
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's name for what a trained model made."""
TRAINING = ("cawg.training-mining", "c2pa.training-mining")
"""Labels of the assertion that says whether a file may be trained on."""
CREATIVE_WORK = "stds.schema-org.CreativeWork"
METADATA = re.compile(rf"(.+\.metadata|stds\.iptc.*|{re.escape(CREATIVE_WORK)})(\.v\d+)?(__\d+)?")
"""Labels of assertions that hold properties in JSON-LD: c2pa.metadata, cawg.metadata, those of other organisations, and
the older ones of IPTC and schema.org.
"""
SCHEMA = "http://schema.org/"
NAMESPACES = {
    "cc": "http://creativecommons.org/ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "schema": SCHEMA,
    "tdm": "http://www.w3.org/ns/tdmrep/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
}
"""What prefixes stand for where an assertion does not say it."""
MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
"""First bytes of a file of each kind."""
_LANGUAGE = re.compile(r"x-default|[a-z]{2}(-\w+)*")
_TEXTS = ("@value", "@id", "@list", "@set", "name", "schema:name", "url")
"""Where the texts of a value stand that is an object: of JSON-LD, and of people and licences."""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A chain of certificates and the private key of the first, both in PEM.

    Args:
        chain: the signer's certificate, then its issuer's.
        key: the private key, PKCS 8, on the curve P-256. Whoever has it can sign in this name.
    """

    chain: bytes
    key: bytes


@dataclasses.dataclass(frozen=True)
class Credentials:
    """The newest manifest of a file.

    Args:
        state: "Trusted" (intact, and the issuer is on the list of the library), "Valid" (intact; nobody vouches for the
            issuer), or "Invalid" (changed since it was signed, or signed wrongly).
        issuer: the organisation in the certificate: a claim of whoever made it, unless the state is "Trusted".
        generator: the program that made the claim.
        sources: the digital source types of its actions, such as `GENERATED`.
        settings: what gendiff wrote of how the picture was made; None where there is no such assertion.
        properties: the values of each property of its metadata, by {namespace}name as of XMP, such as
            "{http://schema.org/}author".
        training: by use, such as "cawg.ai_training", whether it is "allowed", "notAllowed" or "constrained".
        problems: codes of what is wrong, such as "assertion.dataHash.mismatch" or "signingCredential.untrusted".
    """

    state: str
    issuer: str
    generator: str
    sources: tuple[str, ...]
    settings: Config | None
    problems: tuple[str, ...]
    training: dict[str, str] = dataclasses.field(default_factory=dict)
    properties: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def sign(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    certificate: Certificate,
    settings: Config,
    *,
    program: str,
) -> None:
    """Write a copy of a picture with a manifest that says that a trained model made it, and how.

    Args:
        source: a .png, .jpg or .jpeg. Its pixels are copied as they are.
        path: where the copy goes, of the same kind.
        certificate: who signs.
        settings: what JSON can hold.
        program: name of what made the picture.

    Raises:
        ValueError: for another suffix, and suffixes that differ.
        DataError: path first, for what is no such picture, and certificates that cannot sign.
        ImportError: without c2pa-python.
    """
    c2pa, media = _package(), _media(source)
    if media != _media(path):
        raise ValueError(f"{os.fspath(path)} is of another kind than {os.fspath(source)}: a manifest converts nothing")
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": GENERATED}]}
    assertions = [{"label": "c2pa.actions", "data": actions}, {"label": SETTINGS, "data": dict(settings)}]
    claim = {
        "claim_generator_info": [{"name": program}],
        "title": Path(path).name,
        "format": media,
        "assertions": assertions,
    }
    content = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificate.chain, certificate.key, None)
        with open(source, "rb") as file, c2pa.Signer.from_info(info) as signer, c2pa.Builder(claim) as builder:
            builder.sign(signer, media, file, content)
    except (c2pa.C2paError, OSError) as error:
        raise DataError(f"{os.fspath(source)}: cannot be signed: {error}") from error
    with files.replacing(path) as file:
        file.write(content.getvalue())


def read(path: str | os.PathLike[str]) -> Credentials | None:
    """Read and check the newest manifest of a picture; None where it has none. No network is asked.

    Args:
        path: a PNG or JPEG by its first bytes, whatever its name.

    Raises:
        DataError: path first, for other files, and for a file or a manifest that cannot be read.
        ImportError: without c2pa-python.
    """
    c2pa = _package()
    with foreign_files.naming(path):
        try:
            with open(foreign_files.regular(path), "rb") as file:
                start = file.read(max(map(len, SIGNATURES)))
                media = next((kind for first, kind in SIGNATURES.items() if start.startswith(first)), None)
                if media is None:
                    raise ValueError("neither PNG nor JPEG")
                file.seek(0)
                reader = c2pa.Reader.try_create(media, file)
                if reader is None:
                    return None
                with reader:
                    manifest, state = reader.get_active_manifest() or {}, reader.get_validation_state()
                    status = json.loads(reader.json()).get("validation_status", [])
        except (c2pa.C2paError, OSError) as error:
            raise ValueError(f"its manifest cannot be read: {error}") from error
        asserted = {each.get("label", ""): each.get("data") for each in manifest.get("assertions", [])}
        actions = [
            action
            for label, data in asserted.items()
            if label.startswith("c2pa.actions")
            for action in (data or {}).get("actions", [])
        ]
        generators = [str(each.get("name", "")) for each in manifest.get("claim_generator_info", [])]
        settings = asserted.get(SETTINGS)
        training: dict[str, str] = {}
        for label, data in asserted.items():
            if label.startswith(TRAINING):
                entries = (data or {}).get("entries", {})
                training |= {str(use): str(entry.get("use", "")) for use, entry in entries.items()}
        properties: dict[str, tuple[str, ...]] = {}
        for label, data in asserted.items():
            if METADATA.fullmatch(label):
                vocabulary = {"@vocab": SCHEMA} if label.startswith(CREATIVE_WORK) else {}
                for name, texts in json_ld_properties(data, NAMESPACES | vocabulary).items():
                    properties[name] = (*properties.get(name, ()), *texts)
        return Credentials(
            state=str(state or "Invalid"),
            issuer=str(manifest.get("signature_info", {}).get("issuer", "")),
            generator=", ".join(filter(None, generators)),
            sources=tuple(str(action["digitalSourceType"]) for action in actions if "digitalSourceType" in action),
            settings=settings if isinstance(settings, dict) else None,
            problems=tuple(str(each.get("code", "")) for each in status),
            training=training,
            properties=properties,
        )


def json_ld_properties(data: object, names: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Read the texts of each property of an object of JSON-LD, by {namespace}name; those of objects within it too.

    Of values with a language all languages are read. An object with a name or an address, as a person, is that text.

    Args:
        data: the object.
        names: what prefixes and terms stand for, where its own @context does not say it; "@vocab" for all others.

    Raises:
        ValueError: for what is no object.
    """
    if not isinstance(data, dict):
        raise ValueError(f"metadata of a manifest must be an object, got {type(data).__name__}")
    contexts = data.get("@context")
    for context in contexts if isinstance(contexts, list) else [contexts]:
        terms = context if isinstance(context, dict) else {}
        names = names | {term: address for term, address in terms.items() if isinstance(address, str)}
    properties: dict[str, tuple[str, ...]] = {}
    for key, value in data.items():
        if key.startswith("@"):
            continue
        pending, texts, name = [value], list[str](), _expanded(key, names)
        while pending:
            part = pending.pop(0)
            if isinstance(part, list):
                pending += part
            elif isinstance(part, str):
                texts.append(" ".join(part.split()))
            elif isinstance(part, dict):
                pending += [each for term, each in part.items() if _LANGUAGE.fullmatch(term) or term in _TEXTS]
                for inner, more in json_ld_properties(part, names).items():
                    properties[inner] = (*properties.get(inner, ()), *more)
        properties[name] = (*properties.get(name, ()), *filter(None, texts))
    return {name: texts for name, texts in properties.items() if texts}


def _expanded(key: str, names: dict[str, str]) -> str:
    """{namespace}name of a term, a prefixed name or an address."""
    prefix, colon, rest = key.partition(":")
    address = names.get(key) or (names[prefix] + rest if colon and prefix in names else key)
    if ":" not in address:
        address = names.get("@vocab", "") + address
    address = address.replace("https://schema.org/", SCHEMA)
    start = max(address.rfind("/"), address.rfind("#")) + 1
    return f"{{{address[:start]}}}{address[start:]}"


def available() -> bool:
    """Return whether c2pa-python is installed; it is not imported to see."""
    return importlib.util.find_spec("c2pa") is not None


def self_made_certificate(organisation: str, *, days: int = 365) -> Certificate:
    """Make a certificate that nobody vouches for: readers call what it signs intact, and its issuer unknown.

    Args:
        organisation: the name that readers see.
        days: how long it is valid, from now on.

    Raises:
        ImportError: without the package cryptography, which c2pa-python brings.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise ImportError(extras.needs("certificates need", "cryptography", "c2pa")) from error
    now, keys = datetime.datetime.now(datetime.UTC), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    named = ((NameOID.ORGANIZATION_NAME, ""), (NameOID.COMMON_NAME, " root"), (NameOID.COMMON_NAME, " signer"))
    owner, *parts = [x509.NameAttribute(oid, organisation + suffix) for oid, suffix in named]
    names = [x509.Name([owner, part]) for part in parts]

    def issued(number: int, usage: tuple[bool, ...]) -> bytes:
        """The certificate of the root (0) or the signer (1), signed by the root."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[number])
            .issuer_name(names[0])
            .public_key(keys[number].public_key())
        )
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(
            now - datetime.timedelta(minutes=5)
        )
        builder = builder.not_valid_after(now + datetime.timedelta(days=days))
        builder = builder.add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        builder = builder.add_extension(x509.KeyUsage(*usage), critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(keys[number].public_key()), critical=False
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False
        )
        if number == 1:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    # it signs certificates and lists of revoked ones
    root = issued(0, (False, False, False, False, False, True, True, False, False))
    signer = issued(1, (True, False, False, False, False, False, False, False, False))  # it signs data
    private_key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(signer + root, private_key)


def _media(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in MEDIA:
        raise ValueError(
            f"{os.fspath(path)} ends in {suffix!r}: manifests of {', '.join(MEDIA)} are read and written here"
        )
    return MEDIA[suffix]


def _package() -> ModuleType:
    try:
        import c2pa
    except ImportError as error:
        raise ImportError(extras.needs("content credentials need", "c2pa-python", "c2pa")) from error
    package: ModuleType = c2pa
    return package
