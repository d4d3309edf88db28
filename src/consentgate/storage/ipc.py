"""Reading Arrow IPC files and streams, where a missing or malformed batch is an error."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from consentgate.arrow import Validator, refuse_odd_names
from consentgate.errors import MalformedDataError

_VALIDATED_TOGETHER = 64
"""For so many batches, a dictionary that they share is validated once, and is held in memory."""
_FILE_HEAD_BYTES = 8
_END = b"\xff\xff\xff\xff\0\0\0\0"


def ipc_schema(path: Path, *, is_stream: bool) -> pa.Schema:
    """The schema of an Arrow IPC file or stream.

    Raises:
        pyarrow.ArrowException, OSError: The file is damaged.
    """
    with pa.OSFile(str(path)) as source:
        opened = pa.ipc.open_stream(source) if is_stream else pa.ipc.open_file(source)
        with opened as reader:
            refuse_odd_names(reader.schema)
            return reader.schema


def ipc_file_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC file in order, each of them valid.

    Raises:
        pyarrow.ArrowException, OSError: A batch is damaged or contradicts itself, or the file
            holds more batches than its footer lists.
    """
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
        if _count_batches(path) > reader.num_record_batches:
            raise pa.ArrowInvalid("more batches than the footer lists")
        yield from _valid(map(reader.get_batch, range(reader.num_record_batches)))


def ipc_stream_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC stream in order, each of them valid.

    A stream that was cut off between two batches looks like a shorter stream. So its end must be
    marked. Writers mark it when they are closed.

    Raises:
        pyarrow.ArrowException, OSError: A batch is damaged or contradicts itself, the stream's end
            is not marked, or more bytes follow it.
    """
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
        last = source.tell()
        for batch in _valid(reader):
            last = source.tell()
            yield batch
        end = source.tell()
        if end - last < len(_END) or source.read_at(len(_END), end - len(_END)) != _END:
            raise pa.ArrowInvalid("a stream without a mark at its end")
        if end != source.size():
            raise pa.ArrowInvalid("a stream that is followed by something else")


def _valid(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for number, batch in enumerate(batches):
        if number % _VALIDATED_TOGETHER == 0:
            validator = Validator()
        try:
            validator.check(batch)
        except MalformedDataError as error:
            raise pa.ArrowInvalid("a batch that contradicts itself") from error
        yield batch


def _count_batches(path: Path) -> int:
    """The number of batches in an IPC file, counted from its beginning and without its footer."""
    count = 0
    with (
        pa.OSFile(str(path)) as source,
        suppress(pa.ArrowException, OSError, MemoryError, StopIteration),  # after the last message
    ):
        source.seek(_FILE_HEAD_BYTES)
        messages = pa.ipc.MessageReader.open_stream(source)
        while True:
            count += messages.read_next_message().type == "record batch"
    return count
