"""The gate: a policy, a consent snapshot and a channel registry compiled together.

It is the only judge: streams, adapters, runs and audits all ask it.
"""

import time
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

import numpy as np
import pyarrow as pa

from consentgate.arguments import require, require_path
from consentgate.arrow import (
    Validator,
    as_micros,
    as_table,
    from_numpy,
    keep_rows,
    micros_text,
)
from consentgate.columns import Columns
from consentgate.coverage import Coverage, CoverageCounter, Watch, tables_of
from consentgate.decision import Decision
from consentgate.errors import (
    ColumnExistsError,
    ConfigurationError,
    FutureSnapshotError,
    StaleSnapshotError,
)
from consentgate.identity import GateIdentity
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.judging import (
    Explanation,
    GateFile,
    Judge,
    JudgingOptions,
    SavedGate,
    Sieve,
    admitted_stream,
    explain,
    open_gate,
    preload,
    record_id_column,
    save_gate,
)
from consentgate.ledger import excluded_rows
from consentgate.policy import Policy
from consentgate.reasons import reason_names

SnapshotOrRegistry = TypeVar("SnapshotOrRegistry", ConsentSnapshot, ChannelRegistry)

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of this machine's clock a snapshot's `as_of` may be."""
_ORDER = "the order is Gate(policy, consent, channels)"
_COLUMNS = 'name the columns by what they hold, as in Columns(subjects="sender_id")'
_LAST_ROW = 1 << 62


class Gate:
    """Judges messages. Immutable, and safe to use from many threads and processes.

    Args:
        policy: the conditions under which messages are accepted.
        consent: every subject's decisions.
        channels: every channel's visibility; None for a gate without channel columns.
        columns: which columns of the messages hold what; None takes the defaults of `Columns`.
        judged_at: the instant of judgement, with a time zone, for reproducible runs. None takes
            the clock, which is read once per call (in `stream`, once per batch).

    Attributes:
        policy, columns, judged_at: as given.
        consent, channels: the snapshot and the registry that the gate was built from; None in a
            gate that was opened from a file.

    Raises:
        TypeError: An argument is of a wrong type.
        ConfigurationError: There are channel columns but no registry, or the reverse; or
            `judged_at` has no time zone.
        RuleColumnMissingError, RuleColumnTypeError: A subject rule cannot be evaluated.
    """

    def __init__(
        self,
        policy: Policy,
        consent: ConsentSnapshot,
        channels: ChannelRegistry | None = None,
        *,
        columns: Columns | None = None,
        judged_at: datetime | None = None,
    ) -> None:
        require(policy, "policy", Policy, hint=_ORDER)
        require(consent, "consent", ConsentSnapshot, hint=_ORDER)
        require(channels, "channels", ChannelRegistry, None, hint=_ORDER)
        require(columns, "columns", Columns, None, hint=_COLUMNS)
        self.policy = policy
        self.consent: ConsentSnapshot | None = consent
        self.channels: ChannelRegistry | None = channels
        self.columns = columns or Columns()
        self.judged_at = judged_at
        if judged_at is not None:
            as_micros(judged_at, name="judged_at")
        _check_registry(self.columns, channels)
        self._judge = Judge.compile(policy, consent, channels, self.columns)
        self._reason_names = reason_names(policy.rule_names)
        self._last_checked: tuple[pa.Schema | None, list[str]] = (None, [])
        self._watch = Watch(policy, self.columns, consent, channels)
        self._file: GateFile | None = None

    def __repr__(self) -> str:
        """The policy's name, the instants and, if known, the number of records. It shows no id."""
        judge, shown = self._judge, []
        for word, data, as_of in (
            ("consent record", self.consent, judge.snapshot_as_of),
            ("channel", self.channels, judge.registry_as_of),
        ):
            if as_of is not None:
                shown.append(f"{_counted(word, data)} as of {micros_text(as_of)}")
        if self.judged_at is not None:
            shown.append(f"judged at {micros_text(as_micros(self.judged_at, name='judged_at'))}")
        if self.consent is None:
            shown.append(f"digest {self.digest[:12]}")
        return f"<Gate {self.policy.name!r}: {', '.join(shown)}>"

    def save(self, path: str | Path) -> None:
        """Write the gate to one file, which appears complete or not at all.

        From then on, the gate pickles and copies as the file's path and digest. A process that
        unpickles it opens the file. The snapshot is not in the file; only `explain` needs it. If
        another gate is saved under the same path, even an equal one, those pickles are refused. So
        give every gate that you build a new path.

        The file holds no consent records. String ids cannot be read from the file, but whoever has
        the file can test whether an id is in it. Integer ids and UUIDs can be read from it. Guard
        the file as you guard the snapshot.

        Args:
            path: the path of the file. A file that is there is replaced.

        Raises:
            TypeError: `path` is not a path.
            OutputError: The file cannot be written. A file that was there is unchanged.
        """
        require_path(path, "path")
        saved = SavedGate(self._judge, self.judged_at, self.identity)
        self._file = save_gate(Path(path), saved)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> "Gate":
        """Open a saved gate by mapping its file into memory.

        All processes that open the file share its pages. While the file is open, no program may
        write into it or shorten it, because the system would end the process, as with every mapped
        file. `save` replaces the file by a new one, which does no harm.

        The checks find damage, and a head that contradicts itself or the arrays. They cannot find a
        forgery: whoever can write the file can make a gate that admits anybody.

        Args:
            path: the path of a file that `save` wrote.
            verify: check every byte of the file. Without it, only the head, the length of the file
                and a few pages are checked, and opening takes the same time however large the gate
                is. If other pages are blank, no record is found there, which excludes. Other damage
                to them is not noticed. Verify files that came over a network or are old.

        Raises:
            TypeError: `path` is not a path, or `verify` is not a bool.
            UnreadableFileError: The file is not there or cannot be read.
            ForeignGateError: The file is not a saved gate.
            NewerGateError: The file was written by a newer version.
            GateRulesError: The gate was made under other rules of judgement than this version's;
                compile it anew.
            DamagedGateError: The file is truncated, altered or blank.
        """
        require_path(path, "path")
        require(verify, "verify", bool)
        return cls._opened(*open_gate(Path(path), verify=verify))

    def preload(self) -> None:
        """Read all of an opened gate into memory now, instead of page by page when it is used.

        This takes as long as reading the file. Worker processes share the memory with this one. For
        a gate that is in memory already, nothing is done.
        """
        preload(self._judge)

    @classmethod
    def _opened(cls, saved: SavedGate, file: GateFile | None) -> "Gate":
        gate = cls.__new__(cls)
        gate.policy, gate.columns = saved.judge.policy, saved.judge.columns
        gate.consent = gate.channels = None
        gate.judged_at = saved.judged_at
        gate.identity = saved.identity
        gate._judge, gate._file = saved.judge, file
        gate._reason_names = reason_names(gate.policy.rule_names)
        gate._last_checked = (None, [])
        gate._watch = Watch(gate.policy, gate.columns, None, None)
        return gate

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self._file is None:
            return super().__reduce_ex__(protocol)
        return _reopen, (self._file,)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that decides a row's fate, but for the instant of judgement."""
        return self.identity.digest

    @cached_property
    def identity(self) -> GateIdentity:
        """The identity of the gate: policy, snapshot and registry by digest, columns and reasons.

        For a gate that was not opened from a file, it takes long to compute.
        """
        assert self.consent is not None, "the identity of an opened gate is read from its file"
        return GateIdentity.of(self.policy, self.columns, self.consent, self.channels)

    @property
    def judged_columns(self) -> list[str]:
        """The names of the columns that judging looks at.

        The column of record ids is not one of them. It is needed where rows are recorded or found.
        """
        columns, rules = self.columns, self.policy.record_rules
        names = [*columns.subjects, *columns.channels, columns.visibility, columns.created_at]
        names += [rule.column for rule in rules]
        return list(dict.fromkeys(name for name in names if name is not None))

    @property
    def path(self) -> Path | None:
        """The file that the gate was saved to or opened from; None if there is no file."""
        return None if self._file is None else self._file.path

    def current(self) -> "Gate":
        """The gate itself; a live gate (`GateStore.live`) gives the newest one."""
        return self

    def decide(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> Decision:
        """Judge every row of a batch.

        Args:
            data: n rows, in any object that speaks the Arrow PyCapsule interface. It must have the
                columns of `judged_columns`, in any layout, with ids of the same family as in the
                snapshot and the registry. Record ids are not needed.
            judged_at: the instant of judgement for this call, with a time zone. None takes the
                gate's; if that is None, too, the clock is read.
            threads: how many threads judge. None takes one for each available core, and one in a
                worker process.

        Returns:
            n entries in input order; `reason_bits` is uint32, never null, 0 = admitted.

        Raises:
            NotArrowError: `data` holds no Arrow data.
            TypeError: Another argument is of a wrong type.
            MalformedDataError: A column that judging looks at is not what its type says.
            SchemaMismatchError: A batch of a stream has another schema than the stream.
            ColumnMissingError, ColumnAmbiguousError: A column that the policy or `Columns` names
                is absent or occurs twice.
            ColumnTypeError: A column's type does not fit. Ids are not cast to another family.
            ConfigurationError: `threads` is less than 1, or `judged_at` has no time zone.
            StaleSnapshotError: The snapshot or registry is older than the policy allows.
            FutureSnapshotError: The snapshot's or registry's `as_of` is more than 5 minutes ahead
                of the clock. This is not checked if an instant of judgement is given.
        """
        table = as_table(data)
        needed = table.select(self._checked(table.schema))
        now = self._now(judged_at)
        bits = self._judge.judge(needed, now, threads)
        is_built = self.consent is not None and self._file is None
        digest = None if is_built else self.digest
        return Decision(from_numpy(bits), self._reason_names, digest)

    def filter(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> tuple[pa.Table, pa.Table]:
        """Split the rows into admitted and excluded ones.

        Arguments and errors are those of `decide`. The rows must also have the column of record
        ids. Every column is checked against its type, not only those that judging looks at. A
        column may be nested at most 64 levels deep.

        Returns:
            Two tables. The first has the admitted rows as they are in the input: the same columns,
            types, metadata and order. Its dictionaries keep only the values that admitted rows use.
            The second has one row for each excluded row: `record_id` (the input's type), `row`
            (int64, position in the input), `reason` (dictionary of strings) and `reason_bits`
            (uint32). The reasons' names and the digests of policy, snapshot and registry are in its
            schema's metadata.

        Warns:
            CoverageWarning: Nearly all rows are excluded in a way that hints at a mistake, or the
                policy names words that snapshot and registry do not have. Each cause is warned of
                once.
        """
        table = as_table(data)
        record_id_column(table.schema, self.columns)
        decision = self.decide(table, judged_at=judged_at, threads=threads)
        both = self.split(table, decision)
        self._watch.warn_of_policy()
        self._watch.warn_of_decision(decision, table)
        return both

    def split(
        self, table: pa.Table, decision: Decision, *, first_row: int = 0
    ) -> tuple[pa.Table, pa.Table]:
        """Split rows by a decision that was made already. Returns what `filter` returns.

        Args:
            table: the n rows that were judged.
            decision: this gate's decision on them.
            first_row: the position of the first of them in the whole input.

        Raises:
            TypeError: An argument is of a wrong type.
            ConfigurationError: `decision` is about another number of rows, or `first_row` is
                negative or beyond 2**62.
            ColumnMissingError, ColumnAmbiguousError: The column of record ids is absent or occurs
                twice.
            MalformedDataError: A column is not what its type says.
            ColumnTypeError: The record ids are not of an id type, or a column is nested more than
                64 levels deep.
        """
        _check_split(table, decision, first_row)
        at = record_id_column(table.schema, self.columns)
        admitted = keep_rows(table, decision.admitted)
        record_ids = table.column(at)
        return admitted, excluded_rows(record_ids, decision, self.identity, first_row=first_row)

    def annotate(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> pa.Table:
        """Append the columns `reason` and `reason_bits` to all rows of a table.

        `reason` is null where the row is admitted. Arguments and errors are those of `decide`, and
        one more error:

        Raises:
            ColumnExistsError: The table has a column of one of those names.
        """
        table = as_table(data)
        for name in ("reason", "reason_bits"):
            if name in table.column_names:
                raise ColumnExistsError(
                    f"The table has a column '{name}' already; rename or drop it."
                )
        decision = self.decide(table, judged_at=judged_at, threads=threads)
        table = table.append_column("reason", decision.reason)
        bits = pa.field("reason_bits", pa.uint32(), nullable=False)
        return table.append_column(bits, decision.reason_bits)

    def stream(
        self,
        batches: Any,
        *,
        ledger: str | Path | None = None,
        judged_at: datetime | None = None,
        threads: int | None = None,
    ) -> pa.RecordBatchReader:
        """Give a reader of the admitted rows, which are judged batch by batch as it is read.

        Args:
            batches: any object that speaks the Arrow PyCapsule stream interface, or an iterable of
                such objects or of record batches, all of one schema.
            ledger: a folder that gets one Parquet file of the excluded rows. The file is complete
                when the reader is exhausted, or closed and let go (`del reader`). It has the rows
                up to the last batch that came out. None keeps no record of excluded rows, and then
                record ids are not needed.
            judged_at: the instant of judgement for the whole stream, with a time zone. None takes
                the gate's. If that is None, too, the clock is read at each batch, so that a long
                stream notices consents that expire and a snapshot that becomes too old.
            threads: as in `decide`.

        Raises:
            TypeError: `ledger` is not a path.
            OutputError: The ledger cannot be written.
            SchemaMismatchError: A batch has another schema than the first. Raised while reading.
            Every error of `decide`: raised at once if it is about the schema, else while reading.
        """
        options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
        return admitted_stream(batches, Sieve(self, options))

    def coverage(
        self,
        data: Any,
        *,
        consent: ConsentSnapshot | None = None,
        channels: ChannelRegistry | None = None,
        judged_at: datetime | None = None,
        threads: int | None = None,
    ) -> Coverage:
        """Check whether policy, snapshot, registry and some messages fit each other.

        A word or an id that is spelled differently in two of them excludes rows, and no error says
        so. This method judges the messages and compares ids and words, so that such mistakes show.
        The result holds counts and words of vocabularies, and no id.

        Args:
            data: n rows, as in `decide`; or a stream or an iterable of batches, which are read one
                after the other. Memory then holds one batch, and 8 bytes for each unknown id.
            consent, channels: the snapshot and the registry that the gate was built from. A gate
                that was opened from a file does not hold them. Without them, words and the spelling
                of ids are not checked, and `Coverage.not_checked` says so.
            judged_at, threads: as in `decide`.

        Raises:
            ConfigurationError: The gate was built from another snapshot or registry.
            SchemaMismatchError: A batch has another schema than the first.
            Every error of `decide`.
        """
        require(consent, "consent", ConsentSnapshot, None)
        require(channels, "channels", ChannelRegistry, None)
        if consent is not None or self.consent is not None:
            consent = self._built_from("consent", consent, self.consent)
        if self._judge.channels is not None and (channels is not None or self.channels is not None):
            channels = self._built_from("channels", channels, self.channels)
        counter = CoverageCounter(self._judge, consent, channels, self._now(judged_at))
        for table in tables_of(data):
            counter.add(table, self.decide(table, judged_at=judged_at, threads=threads))
        return counter.result()

    def explain(
        self,
        data: Any,
        record_id: Any,
        *,
        consent: ConsentSnapshot | None = None,
        channels: ChannelRegistry | None = None,
        judged_at: datetime | None = None,
    ) -> Explanation:
        """Explain in words why the rows with a record id are admitted or excluded.

        For every reason, the explanation names the column, the subject or channel, and the purpose
        that it came from. Unlike the ledger, it shows subject ids. It is for people who may see
        what is in the snapshot.

        Args:
            data: n rows, as in `filter`.
            record_id: a value as the column of record ids holds it; for UUIDs a `uuid.UUID` or 16
                bytes.
            consent, channels: the snapshot and the registry that the gate was built from. They are
                needed for a gate that was opened from a file, because the file does not hold them.
            judged_at: as in `decide`.

        Raises:
            TypeError: An argument is of a wrong type.
            RecordNotFoundError: No row has that id.
            ConfigurationError: The gate was built from another snapshot or registry, or was opened
                from a file and they are not given.
            Every error of `decide`.
        """
        table = as_table(data)
        Validator().check(table)
        record_id_column(table.schema, self.columns)
        self._checked(table.schema)
        now = self._now(judged_at)
        consent = self._built_from("consent", consent, self.consent)
        if self._judge.channels is not None:
            channels = self._built_from("channels", channels, self.channels)
        return explain(self._judge, consent, channels, table, record_id, now)

    def _built_from(
        self, name: str, given: SnapshotOrRegistry | None, own: SnapshotOrRegistry | None
    ) -> SnapshotOrRegistry:
        """The snapshot or registry, checked to be the one that the gate was built from."""
        require(given, name, ConsentSnapshot, ChannelRegistry, None)
        if given is not None and given.digest != getattr(self.identity, name).digest:
            raise ConfigurationError(
                f"What is given as `{name}` is not what the gate was built from; give that one."
            )
        records = given or own
        if records is None:
            raise ConfigurationError(
                f"A gate that was opened holds no records; give the ones it was built from "
                f"as `{name}`."
            )
        return records

    def _checked(self, schema: pa.Schema) -> list[str]:
        """The columns that judging looks at. The schema of the last call is not checked again."""
        last, names = self._last_checked
        if last is None or not schema.equals(last):
            names = self._judge.check(schema)
            self._last_checked = schema, names
        return names

    def _now(self, judged_at: datetime | None) -> int:
        """The instant of judgement in microseconds. Raise if snapshot or registry do not fit it."""
        given = self.judged_at if judged_at is None else judged_at
        now = time.time_ns() // 1000 if given is None else as_micros(given, name="judged_at")
        dates = {
            "consent snapshot": self._judge.snapshot_as_of,
            "channel registry": self._judge.registry_as_of,
        }
        for what, as_of in dates.items():
            if as_of is not None:
                self._check_age(what, as_of, now)
                if given is None:
                    _check_reached(what, as_of, now)
        return now

    def _check_age(self, what: str, as_of: int, now: int) -> None:
        limit = self.policy.max_snapshot_age
        if limit is not None and now - as_of > limit // timedelta(microseconds=1):
            raise StaleSnapshotError(
                f"The {what} is {timedelta(microseconds=now - as_of)} old at the instant of "
                f"judgement, but the policy allows {limit}; take a new one."
            )


def _counted(word: str, data: ConsentSnapshot | ChannelRegistry | None) -> str:
    """The number of rows with the word for them; only the word if there is no table."""
    if data is None:
        return f"{word}s"
    return f"{data.table.num_rows:,} {word}{'' if data.table.num_rows == 1 else 's'}"


def _check_split(table: object, decision: object, first_row: object) -> None:
    require(table, "table", pa.Table)
    require(decision, "decision", Decision)
    require(first_row, "first_row", int, np.integer)
    assert isinstance(table, pa.Table)
    assert isinstance(decision, Decision)
    if len(decision) != table.num_rows:
        raise ConfigurationError(
            f"The decision is about {len(decision)} rows but the table has {table.num_rows}; give "
            "the table that was judged."
        )
    if not 0 <= int(first_row) <= _LAST_ROW:  # type: ignore[call-overload]
        raise ConfigurationError(f"`first_row` is {first_row}; give a position from 0 on.")


def _reopen(file: GateFile) -> Gate:
    return Gate._opened(*open_gate(file.path, digest=file.digest))


def _check_reached(what: str, as_of: int, now: int) -> None:
    if as_of - now > CLOCK_SKEW // timedelta(microseconds=1):
        raise FutureSnapshotError(
            f"The {what} is said to be as of {timedelta(microseconds=as_of - now)} from now; "
            "correct its as_of or this machine's clock, or give the instant of judgement "
            "(`judged_at`)."
        )


def _check_registry(columns: Columns, channels: ChannelRegistry | None) -> None:
    if columns.channels and channels is None:
        raise ConfigurationError(
            f"There are channel columns ({', '.join(columns.channels)}) but there is no channel "
            "registry to judge them by; give one, or name a column of the messages' own visibility "
            "(`Columns.visibility`) and no channel column."
        )
    if channels is not None and not columns.channels:
        raise ConfigurationError(
            "There is a channel registry but no channel column; name one (`Columns.channels`), or "
            "leave the registry out."
        )
