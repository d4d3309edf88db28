"""Reading and checking the data that a gate is compiled from, and reading files of messages."""

from consentgate.inputs.channels import ChannelRegistry
from consentgate.inputs.files import MessageFile, read_faults_named
from consentgate.inputs.snapshot import (
    EARLIEST_START,
    STATUSES,
    VALID_STATUSES,
    ConsentSnapshot,
    only_rows,
)

__all__ = [
    "EARLIEST_START",
    "STATUSES",
    "VALID_STATUSES",
    "ChannelRegistry",
    "ConsentSnapshot",
    "MessageFile",
    "only_rows",
    "read_faults_named",
]
