"""Looking into Arrow data of any producer and layout, and taking rows out of it."""

from consentgate.arrow.buffers import ArrayBuffers, refuse_faults
from consentgate.arrow.instants import (
    EARLIEST,
    LATEST,
    Instants,
    as_micros,
    check_instants,
    check_time_zone,
    micros_text,
    read_instants,
)
from consentgate.arrow.layouts import decoded, one_chunk, plain_text, without_views
from consentgate.arrow.lists import list_items, spans, unite
from consentgate.arrow.rows import can_linger, keep_rows, keep_valid_rows, keep_values
from consentgate.arrow.schemas import (
    find_column,
    is_list,
    is_text,
    pandas_index,
    quoted,
    refuse_other_schema,
    schema_difference,
    type_text,
)
from consentgate.arrow.streams import as_table, read_stream
from consentgate.arrow.threads import BLOCK_ROWS, block_rows, for_each, row_blocks, thread_count
from consentgate.arrow.validation import (
    MalformedArrayError,
    Validator,
    malformed,
    refuse_odd_names,
    refuse_odd_type,
)
from consentgate.arrow.values import (
    Bits,
    Bools,
    Int64s,
    Uint64s,
    booleans,
    dictionary_codes,
    fixed_width_values,
    valid_mask,
)

__all__ = [
    "BLOCK_ROWS",
    "EARLIEST",
    "LATEST",
    "ArrayBuffers",
    "Bits",
    "Bools",
    "Instants",
    "Int64s",
    "MalformedArrayError",
    "Uint64s",
    "Validator",
    "as_micros",
    "as_table",
    "block_rows",
    "booleans",
    "can_linger",
    "check_instants",
    "check_time_zone",
    "decoded",
    "dictionary_codes",
    "find_column",
    "fixed_width_values",
    "for_each",
    "is_list",
    "is_text",
    "keep_rows",
    "keep_valid_rows",
    "keep_values",
    "list_items",
    "malformed",
    "micros_text",
    "one_chunk",
    "pandas_index",
    "plain_text",
    "quoted",
    "read_instants",
    "read_stream",
    "refuse_faults",
    "refuse_odd_names",
    "refuse_odd_type",
    "refuse_other_schema",
    "row_blocks",
    "schema_difference",
    "spans",
    "thread_count",
    "type_text",
    "unite",
    "valid_mask",
    "without_views",
]
