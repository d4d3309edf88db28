"""Signatures of manifests: an in-toto statement in a DSSE envelope, signed with Ed25519.

The subjects of the statement are the files of admitted rows, and its predicate is the manifest. The
formats are those of the in-toto Attestation Framework, Statement v1, and of DSSE v1. Keys are PEM
files, as `openssl genpkey -algorithm ed25519` writes them. Signing needs the extra `sign`.

- A signature protects a manifest against everybody who does not have the private key, even if they
  can write to the destination while no run is at work there. Each row that the manifest names was
  judged by a run that had the key. A run that is resumed believes only files that a run with the
  same key has sealed. A seal covers the judgement, the source's label, the input's state, and the
  digests of the output and of its part of the ledger. All other files are judged again.
- It does not protect against somebody who has the key, who can write to the source, to the gate or
  to the destination's drafts while a run is at work, or who can change the program.
- It does not say that nothing was removed. Whoever can write to the destination can put an older
  run with its signature back, or take everything away. Whether a later run is refused because its
  snapshot is older (`allow_older_snapshot`) depends on what the destination still says.
- Without a signature, manifests, ledgers and digests show accidents, such as files that were cut
  off, mixed up or forgotten. Whoever can write to the destination can forge all of them together.
"""

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from consentgate.errors import ConfigurationError, ExtraMissingError, ManifestError
from consentgate.runs.manifest import Manifest
from consentgate.storage import read_regular, why

PREDICATE_TYPE = "urn:consentgate:manifest:1"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MOST_KEY_BYTES = 1 << 20


class Signer:
    """Signs manifests with a private key.

    Args:
        path: the path of an Ed25519 private key in PEM, without a passphrase.

    Raises:
        ConfigurationError: The file cannot be read, or holds no such key.
        ExtraMissingError: The extra `sign` is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        signer, serialization = _import("securesystemslib.signer"), _serialization()
        self._signer = _read_key(
            Path(path),
            "private",
            lambda pem: signer.CryptoSigner(serialization.load_pem_private_key(pem, None)),
            lambda key: key.public_key,
        )

    def sign(self, manifest: Manifest) -> bytes:
        """Sign a manifest. Returns the envelope as JSON."""
        dsse = _import("securesystemslib.dsse")
        payload = json.dumps(_statement(manifest), sort_keys=True).encode()
        envelope = dsse.Envelope(payload, _PAYLOAD_TYPE, {})
        envelope.sign(self._signer)
        return json.dumps(envelope.to_dict(), indent=2).encode() + b"\n"

    def has_signed(self, envelope: bytes | None, manifest: Manifest) -> bool:
        """Whether an envelope holds a manifest that was signed with this key."""
        if envelope is None:
            return False
        try:
            return signed_manifest(envelope, self._signer.public_key, "envelope") == manifest
        except ManifestError:
            return False

    def seal(self, record: BaseModel) -> str:
        """Sign a record. Returns the signature in hexadecimal."""
        signature: str = self._signer.sign(_sealed(record)).signature
        return signature

    def has_sealed(self, seal: str | None, record: BaseModel) -> bool:
        """Whether a seal is this key's signature over a record."""
        return seal is not None and is_seal(seal, record, self._signer.public_key)


def is_seal(seal: str, record: BaseModel, public_key: Any) -> bool:
    """Whether a seal is a signature over a record.

    Args:
        seal: the signature in hexadecimal.
        record: the record.
        public_key: a key from `read_public_key`.
    """
    signer, exceptions = _import("securesystemslib.signer"), _import("securesystemslib.exceptions")
    if not re.fullmatch("[0-9a-f]{128}", seal):
        return False
    try:
        public_key.verify_signature(signer.Signature(public_key.keyid, seal), _sealed(record))
    except exceptions.UnverifiedSignatureError:
        return False
    return True


def _sealed(record: BaseModel) -> bytes:
    """The bytes that a seal signs. They begin in another way than those of a signed manifest."""
    content = json.dumps(record.model_dump(mode="json"), sort_keys=True)
    return f"consentgate-seal-1 {type(record).__name__} {content}".encode()


def read_public_key(path: str | Path) -> Any:
    """Read an Ed25519 public key from a PEM file.

    Raises:
        ConfigurationError: The file cannot be read, or holds no such key.
        ExtraMissingError: The extra `sign` is not installed.
    """
    signer, serialization = _import("securesystemslib.signer"), _serialization()
    return _read_key(
        Path(path),
        "public",
        lambda pem: signer.SSlibKey.from_crypto(serialization.load_pem_public_key(pem)),
        lambda key: key,
    )


def signed_manifest(envelope: bytes, public_key: Any, name: str) -> Manifest:
    """Return the manifest in an envelope, after checking the signature.

    Args:
        envelope: the envelope as JSON.
        public_key: a key from `read_public_key`.
        name: what errors call the envelope.

    Raises:
        ManifestError: The signature is not the key's, or the envelope holds no manifest.
    """
    dsse, exceptions = _import("securesystemslib.dsse"), _import("securesystemslib.exceptions")
    try:
        parsed = dsse.Envelope.from_dict(json.loads(envelope))
        parsed.verify([public_key], 1)
        statement = json.loads(parsed.payload)
        manifest = Manifest.model_validate(statement["predicate"])
    except exceptions.VerificationError as error:
        raise ManifestError(
            f"'{name}' was not signed with the given key, or was altered."
        ) from error
    except (
        *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
        exceptions.FormatError,
    ):
        raise ManifestError(f"'{name}' holds no signed manifest; it was altered.") from None
    if parsed.payload_type != _PAYLOAD_TYPE or statement != _statement(manifest):
        raise ManifestError(f"'{name}' holds a statement about something else than its manifest.")
    return manifest


def _statement(manifest: Manifest) -> dict[str, Any]:
    outputs = [file.output for file in manifest.files]
    return {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": o.path, "digest": {"sha256": o.sha256}} for o in outputs],
        "predicateType": PREDICATE_TYPE,
        "predicate": manifest.model_dump(mode="json"),
    }


def _read_key(
    path: Path, kind: str, load: Callable[[bytes], Any], public: Callable[[Any], Any]
) -> Any:
    wanted = f"an Ed25519 {kind} key in PEM, without a passphrase"
    try:
        key = load(read_regular(path, most_bytes=_MOST_KEY_BYTES))
        is_fit = public(key).keytype == "ed25519"
    except OSError as error:
        raise ConfigurationError(
            f"Key file '{path}' cannot be read: {why(error)}; give {wanted}."
        ) from error
    except (ValueError, TypeError, AttributeError):
        is_fit = False
    if not is_fit:
        raise ConfigurationError(
            f"Key file '{path}' does not hold {wanted}; give a file that does."
        ) from None
    return key


def _serialization() -> Any:
    return _import("cryptography.hazmat.primitives.serialization")


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ExtraMissingError(
            "Signatures need packages that are not installed; pip install 'consentgate[sign]'."
        ) from error
