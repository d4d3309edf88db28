"""The identity of a gate: its digest, and the metadata that hold it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest

import consentgate as cg
from consentgate.identity import DatedInput, GateIdentity, instant_text
from consentgate.reasons import RULES_VERSION
from tests.build import AS_OF, NOW, make_consent, make_gate

RULES = [{"name": "quiet", "column": "word", "is_null": True}]
GATES = {
    "with a registry": lambda: make_gate(record_rules=RULES),
    "without one": lambda: make_gate(columns=cg.Columns(channels=(), visibility="seen")),
}
OTHER = "0" * 64


def metadata(gate: cg.Gate, **changes: str | None) -> dict[bytes, bytes]:
    """A gate's identity as files hold it; None takes a key away."""
    given = {key.encode(): text.encode() for key, text in gate.identity.to_metadata().items()}
    for key, text in changes.items():
        given.pop(f"consentgate.{key}".encode())
        if text is not None:
            given[f"consentgate.{key}".encode()] = text.encode()
    return given


def identity_of(gate: cg.Gate, **changes: Any) -> GateIdentity:
    return gate.identity.model_copy(update=changes)


@pytest.mark.parametrize("make", GATES.values(), ids=GATES)
def test_metadata_give_the_identity_back_without_the_labels(make: Any) -> None:
    gate = make()
    back = GateIdentity.from_metadata({**metadata(gate), b"owner": b"\xff", b"\xff": b"x"})
    assert back.digest == gate.digest
    assert back.consent == gate.identity.consent.model_copy(update={"source": ""})
    assert (back.channels is None) == (gate.identity.channels is None)
    assert (back.columns, back.reason_names) == (vars(gate.columns), gate.identity.reason_names)
    assert "Arrow data" not in str(metadata(gate))


@pytest.mark.parametrize("key", [*make_gate().identity.to_metadata()])
@pytest.mark.parametrize("text", [None, "", "{", "x", "[]", "null", "1e999", OTHER, "[" * 9999])
def test_metadata_of_another_gate_or_none_are_refused(key: str, text: str | None) -> None:
    changed = metadata(make_gate(), **{key.removeprefix("consentgate."): text})
    with pytest.raises(
        cg.ManifestError, match=r"does not say which gate judged|is not the one that it names"
    ):
        GateIdentity.from_metadata(changed)


@pytest.mark.parametrize(
    ("key", "field", "text"),
    [
        ("reason_names", "reason_names.1", '{"1": 2}'),
        ("reason_names", "reason_names.32", '{"32": "x"}'),
        ("reason_names", "reason_names", '{"0": "a", "1": "a"}'),
        ("columns", "as a whole", "{}"),
        ("reason_width", "reason_width", "31"),
        ("snapshot_as_of", "consent.as_of", "2026-03-01T00:00:00"),
        ("snapshot_as_of", "consent.as_of", "9999-12-31T23:00:00-14:00"),
        ("registry_digest", "channels.digest", "x"),
    ],
)
def test_an_error_names_the_key_that_is_at_fault_and_no_value(
    key: str, field: str, text: str
) -> None:
    with pytest.raises(cg.ManifestError) as caught:
        GateIdentity.from_metadata(metadata(make_gate(), **{key: text}))
    assert f"({field})" in str(caught.value).replace(".[key]", "")
    assert text not in str(caught.value)


def test_reasons_are_in_the_order_of_their_bits_whatever_the_order_in_a_file() -> None:
    gate = make_gate(record_rules=RULES)
    names = json.dumps(gate.identity.model_dump(mode="json")["reason_names"], sort_keys=True)
    assert names.index('"10"') < names.index('"2"')
    back = GateIdentity.from_metadata(metadata(gate, reason_names=names))
    assert list(back.reason_names) == sorted(gate.identity.reason_names)


@pytest.mark.parametrize(
    "changes",
    [
        {"policy_digest": OTHER},
        {"consent": DatedInput(digest=OTHER, as_of=AS_OF, source="")},
        {"consent": DatedInput(digest=make_consent().digest, as_of=NOW, source="Arrow data")},
        {"channels": None},
        {"columns": vars(cg.Columns(record_id="other"))},
        {"reason_names": {0: "private_channel"}},
        {"rules_version": RULES_VERSION + 1},
    ],
    ids=lambda changes: "".join(changes),
)
def test_the_digest_depends_on_all_that_decides(changes: dict[str, Any]) -> None:
    gate = make_gate()
    assert identity_of(gate, **changes).digest != gate.digest


def test_the_digest_does_not_depend_on_where_inputs_came_from() -> None:
    gate = make_gate()
    elsewhere = gate.identity.consent.model_copy(update={"source": "elsewhere"})
    assert identity_of(gate, consent=elsewhere).digest == gate.digest


def test_the_digest_is_the_same_in_every_release() -> None:
    """If this fails, gates and runs of older releases count as others: that is a new format."""
    identity = GateIdentity(
        policy_digest="1" * 64,
        consent=DatedInput(digest="2" * 64, as_of=AS_OF, source="a"),
        channels=DatedInput(digest="3" * 64, as_of=NOW, source="b"),
        columns=vars(cg.Columns()),
        reason_names={0: "private_channel", 16: "minor"},
        reason_width=32,
        rules_version=1,
    )
    assert identity.digest[:16] == "43f28aa2e03951d3"


@pytest.mark.parametrize(
    "instant",
    [
        AS_OF,
        AS_OF.astimezone(timezone(timedelta(hours=14))),
        pd.Timestamp(AS_OF),
        pd.Timestamp("2026-03-01T01:00:00.000000999+01:00"),
    ],
)
def test_one_instant_has_one_text(instant: datetime) -> None:
    data = DatedInput(digest=OTHER, as_of=instant, source="")
    assert instant_text(instant) == "2026-03-01T00:00:00+00:00"
    assert json.loads(data.model_dump_json())["as_of"] == "2026-03-01T00:00:00+00:00"
    assert type(data).model_validate_json(data.model_dump_json()).as_of == AS_OF
