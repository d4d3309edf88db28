"""Signatures of manifests: an in-toto statement in a DSSE envelope, signed with Ed25519.

The statement's subjects are the files of admitted rows and its predicate is the manifest. Sources:
in-toto Attestation Framework, Statement v1; DSSE v1. Keys are PEM files, as `openssl genpkey
-algorithm ed25519` writes them. All of it needs the extra `sign`.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from consentgate._durable import why
from consentgate.errors import ConfigurationError, ExtraMissingError, ManifestError
from consentgate.manifest import Manifest

__all__ = ["PREDICATE_TYPE", "Signer", "read_public_key", "signed_manifest"]

PREDICATE_TYPE = "urn:consentgate:manifest:1"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"


class Signer:
    """Signs manifests with a private key.

    Args:
        path: of an Ed25519 private key in PEM, without a passphrase.

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
        """The envelope, as JSON."""
        dsse = _import("securesystemslib.dsse")
        payload = json.dumps(_statement(manifest), sort_keys=True).encode()
        envelope = dsse.Envelope(payload, _PAYLOAD_TYPE, {})
        envelope.sign(self._signer)
        return json.dumps(envelope.to_dict(), indent=2).encode() + b"\n"


def read_public_key(path: str | Path) -> Any:
    """An Ed25519 public key from a PEM file.

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
    """The manifest in an envelope that the key has signed.

    Args:
        public_key: what `read_public_key` gives.
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
            f"'{name}' was not signed with the key given, or was altered."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, exceptions.FormatError):
        raise ManifestError(f"'{name}' holds no signed manifest; it was altered.") from None
    if parsed.payload_type != _PAYLOAD_TYPE or statement != _statement(manifest):
        raise ManifestError(f"'{name}' holds a statement about something else.")
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
        key = load(path.read_bytes())
        is_fit = public(key).keytype == "ed25519"
    except OSError as error:
        raise ConfigurationError(
            f"Key file '{path}' cannot be read: {why(error)}; give {wanted}."
        ) from error
    except (ValueError, TypeError, AttributeError):
        is_fit = False
    if not is_fit:
        raise ConfigurationError(f"Key file '{path}' does not hold {wanted}; make one.") from None
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
