"""The judgement (docs/semantics.md, section 4) over one block of messages.

It is pure: the bits depend on the block, the facts and the instant of judgement, and on nothing
else.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate.arrow import (
    Bits,
    Validator,
    as_micros,
    block_rows,
    check_instants,
    find_column,
    for_each,
    is_list,
    is_text,
    plain_text,
    row_blocks,
    thread_count,
    type_text,
)
from consentgate.columns import Columns
from consentgate.errors import ColumnTypeError, GateRulesError, IdFamilyError
from consentgate.index import IdFamily, id_family
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.judging.channel_facts import compile_channels, visibility_bits
from consentgate.judging.consent_facts import compile_consent
from consentgate.judging.facts import Facts
from consentgate.judging.lookup import Lookup
from consentgate.judging.messages import Messages
from consentgate.judging.reason_bits import flag
from consentgate.judging.rules import find_rule_column, match_rule
from consentgate.policy import Policy
from consentgate.reasons import FIRST_RULE_BIT, RULES_VERSION, reason_names

_NOT_JUDGED = np.uint32(0xFFFF_FFFF)
_ROWS_WORTH_A_BATCH = 16_384
"""Batches with fewer rows on average are combined before they are judged."""


def _rules() -> tuple[int, dict[int, str]]:
    """The rules of judgement and the built-in reasons of this version."""
    return RULES_VERSION, reason_names()


@dataclass(frozen=True, repr=False)
class Judge:
    """All that judging needs besides the messages and the instant of judgement.

    Attributes:
        snapshot_as_of: the snapshot's `as_of`, in microseconds since 1970 in UTC.
        registry_as_of: the channel registry's `as_of`, in the same unit; None if there is none.
    """

    policy: Policy
    columns: Columns
    consent: Facts
    channels: Facts | None
    snapshot_as_of: int
    registry_as_of: int | None
    subject_family: IdFamily
    channel_family: IdFamily | None

    @classmethod
    def compile(
        cls,
        policy: Policy,
        consent: ConsentSnapshot,
        channels: ChannelRegistry | None,
        columns: Columns,
    ) -> "Judge":
        """Compile policy, snapshot and registry into the form in which they are looked up.

        Raises:
            RuleColumnMissingError, RuleColumnTypeError: A subject rule cannot be evaluated.
        """
        return cls(
            policy,
            columns,
            compile_consent(policy, consent),
            None if channels is None else compile_channels(policy, channels),
            as_micros(consent.as_of, name="as_of"),
            None if channels is None else as_micros(channels.as_of, name="as_of"),
            consent.id_family,
            None if channels is None else channels.id_family,
        )

    def __getstate__(self) -> tuple[Any, dict[str, Any]]:
        return _rules(), self.__dict__

    def __setstate__(self, state: tuple[Any, dict[str, Any]]) -> None:
        """Take a pickle over, unless a version with other rules of judgement made it."""
        rules, fields = state
        if rules != _rules():
            raise GateRulesError(
                "The gate was pickled by a version of consentgate with other rules of judgement "
                "than this version has; build the gate anew from its policy, snapshot and registry."
            )
        self.__dict__.update(fields)

    def check(self, schema: pa.Schema) -> list[str]:
        """Check a schema, and return the names of the columns that judging looks at.

        Raises:
            ColumnMissingError, ColumnAmbiguousError: A column is absent or occurs twice.
            ColumnTypeError: A column's type does not fit. The subclasses IdFamilyError,
                NaiveTimestampError and RuleColumnTypeError say more precisely why.
        """
        columns = self.columns
        for name in columns.subjects:
            _check_ids(schema, name, self.subject_family, lists=True)
        for name in columns.channels:
            _check_ids(schema, name, self.channel_family, lists=False)
        if columns.visibility is not None:
            _check_text(schema, columns.visibility)
        created_at = schema.field(_find(schema, columns.created_at, "created_at"))
        check_instants(created_at.type, columns.created_at, columns.assume_timezone)
        rules = [find_rule_column(schema, rule, "messages") for rule in self.policy.record_rules]
        named = [*columns.subjects, *columns.channels, columns.visibility, columns.created_at]
        named += [schema.field(at).name for at in rules]
        return list(dict.fromkeys(name for name in named if name is not None))

    def judge(self, table: pa.Table, now: int, threads: int | None = None) -> Bits:
        """The reasons against every row of a table.

        Args:
            table: n rows of a schema that `check` has accepted, with the columns that it returns.
            now: the instant of judgement, microseconds since 1970 in UTC.
            threads: how many threads judge; None takes one for each available core.

        Returns:
            n uint32, 0 = admitted.

        Raises:
            MalformedDataError: A column is not what its type says.
            ConfigurationError: `threads` is less than 1.
        """
        count = thread_count(threads)
        bits = np.full(table.num_rows, _NOT_JUDGED)
        lookup, validator, start = Lookup(table.num_rows, now), Validator(), 0
        blocks = []
        for batch in _batches(table, validator):
            messages = Messages(
                *(batch, self.columns, self.consent, self.channels, self._known_until, lookup)
            )
            own = bits[start : start + batch.num_rows]
            start += batch.num_rows
            for rows in row_blocks(batch.num_rows, block_rows(table.num_rows, count)):
                blocks.append((messages, batch, rows, own[rows]))

        def judge(block: tuple[Messages, pa.RecordBatch, slice, Bits]) -> None:
            messages, batch, rows, against = block
            against[:] = 0
            self._add_words(batch, rows, against, validator)
            messages.judge(rows, against)

        for_each(judge, blocks, count)
        return bits

    @property
    def _known_until(self) -> int:
        """The earlier `as_of` of snapshot and registry, which know nothing about later messages."""
        as_of = self.snapshot_as_of, self.registry_as_of
        return min(instant for instant in as_of if instant is not None)

    def _add_words(
        self, batch: pa.RecordBatch, rows: slice, bits: Bits, validator: Validator
    ) -> None:
        """Add the reasons that the row's visibility and the policy's record rules give."""
        if (name := self.columns.visibility) is not None:
            words = batch.column(name)[rows]
            validator.check_column(name, words)
            if not pa.types.is_dictionary(words.type):
                words = plain_text(words).dictionary_encode()
            bits |= visibility_bits(words, self.policy)
        for number, rule in enumerate(self.policy.record_rules):
            column = batch.column(rule.column)[rows]
            validator.check_column(rule.column, column)
            bits |= flag(match_rule(rule, column), 1 << (FIRST_RULE_BIT + number))


def _batches(table: pa.Table, validator: Validator) -> list[pa.RecordBatch]:
    """The table's batches. Many small ones are combined, because each costs as much as many rows.

    Raises:
        MalformedDataError: A column that has to be copied is not what its type says.
    """
    batches: list[pa.RecordBatch] = table.to_batches()
    if len(batches) > 1 and table.num_rows < len(batches) * _ROWS_WORTH_A_BATCH:
        validator.check(table)  # before rows are copied
        # pyarrow 26 refuses to combine some valid layouts; those are only slower to judge
        with suppress(pa.ArrowException):
            batches = table.combine_chunks().to_batches()
    return batches


def record_id_column(schema: pa.Schema, columns: Columns) -> int:
    """The position of the column of record ids, if a ledger can hold them.

    Judging does not look at them. `Gate.filter`, ledgers and runs need them.

    Raises:
        ColumnMissingError, ColumnAmbiguousError: The column is absent or occurs twice.
        ColumnTypeError: The column does not hold ids.
    """
    name = columns.record_id
    at = _find(schema, name, "record_id")
    kind = schema.field(at).type
    if id_family(kind) is None:
        raise ColumnTypeError(
            f"Column '{name}' (record_id) is {type_text(kind)} but must be an integer, string, "
            "UUID or 16-byte binary; cast it."
        )
    return at


def _check_ids(schema: pa.Schema, name: str, family: IdFamily | None, *, lists: bool) -> None:
    """Raise an error unless a column's ids are of a family. A column of type null fits all."""
    kind = schema.field(_find(schema, name, "subjects" if lists else "channels")).type
    item = kind.value_type if lists and is_list(kind) else kind
    own = id_family(item)
    if own is None and not pa.types.is_null(item):
        wanted = "ids or lists of ids" if lists else "ids"
        raise ColumnTypeError(
            f"Column '{name}' is {type_text(kind)} but must hold {wanted}: integers, strings or "
            "UUIDs; cast it."
        )
    if own is not None and own is not family:
        where = "consent snapshot" if lists else "channel registry"
        raise IdFamilyError(
            f"Column '{name}' is {type_text(kind)}, so its ids are {own}s, but those of the "
            f"{where} are {family}s; cast one of them."
        )


def _find(schema: pa.Schema, name: str, role: str) -> int:
    """The position of a column that `Columns` names in the field `role`."""
    return find_column(schema, name, role=role, hint=f"name the column in `Columns.{role}`")


def _check_text(schema: pa.Schema, name: str) -> None:
    kind = schema.field(_find(schema, name, "visibility")).type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (is_text(value) or pa.types.is_null(value)):
        raise ColumnTypeError(
            f"Column '{name}' (visibility) is {type_text(kind)} but must be text; cast it."
        )
