"""Signed manifests: an in-toto statement in a DSSE envelope."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

import consentgate as cg
from tests.build import MICRO, NOW
from tests.run_data import EVIDENCE, mixed_gate, write_files
from tests.signing import ENVELOPE, MANIFEST, write_keys


@pytest.fixture
def dst(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """A signed run."""
    write_files(tmp_path / "src", ["a.parquet", "b.parquet"])
    cg.run(mixed_gate(), tmp_path / "src", tmp_path / "dst", sign_with=keys[0])
    return tmp_path / "dst"


def test_a_signed_run_is_as_it_says(dst: Path, keys: tuple[Path, Path]) -> None:
    assert cg.audit(dst, public_key=keys[1]) == ()


def test_the_envelope_is_what_the_standards_say(dst: Path, keys: tuple[Path, Path]) -> None:
    """The signature is checked here without the library that made it."""
    envelope = json.loads((dst / ENVELOPE).read_text())
    payload = base64.b64decode(envelope["payload"])
    statement = json.loads(payload)
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:consentgate:manifest:1"
    manifest = json.loads((dst / MANIFEST).read_text())
    assert statement["predicate"] == manifest
    assert statement["subject"] == [
        {"name": file["output"]["path"], "digest": {"sha256": file["output"]["sha256"]}}
        for file in manifest["files"]
    ]
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    (signature,) = envelope["signatures"]
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    public = load_pem_public_key(keys[1].read_bytes())
    public.verify(base64.b64decode(signature["sig"]), signed)  # type: ignore[union-attr, call-arg]


def test_another_key_is_a_finding(dst: Path, tmp_path: Path) -> None:
    (finding,) = cg.audit(dst, public_key=write_keys(tmp_path, "other")[1])
    assert finding.path == ENVELOPE
    assert "not signed with the given key" in finding.what


def test_a_signed_run_needs_a_key(dst: Path) -> None:
    with pytest.raises(cg.ConfigurationError, match="is signed; give the public key"):
        cg.audit(dst)


def test_a_run_that_should_be_signed(dst: Path, keys: tuple[Path, Path]) -> None:
    (dst / ENVELOPE).unlink()
    (finding,) = cg.audit(dst, public_key=keys[1])
    assert finding == cg.Finding(MANIFEST, "is not signed")


@pytest.mark.parametrize("part", ["payload", "payloadType", "signatures", "all"])
def test_an_altered_envelope_is_a_finding(part: str, dst: Path, keys: tuple[Path, Path]) -> None:
    envelope = json.loads((dst / ENVELOPE).read_text())
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["predicate"]["source"] = "elsewhere"
    forged = {
        "payload": base64.b64encode(json.dumps(payload).encode()).decode(),
        "payloadType": "text/plain",
        "signatures": [],
    }
    changed = {} if part == "all" else envelope | {part: forged[part]}
    (dst / ENVELOPE).write_text(json.dumps(changed))
    (finding,) = cg.audit(dst, public_key=keys[1])
    assert finding.path == ENVELOPE


def test_a_manifest_of_another_run_is_a_finding(
    dst: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    other = tmp_path / "other"
    cg.run(mixed_gate(), tmp_path / "src", other, sign_with=keys[0], judged_at=NOW + MICRO)
    (dst / ENVELOPE).write_bytes((other / ENVELOPE).read_bytes())
    (finding,) = cg.audit(dst, public_key=keys[1])
    assert finding == cg.Finding(ENVELOPE, "signs another manifest")


def test_signing_what_was_not_signed_runs_again(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    write_files(tmp_path / "src", ["a.parquet"])
    first = cg.run(mixed_gate(), tmp_path / "src", tmp_path / "dst")
    second = cg.run(mixed_gate(), tmp_path / "src", tmp_path / "dst", sign_with=keys[0])
    assert second.previous == first.digest
    assert cg.audit(tmp_path / "dst", public_key=keys[1]) == ()
    assert cg.run(mixed_gate(), tmp_path / "src", tmp_path / "dst", sign_with=keys[0]) == second


def test_the_signature_of_an_earlier_run_is_kept_with_its_manifest(
    dst: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    before = (dst / ENVELOPE).read_bytes()
    first = json.loads((dst / MANIFEST).read_text())["digest"]
    cg.run(mixed_gate(), tmp_path / "src", dst, sign_with=keys[0], judged_at=NOW + MICRO)
    assert (dst / EVIDENCE / "manifests" / f"{first}.dsse.json").read_bytes() == before
    assert cg.audit(dst, public_key=keys[1]) == ()


def elliptic() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def locked() -> bytes:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize("content", [None, b"", b"no key", elliptic(), locked()])
def test_a_key_that_does_not_fit_is_refused_before_anything_is_done(
    content: bytes | None, tmp_path: Path
) -> None:
    write_files(tmp_path / "src", ["a.parquet"])
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(cg.ConfigurationError, match=r"Key file '.*key' .*Ed25519 private key"):
        cg.run(mixed_gate(), tmp_path / "src", tmp_path / "dst", sign_with=tmp_path / "key")
    assert not (tmp_path / "dst").exists()


def test_a_private_key_is_no_public_one(dst: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(cg.ConfigurationError, match="Ed25519 public key"):
        cg.audit(dst, public_key=keys[0])


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    write_files(tmp_path / "src", ["a.parquet"])
    code = f"""
import sys
sys.modules["securesystemslib"] = None
import consentgate as cg
from tests.run_data import mixed_gate
try:
    cg.run(mixed_gate(), {str(tmp_path / "src")!r}, {str(tmp_path / "dst")!r}, sign_with="key")
except cg.ExtraMissingError as error:
    print(error.code, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("extra_missing ")
    assert "pip install 'consentgate[sign]'" in done.stdout
    assert not (tmp_path / "dst").exists()
