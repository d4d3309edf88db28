"""Arrow data of any producer as tables and batches that have the schema they should have."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from consentgate.arrow.schemas import refuse_other_schema
from consentgate.errors import MalformedDataError, NotArrowError


def as_table(data: Any) -> pa.Table:
    """The data as a pyarrow table, without copying where the producer allows it.

    Raises:
        NotArrowError: The object speaks neither the stream nor the array PyCapsule interface.
        SchemaMismatchError: A batch of a stream has another schema than the stream.
        MalformedDataError: pyarrow cannot take the data over, or columns are too short.
    """
    if isinstance(data, pa.Table):
        with _import_faults_named(data):
            data.validate()  # checks that all columns have the same number of rows
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([_of_one_length(data)])
    if hasattr(data, "__arrow_c_stream__"):
        schema, batches = read_stream(data)
        return pa.Table.from_batches(batches, schema)
    if hasattr(data, "__arrow_c_array__"):
        with _import_faults_named(data):
            batch = pa.record_batch(data)
        return pa.Table.from_batches([_of_one_length(batch)])
    raise NotArrowError(
        f"An object of type '{type(data).__qualname__}' holds no Arrow data; give a pyarrow "
        "table, a Polars data frame, or anything else with __arrow_c_stream__."
    )


def read_stream(data: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema of an Arrow stream, and its batches, each checked against that schema.

    pyarrow does not check this. A `RecordBatchReader` hands over batches of any schema. Once it is
    exported, every batch is read with the types of the stream's schema, whatever types it has.

    Args:
        data: an object with `__arrow_c_stream__`.

    Raises:
        SchemaMismatchError: While reading: a batch has another schema than the stream.
        MalformedDataError: Here or while reading: pyarrow cannot take the data over.
    """
    if isinstance(data, pa.Table):  # exporting malformed data crashes pyarrow 26
        return data.schema, iter(as_table(data).to_batches())
    with _import_faults_named(data):
        is_reader = isinstance(data, pa.RecordBatchReader)
        reader = data if is_reader else pa.RecordBatchReader.from_stream(data)
        return reader.schema, _batches_of(reader, data)


def _batches_of(reader: pa.RecordBatchReader, data: Any) -> Iterator[pa.RecordBatch]:
    while True:
        with _import_faults_named(data, (pa.ArrowException,)):  # others are the producer's own
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
        refuse_other_schema(reader.schema, batch.schema)
        yield _of_one_length(batch)


def _of_one_length(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with each column cut to the number of rows of the batch.

    The children of a struct may be longer than the struct. pyarrow 26 makes such a struct into a
    batch whose columns are too long. If such batches were joined, columns would shift against each
    other.

    Raises:
        MalformedDataError: A column is shorter than the batch.
    """
    lengths = {len(column) for column in batch.columns} - {batch.num_rows}
    if not lengths:
        return batch
    if min(lengths) < batch.num_rows:
        raise MalformedDataError(
            f"A batch of {batch.num_rows} rows has a column of {min(lengths)} rows; fix the "
            "program that made it."
        )
    return batch.slice(0, batch.num_rows)


@contextmanager
def _import_faults_named(
    data: Any, kinds: tuple[type[Exception], ...] = (pa.ArrowException, ValueError)
) -> Iterator[None]:
    try:
        yield
    except kinds as error:  # pyarrow's message can quote values
        raise MalformedDataError(
            f"The Arrow data of an object of type '{type(data).__qualname__}' cannot be read "
            f"({type(error).__name__}); see that it can be read without the gate."
        ) from None
