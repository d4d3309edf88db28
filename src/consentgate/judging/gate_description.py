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
from consentgate.kernel import LINE_WORDS, RANK_LINES
from consentgate.policy import Policy

Arrays = Mapping[str, npt.NDArray[Any]]
Int64 = Annotated[int, Field(ge=EARLIEST, le=LATEST)]

_SAMPLED_LINES = 256
_FARTHEST_STEP = 1 << (64 - SHORTEST_SHIFT)
"""Most steps between an instant and 1970. With more, differences between steps would overflow."""


class DescribedInstants(Record):
    """One instant for each id, without the rests; see `PackedInstants`."""

    first_bit: Annotated[int, Field(ge=0, le=63)]
    bits: Annotated[int, Field(ge=1, le=64)]
    shift: Annotated[int, Field(ge=SHORTEST_SHIFT, le=63)]
    base: Annotated[int, Field(ge=-_FARTHEST_STEP, le=_FARTHEST_STEP)]


class DescribedFacts(Record):
    """The facts about subjects or channels without their arrays; see `Facts` and `Index`."""

    seed: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    is_signed: bool
    longest: Annotated[int, Field(ge=0, le=1 << 60)]
    entries: Annotated[int, Field(ge=0, le=1 << 60)]
    reason_bits: int
    since: DescribedInstants | None
    until: DescribedInstants | None

    @property
    def instants(self) -> dict[str, DescribedInstants]:
        """The instants that there are, in the order in which facts hold them."""
        both = {"since": self.since, "until": self.until}
        return {name: instants for name, instants in both.items() if instants is not None}

    def names(self, name: str) -> set[str]:
        """The names of the arrays that belong to these facts, which are called `name`."""
        rests = {f"{name}.{each}.rests" for each in self.instants}
        return {f"{name}.lines", f"{name}.ranks", *rests}

    def check(self, name: str, arrays: Arrays, family: IdFamily, *, verify: bool) -> None:
        """Raise ValueError unless the arrays fit."""
        lines, ranks = arrays[f"{name}.lines"], arrays[f"{name}.ranks"]
        count, places = len(lines), family.layout.places
        _check(lines.dtype == np.uint64 and lines.ndim == 2 and count > 0, f"type of {name}.lines")
        _check(lines.shape[1] == LINE_WORDS, f"size of {name}.lines")
        _check(ranks.dtype == np.uint64 and ranks.ndim == 1, f"type of {name}.ranks")
        _check(len(ranks) == -(-count // RANK_LINES), f"number of {name}.ranks")
        _check(self.longest < count, f"length of searches in {name}")
        _check(self.entries <= count * places, f"number of entries of {name}")
        _check(family is IdFamily.INTEGER or not self.is_signed, f"signs of {name}'s ids")
        end = self._check_instants(name, arrays)
        first = family.layout.facts_word
        _check_words(name, lines[:, first : first + places], end, verify=verify)

    def _check_instants(self, name: str, arrays: Arrays) -> int:
        """Raise ValueError unless instants lie in facts as `pack_instants` lays them.

        Returns:
            The first bit of the facts that is not used; 64 if there are instants, which use all
            bits.
        """
        position, bits = self.reason_bits, (64 - self.reason_bits) // max(1, len(self.instants))
        for each, instant in self.instants.items():
            rests, what = arrays[f"{name}.{each}.rests"], f"{name}.{each}"
            _check((instant.first_bit, instant.bits) == (position, bits), f"position of {what}")
            _check(rests.dtype == np.min_scalar_type((1 << instant.shift) - 1), f"type of {what}")
            _check(rests.shape == (self.entries,), f"number of {what}")
            position += bits
        return 64 if self.instants else self.reason_bits


class DescribedJudge(Record):
    """A judge without its arrays; see `Judge`."""

    consent: DescribedFacts
    channels: DescribedFacts | None
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
        if judge.channels is not None:
            _check(judge.channels.reason_bits == CHANNEL_BITS, "reasons of channels")
            _check(judge.channels.until is None, "instants of channels")
        may_expire = judge.consent.until is not None or self.policy.max_consent_age is None
        _check(may_expire, "the age limit of consents")

    def _check_identity(self) -> None:
        """Check that the identity, which ledgers will hold, is that of the policy and the judge."""
        said = self.identity
        expected = GateIdentity.of(self.policy, self.columns, said.consent, said.channels)
        _check(said == expected, "identity")
        _check(_as_of(said.consent) == self.judge.snapshot_as_of, "instant of the snapshot")
        _check(_as_of(said.channels) == self.judge.registry_as_of, "instant of the registry")

    def _check_arrays(self, arrays: Arrays, *, verify: bool) -> None:
        judge = self.judge
        described = {"consent": (judge.consent, judge.subject_family)}
        if judge.channels is not None and judge.channel_family is not None:
            described["channels"] = judge.channels, judge.channel_family
        names = set().union(*(facts.names(name) for name, (facts, _) in described.items()))
        _check(arrays.keys() == names, "names of arrays")
        for name, (facts, family) in described.items():
            facts.check(name, arrays, family, verify=verify)


def _check_words(name: str, facts: npt.NDArray[Any], end: int, *, verify: bool) -> None:
    """Raise ValueError if facts use bits that nothing describes, such as those of lost instants."""
    if end < 64:
        step = 1 if verify else max(1, len(facts) // _SAMPLED_LINES)
        _check(not (facts[::step] >> np.uint64(end)).any(), f"facts of {name}")


def _check(is_so: bool, what: str) -> None:
    if not is_so:
        raise ValueError(what)


def _as_of(data: DatedInput | None) -> int | None:
    """The `as_of` of a snapshot or registry, in microseconds since 1970."""
    return None if data is None else as_micros(data.as_of, name="as_of")
