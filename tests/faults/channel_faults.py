"""What can be wrong with a channel registry."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

import consentgate as cg
from tests.build import ABSENT, AS_OF, MICRO, NOW
from tests.faults.fault import NAIVE, ROOM, Fault

CHANNEL_FAULTS = [
    *(
        Fault(
            f"registry without {name}",
            cg.ColumnMissingError,
            (f"'{name}'",),
            channels={name: ABSENT, "other": [1]},
        )
        for name in ("channel_id", "visibility")
    ),
    *(
        Fault(
            f"registry with {name} twice",
            cg.ColumnAmbiguousError,
            ("2 columns", f"'{name}'"),
            twice={"channels": name},
        )
        for name in ("channel_id", "visibility")
    ),
    Fault(
        "null channel",
        cg.NullValueError,
        ("'channel_id'", "1 of 2"),
        channels={"channel_id": pa.array([ROOM, None])},
    ),
    Fault(
        "one channel twice",
        cg.DuplicateRecordError,
        ("1 rows of 2", "channel"),
        channels={"channel_id": [ROOM, ROOM]},
    ),
    Fault(
        "numbers in the registry",
        cg.ColumnTypeError,
        ("'visibility'", "int64"),
        channels={"visibility": 1},
    ),
    Fault(
        "naive public_since",
        cg.NaiveTimestampError,
        ("'public_since'",),
        channels={"public_since": NAIVE},
    ),
    Fault("registry without as_of", cg.AsOfError, ("channel registry",), channels_metadata={}),
    Fault("two as_of of the registry", cg.AsOfError, ("channel registry",), channels_as_of=NOW),
    Fault(
        "stale registry",
        cg.StaleSnapshotError,
        ("channel registry", "7 days"),
        consent_metadata={"as_of": NOW.isoformat()},
        judged_at=AS_OF + timedelta(days=7) + MICRO,
    ),
    Fault(
        "registry from the future",
        cg.FutureSnapshotError,
        ("channel registry", "clock"),
        channels_metadata={"as_of": "2900-01-01T00:00:00Z"},
        judged_at=None,
        policy='max_snapshot_age = "none"',
    ),
]
