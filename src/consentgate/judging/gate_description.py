"""The description of a gate in its file, and the checks of what it says.

A file whose checksums are right can still have been written by a faulty or hostile program. So the
description is checked like any input. Its entries have to agree with the policy and the columns,
with the identity that ledgers will hold, and with the types and shapes of the arrays.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from consentgate.arrow import EARLIEST, LATEST, as_micros
from consentgate.columns import Columns
from consentgate.identity import DatedInput, GateIdentity, Record, Version
from consentgate.index import SHORTEST_SHIFT, IdFamily
from consentgate.judging.channel_facts import CHANNEL_BITS
from consentgate.judging.consent_facts import consent_bits
from consentgate.policy import Policy

Arrays = Mapping[str, npt.NDArray[Any]]
Int64 = Annotated[int, Field(ge=EARLIEST, le=LATEST)]

_SAMPLED_WORDS = 256


class DescribedIndex(Record):
    """An index without its arrays; see `Index` and `PerfectHash`."""

    seed: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    is_signed: bool
    bucket_bits: Annotated[int, Field(ge=0, le=32)]
    part_slots: Annotated[int, Field(ge=1, le=1 << 32)]

    def check(self, name: str, arrays: Arrays, family: IdFamily) -> int:
        """Return the number of slots. Raise ValueError unless the index's arrays fit."""
        pilots, entries = arrays[f"{name}.pilots"], arrays[f"{name}.entries"]
        parts, rest = divmod(len(pilots), 1 << self.bucket_bits)
        slots = parts * self.part_slots
        width = 2 if family is IdFamily.INTEGER else 4
        _check(pilots.dtype == np.uint8 and pilots.ndim == 1, f"type of {name}.pilots")
        _check(parts > 0 and not rest, f"number of {name}.pilots")
        _check(entries.dtype == np.uint64 and entries.shape == (slots, width), f"{name}.entries")
        _check(family is IdFamily.INTEGER or not self.is_signed, f"signs of {name}'s ids")
        return slots


class DescribedInstants(Record):
    """One instant for each id, without the rests; see `PackedInstants`."""

    first_bit: Annotated[int, Field(ge=0, le=63)]
    bits: Annotated[int, Field(ge=1, le=64)]
    shift: Annotated[int, Field(ge=SHORTEST_SHIFT, le=63)]
    base: Int64


class DescribedConsent(Record):
    """The facts about subjects; see `ConsentFacts`."""

    index: DescribedIndex
    reason_bits: int
    valid_from: DescribedInstants | None
    valid_until: DescribedInstants | None

    @property
    def instants(self) -> dict[str, DescribedInstants | None]:
        """The instants in the order in which facts hold them."""
        return {"valid_from": self.valid_from, "valid_until": self.valid_until}


class DescribedChannels(Record):
    """The facts about channels; see `ChannelFacts`."""

    index: DescribedIndex
    public_since: DescribedInstants | None

    @property
    def instants(self) -> dict[str, DescribedInstants | None]:
        """The instants in the order in which facts hold them."""
        return {"public_since": self.public_since}


class DescribedJudge(Record):
    """A judge without its arrays; see `Judge`."""

    consent: DescribedConsent
    channels: DescribedChannels | None
    snapshot_as_of: Int64
    registry_as_of: Int64 | None
    subject_family: IdFamily
    channel_family: IdFamily | None


@contextmanager
def _faults_located() -> Iterator[None]:
    """Turn pydantic's faults into a ValueError that names the first entry at fault."""
    try:
        yield
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(".".join(map(str, fault["loc"])) or "as a whole") from None


class GateHead(BaseModel):
    """The entries of a gate's description that every version can read; see `Description`.

    Attributes:
        version: the version of consentgate that saved the gate.
        identity: the identity of the gate.
    """

    model_config = ConfigDict(frozen=True)

    version: Version
    identity: GateIdentity

    @classmethod
    def read(cls, content: Any) -> "GateHead":
        """Read the head of a description from its JSON.

        Raises:
            ValueError: The JSON does not describe a gate. The message names the entry.
        """
        with _faults_located():
            return cls.model_validate(content)


class Description(Record):
    """All that a gate's file says about its gate, without the arrays; see `SavedGate`."""

    policy: Policy
    columns: Columns
    judged_at: AwareDatetime | None
    version: Version
    identity: GateIdentity
    judge: DescribedJudge

    @classmethod
    def read(cls, content: Any, arrays: Arrays, *, verify: bool) -> "Description":
        """Read a description from its JSON, and check that it agrees with itself and the arrays.

        Args:
            content: the JSON.
            arrays: the arrays by name.
            verify: look at all facts, and not only at a sample.

        Raises:
            ValueError: It does not agree. The message says where.
        """
        with _faults_located():
            description = cls.model_validate(content)
        _check(description.model_dump(mode="json") == content, "its form")
        description._check_parts()
        description._check_identity()
        description._check_arrays(arrays, verify=verify)
        return description

    def _check_parts(self) -> None:
        judge, has_channels = self.judge, bool(self.columns.channels)
        for part in (judge.channels, judge.registry_as_of, judge.channel_family):
            _check((part is not None) == has_channels, "channels and the columns that name them")
        _check(judge.consent.reason_bits == consent_bits(self.policy), "reasons of subjects")
        may_expire = judge.consent.valid_until is not None or self.policy.max_consent_age is None
        _check(may_expire, "the age limit of consents")

    def _check_identity(self) -> None:
        """Check that the identity, which ledgers will hold, is that of the policy and the judge."""
        said = self.identity
        expected = GateIdentity.of(self.policy, self.columns, said.consent, said.channels)
        _check(said == expected, "identity")
        _check(_as_of(said.consent) == self.judge.snapshot_as_of, "instant of the snapshot")
        _check(_as_of(said.channels) == self.judge.registry_as_of, "instant of the registry")

    def _check_arrays(self, arrays: Arrays, *, verify: bool) -> None:
        described: dict[str, tuple[DescribedConsent | DescribedChannels, IdFamily, int]] = {
            "consent": (self.judge.consent, self.judge.subject_family, consent_bits(self.policy))
        }
        if self.judge.channels is not None and self.judge.channel_family is not None:
            described["channels"] = self.judge.channels, self.judge.channel_family, CHANNEL_BITS
        names = set()
        for name, (facts, family, first_bit) in described.items():
            names |= {f"{name}.pilots", f"{name}.entries"}
            names |= {
                f"{name}.{each}.rests"
                for each, instant in facts.instants.items()
                if instant is not None
            }
            _check(names <= arrays.keys(), "names of arrays")
            slots = facts.index.check(name, arrays, family)
            end = _check_instants(name, facts.instants, first_bit, slots, arrays)
            _check_words(name, arrays[f"{name}.entries"], end, verify=verify)
        _check(arrays.keys() == names, "names of arrays")


def _check_instants(
    name: str,
    instants: Mapping[str, DescribedInstants | None],
    first_bit: int,
    slots: int,
    arrays: Arrays,
) -> int:
    """Raise ValueError unless instants lie in facts as `pack_instants` lays them, and rests fit.

    Returns:
        The first bit of the facts that is not used; 64 if there are instants, which use all bits.
    """
    held = {each: instant for each, instant in instants.items() if instant is not None}
    position, bits = first_bit, (64 - first_bit) // max(1, len(held))
    for each, instant in held.items():
        rests = arrays[f"{name}.{each}.rests"]
        _check((instant.first_bit, instant.bits) == (position, bits), f"position of {name}.{each}")
        _check(
            rests.dtype == np.min_scalar_type((1 << instant.shift) - 1), f"type of {name}.{each}"
        )
        _check(rests.shape == (slots,), f"number of {name}.{each}")
        position += bits
    return 64 if held else first_bit


def _check_words(name: str, entries: npt.NDArray[Any], end: int, *, verify: bool) -> None:
    """Raise ValueError if facts use bits that nothing describes, such as those of lost instants."""
    if end < 64:
        step = 1 if verify else max(1, len(entries) // _SAMPLED_WORDS)
        facts = entries[::step, entries.shape[1] // 2]
        _check(not (facts >> np.uint64(end)).any(), f"facts of {name}")


def _check(is_so: bool, what: str) -> None:
    if not is_so:
        raise ValueError(what)


def _as_of(data: DatedInput | None) -> int | None:
    """The `as_of` of a snapshot or registry, in microseconds since 1970."""
    return None if data is None else as_micros(data.as_of, name="as_of")
