"""The channel registry: every channel's visibility, as of one instant."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from consentgate.arguments import require_path
from consentgate.arrow import Validator, as_table
from consentgate.index import IdFamily, id_family
from consentgate.inputs import tables
from consentgate.inputs.files import read_table

_TEXT_FILE_TYPES = {"visibility": pa.string(), "public_since": pa.timestamp("us", "UTC")}


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ChannelRegistry(tables.DatedTable):
    """Every channel's visibility as of one instant. Make one with `read` or `from_arrow`.

    Attributes:
        table: one row per channel, tidied: one chunk a column; `channel_id` as int64, uint64,
            large_string or 16-byte binary; `visibility` dictionary-encoded; `public_since` where
            it was given.
        as_of: the instant as of which it speaks, in UTC.
        source: where it came from, in words.
    """

    _rows = "channels"

    @classmethod
    def read(
        cls, path: str | Path, *, as_of: datetime | None = None, source: str | None = None
    ) -> "ChannelRegistry":
        """Read a Parquet, Arrow IPC, CSV or JSON lines file. See `from_arrow`.

        Args:
            as_of: needed unless the file's metadata has `consentgate.as_of`.
            source: None means the path.

        Raises:
            TypeError: An argument is of a wrong type.
            UnreadableFileError: The file is missing, truncated, corrupt or of another format.
            ColumnMissingError: A file of text does not name its columns, or has no `channel_id`.
            Whatever `from_arrow` raises.
        """
        require_path(path, "path")
        table = read_table(path, _TEXT_FILE_TYPES, "channel_id")
        tables.refuse_headless(table, path, "channel_id")
        return cls.from_arrow(table, as_of=as_of, source=str(path) if source is None else source)

    @classmethod
    def from_arrow(
        cls, data: Any, *, as_of: datetime | None = None, source: str = "Arrow data"
    ) -> "ChannelRegistry":
        """Check and take over a registry.

        Args:
            data: anything that speaks the Arrow PyCapsule interface. `channel_id` (integers,
                strings or UUIDs, never null) and `visibility` (text; null counts as unknown) must
                be there; `public_since` (timestamp with a time zone) may be: messages from before
                it were written in private and stay private. Other columns are left out.
            as_of: an instant with a time zone; None takes it from the schema's metadata.
            source: a label for evidence.

        Raises:
            TypeError: An argument is of a wrong type.
            NotArrowError: `data` holds no Arrow data.
            ConfigurationError: `as_of` has no time zone, or a text holds half of a surrogate pair.
            SchemaMismatchError: A batch of a stream has another schema than the stream.
            MalformedDataError: A column is not what its type says.
            AsOfError: Nobody says as of when it speaks, or argument and metadata disagree.
            ColumnMissingError, ColumnAmbiguousError: A required column is absent or there twice.
            ColumnTypeError, NaiveTimestampError: A column's type does not fit.
            NullValueError: A channel id is null.
            DuplicateRecordError: Two rows are about one channel.
            SnapshotError: A string id is longer than 65,536 bytes.
        """
        source = tables.checked_source(source)
        table = as_table(data)
        Validator().check(table)
        columns = {
            "channel_id": tables.id_column(table, "channel_id"),
            "visibility": tables.word_column(table, "visibility", nulls=True),
        }
        if "public_since" in table.column_names:
            columns["public_since"] = tables.instant_column(table, "public_since")
        tidy = pa.table(columns)
        tables.refuse_repeats(tidy, "channel_id", None, "the channel")
        instant = tables.read_as_of(as_of, table, "channel registry")
        return cls._made(tidy, instant, source)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the content, in hexadecimal; see `ConsentSnapshot.digest`."""
        return tables.content_digest(self.table, "channel_id", None)

    @property
    def id_family(self) -> IdFamily:
        """The family of the channel ids."""
        family = id_family(self.table.schema.field("channel_id").type)
        assert family is not None
        return family
