"""Reading and writing files on disks and in object stores, safely and completely."""

from consentgate.storage.background import Background
from consentgate.storage.digests import digest_bytes, digest_file, digest_json
from consentgate.storage.durable import (
    absolute,
    check_regular,
    make_folder,
    open_regular,
    read_regular,
    refuse_odd_target,
    replacing,
    why,
    write_faults_named,
)
from consentgate.storage.folders import ODD, Folder, Stamp, printable
from consentgate.storage.growing import GrowingFile
from consentgate.storage.ipc import ipc_file_batches, ipc_schema, ipc_stream_batches
from consentgate.storage.json_depth import refuse_deep_json
from consentgate.storage.layout import (
    DRAFTS,
    EVIDENCE,
    GATE_KEY,
    LEASES,
    LEDGER,
    LOCK,
    MANIFEST,
    PAST,
    RECORD_KEY,
    SEALS,
    SIGNATURE,
    STATE,
    is_hidden,
    is_plain,
    ledger_name,
    past,
    seal_name,
)
from consentgate.storage.locks import lock
from consentgate.storage.parquet_batches import (
    BatchReader,
    Span,
    group_spans,
    has_plain_names,
    read_batches,
)
from consentgate.storage.parquet_late import LateReader
from consentgate.storage.parquet_reading import (
    ParquetFile,
    group_rows,
    has_old_timestamps,
    open_parquet,
    promised_batches,
    refuse_inexact_timestamps,
)
from consentgate.storage.parquet_writing import FileForm, RowGroupWriter
from consentgate.storage.sections import damaged, open_sections, read_description, write_sections

__all__ = [
    "DRAFTS",
    "EVIDENCE",
    "GATE_KEY",
    "LEASES",
    "LEDGER",
    "LOCK",
    "MANIFEST",
    "ODD",
    "PAST",
    "RECORD_KEY",
    "SEALS",
    "SIGNATURE",
    "STATE",
    "Background",
    "BatchReader",
    "FileForm",
    "Folder",
    "GrowingFile",
    "LateReader",
    "ParquetFile",
    "RowGroupWriter",
    "Span",
    "Stamp",
    "absolute",
    "check_regular",
    "damaged",
    "digest_bytes",
    "digest_file",
    "digest_json",
    "group_rows",
    "group_spans",
    "has_old_timestamps",
    "has_plain_names",
    "ipc_file_batches",
    "ipc_schema",
    "ipc_stream_batches",
    "is_hidden",
    "is_plain",
    "ledger_name",
    "lock",
    "make_folder",
    "open_parquet",
    "open_regular",
    "open_sections",
    "past",
    "printable",
    "promised_batches",
    "read_batches",
    "read_description",
    "read_regular",
    "refuse_deep_json",
    "refuse_inexact_timestamps",
    "refuse_odd_target",
    "replacing",
    "seal_name",
    "why",
    "write_faults_named",
    "write_sections",
]
