"""The structures of kernel.h, field by field, for ctypes."""

from ctypes import POINTER, Structure, c_int64, c_uint32, c_uint64, c_void_p
from enum import IntEnum


class Fault(IntEnum):
    """The faults that the kernel finds in data."""

    SOUND = 0
    BAD_OFFSETS = 1
    NOT_UTF8 = 2
    BAD_INDEX = 3
    NO_SPACE = 4


class IdKind(IntEnum):
    """How ids lie in memory."""

    NULLS = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    UUIDS = 9
    TEXTS32 = 10
    TEXTS64 = 11
    VIEWS = 12


class LineLayout(IntEnum):
    """How the keys of one family of ids lie in a line of the table."""

    INTEGERS = 0
    UUIDS = 1
    TEXTS = 2

    @property
    def places(self) -> int:
        """How many entries a line has."""
        return (4, 2, 3)[self]

    @property
    def facts_word(self) -> int:
        """Which word of a line holds the facts of its first entry."""
        return 3 if self is LineLayout.TEXTS else 4

    @property
    def key_words(self) -> int:
        """How many 64-bit words a key has when it is handed to the kernel."""
        return 1 if self is LineLayout.INTEGERS else 2


class ListKind(IntEnum):
    """How rows refer to items."""

    NO_LIST = 0
    LIST32 = 1
    LIST64 = 2
    LIST_VIEW32 = 3
    LIST_VIEW64 = 4
    FIXED_LIST = 5


class Unit(IntEnum):
    """The unit of a timestamp's ticks."""

    SECONDS = 0
    MILLISECONDS = 1
    MICROSECONDS = 2
    NANOSECONDS = 3

    @classmethod
    def named(cls, name: str) -> "Unit":
        """The unit that Arrow calls s, ms, us or ns."""
        return cls(("s", "ms", "us", "ns").index(name))


class FieldKind(IntEnum):
    """How the values of a column lie in memory, and how they are written as bytes."""

    WORD = 0
    TEXT = 1
    DICTIONARY_TEXT = 2
    FLAG = 3
    WIDE = 4
    UUID = 5
    INSTANT = 6


LINE_WORDS = 8
RANK_LINES = 16
"""How many lines share one rank."""


class Validity(Structure):
    """A validity bitmap. `bits` is None if no entry is null."""

    _fields_ = (("bits", c_void_p), ("offset", c_int64))


class Buffer(Structure):
    """Bytes that views point into."""

    _fields_ = (("data", c_void_p), ("bytes", c_int64))


class Ids(Structure):
    """n ids as Arrow lays them out."""

    _fields_ = (
        ("kind", c_int64),
        ("length", c_int64),
        ("values", c_void_p),
        ("data", c_void_p),
        ("data_bytes", c_int64),
        ("buffers", c_void_p),
        ("buffer_count", c_int64),
        ("valid", Validity),
    )


class SecretWords(Structure):
    """The secret under which ids are hashed."""

    _fields_ = (("odd", c_uint64), ("words", c_void_p), ("finish", c_uint64 * 4))


class Table(Structure):
    """A table of facts."""

    _fields_ = (
        ("layout", c_int64),
        ("lines", c_void_p),
        ("count", c_uint64),
        ("longest", c_uint64),
        ("ranks", c_void_p),
        ("ranked", c_int64),
        ("refuses_top_bit", c_int64),
        ("secret", POINTER(SecretWords)),
    )


class InstantLayout(Structure):
    """One instant for each entry of a table."""

    _fields_ = (
        ("bits", c_int64),
        ("first_bit", c_int64),
        ("shift", c_int64),
        ("base", c_int64),
        ("rests", c_void_p),
        ("rest_bytes", c_int64),
    )


class Facts(Structure):
    """The meaning of a table's facts."""

    _fields_ = (
        ("table", Table),
        ("reason_mask", c_uint64),
        ("first_reason", c_int64),
        ("unknown", c_uint32),
        ("null", c_uint32),
        ("since", InstantLayout),
        ("before_since", c_uint32),
        ("after_until", c_uint32),
        ("until", InstantLayout),
        ("past", c_int64),
    )


class Resolved(Structure):
    """Reasons and instants of dictionary values."""

    _fields_ = (("bits", c_void_p), ("since", c_void_p), ("length", c_int64))


class Lists(Structure):
    """How rows refer to items."""

    _fields_ = (
        ("kind", c_int64),
        ("offsets", c_void_p),
        ("sizes", c_void_p),
        ("size", c_int64),
        ("valid", Validity),
    )


class Column(Structure):
    """A column of messages that holds ids."""

    _fields_ = (
        ("facts", POINTER(Facts)),
        ("ids", Ids),
        ("resolved", Resolved),
        ("lists", Lists),
        ("names_subjects", c_int64),
    )


class Created(Structure):
    """When each message was written."""

    _fields_ = (
        ("earliest", c_void_p),
        ("latest", c_void_p),
        ("unit", c_int64),
        ("valid", Validity),
        ("known_until", c_int64),
        ("after_snapshot", c_uint32),
        ("missing", c_uint32),
    )


class Messages(Structure):
    """A batch of messages to judge."""

    _fields_ = (
        ("created", Created),
        ("columns", POINTER(Column)),
        ("column_count", c_int64),
        ("no_subject", c_uint32),
        ("null_list", c_uint32),
    )


class Moved(Structure):
    """A column by row, and the same values by rank."""

    _fields_ = (("by_row", c_void_p), ("by_rank", c_void_p), ("bytes", c_int64))


class Field(Structure):
    """A column of values that are to be written as bytes."""

    _fields_ = (
        ("kind", c_int64),
        ("values", c_void_p),
        ("first_bit", c_int64),
        ("unit", c_int64),
        ("valid", Validity),
        ("dictionary_length", c_int64),
        ("ranks", c_void_p),
        ("rank_bytes", c_int64),
        ("offsets", c_void_p),
        ("data", c_void_p),
        ("data_bytes", c_int64),
    )


class Rows(Structure):
    """n rows that are to be written as bytes, in the order of their hashes."""

    _fields_ = (
        ("hashes", c_void_p),
        ("bucket_bits", c_int64),
        ("fields", POINTER(Field)),
        ("field_count", c_int64),
    )


class Extent(Structure):
    """A number of rows and of bytes, or a position among rows and among bytes."""

    _fields_ = (("rows", c_int64), ("bytes", c_int64))


class Dealt(Structure):
    """A row that lies in its bucket."""

    _fields_ = (("hash", c_uint64), ("start", c_int64))
