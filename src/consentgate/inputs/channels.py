"""The channel registry: every channel's visibility, as of one instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from consentgate.index import IdFamily, RowTable, id_family
from consentgate.inputs import tables
from consentgate.inputs.arguments import checked_source
from consentgate.inputs.digest import content_digest
from consentgate.inputs.given import GivenTable, Layout

_WORDS = frozenset({"visibility"})
_LAYOUT = Layout(
    "channel registry", "channel_id", ("channel_id", "visibility", "public_since"), _WORDS
)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ChannelRegistry(tables.DatedTable):
    """Every channel's visibility as of one instant. Make one with `read` or `from_arrow`.

    Attributes:
        table: one row for each channel, tidied. Each column has one chunk. `channel_id` is int64,
            uint64, large_string or 16-byte binary. `visibility` is dictionary-encoded.
            `public_since` is there if it was given.
        as_of: the instant whose facts the registry holds, in UTC.
        source: a label that says where the data came from.
    """

    _rows = "channels"

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        as_of: datetime | None = None,
        source: str | None = None,
        columns: Mapping[str, str] | None = None,
        assume_timezone: str | None = None,
    ) -> "ChannelRegistry":
        """Read a Parquet, Arrow IPC, CSV or JSON lines file. See `from_arrow`.

        Args:
            path: the path of the file.
            as_of: the instant whose facts the file holds, with a time zone. It may be left out if
                the file's metadata has `consentgate.as_of` or `as_of`.
            source: a label for evidence; None takes the path.
            columns, assume_timezone: as in `from_arrow`.

        Raises:
            TypeError: An argument is of a wrong type.
            UnreadableFileError: The file is missing, truncated, corrupt or of another format; or it
                is a file of text with cells that are not timestamps. The message says how many.
            ColumnMissingError: A file of text does not name its columns, or has no `channel_id`.
            ConsentGateError: Every other error of `from_arrow`.
        """
        given = GivenTable.read(_LAYOUT, path, columns, assume_timezone)
        return cls._checked(given, as_of, str(path) if source is None else source)

    @classmethod
    def from_arrow(
        cls,
        data: Any,
        *,
        as_of: datetime | None = None,
        source: str = "Arrow data",
        columns: Mapping[str, str] | None = None,
        assume_timezone: str | None = None,
    ) -> "ChannelRegistry":
        """Check the channels and make a registry of them.

        Every column is checked before an error is raised, so that one error reports all faults.

        Args:
            data: one row for each channel, in any object that speaks the Arrow PyCapsule interface.
                Required columns are `channel_id` (integers, strings or UUIDs, never null) and
                `visibility` (text; null counts as unknown). `public_since` (timestamp with a time
                zone) is optional: messages from before it were written in private and stay private.
                Other columns are left out.
            as_of: the instant whose facts the channels are, with a time zone. None takes it from
                the schema's metadata.
            source: a label for evidence.
            columns: the names of these columns in `data`, if they are others, such as
                `{"channel_id": "room"}`.
            assume_timezone: the IANA time zone of timestamps that have none. A local time that
                occurs twice, or never, is read as the later instant. With None, such timestamps are
                an error.

        Raises:
            TypeError: An argument is of a wrong type.
            NotArrowError: `data` holds no Arrow data.
            ConfigurationError: `as_of` has no time zone, a text holds half of a surrogate pair,
                `columns` has a key that is not one of these columns or names one column for two of
                them, or the time zone is not known.
            SchemaMismatchError: A batch of a stream has another schema than the stream.
            MalformedDataError: A column is not what its type says.
            AsOfError: Neither `as_of` nor the metadata gives an instant, or they disagree.
            ColumnMissingError: A required column, or one that `columns` names, is absent.
            ColumnAmbiguousError: A column occurs twice, or is there although `columns` names
                another column for it.
            ColumnTypeError, NaiveTimestampError: A column's type does not fit.
            NullValueError: A channel id is null.
            DuplicateRecordError: Two rows are about the same channel.
            SnapshotError: A string id is longer than 65,536 bytes. Or there are faults of several
                classes, which the message lists and `faults` holds.
        """
        given = GivenTable.of(_LAYOUT, data, columns, assume_timezone)
        return cls._checked(given, as_of, source)

    @classmethod
    def _checked(cls, given: GivenTable, as_of: datetime | None, source: str) -> "ChannelRegistry":
        source = checked_source(source)
        columns = {
            "channel_id": given.ids("channel_id"),
            "visibility": given.words("visibility", nulls=True),
        }
        if given.has("public_since") and (since := given.instants("public_since")) is not None:
            columns["public_since"] = since.latest
        row_tables: list[RowTable] = []
        if (ids := columns["channel_id"]) is not None:
            row_tables = given.note_repeats(ids, None, "the channel")
        with given.faults.noted():
            instant = tables.read_as_of(as_of, given.schema, _LAYOUT.what)
        given.faults.raise_all()
        return cls._made(pa.table(columns), instant, source, row_tables)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the channels, in hexadecimal; see `ConsentSnapshot.digest`."""
        return content_digest(self.table, "channel_id", _WORDS)

    @property
    def id_family(self) -> IdFamily:
        """The family of the channel ids."""
        family = id_family(self.table.schema.field("channel_id").type)
        assert family is not None
        return family
