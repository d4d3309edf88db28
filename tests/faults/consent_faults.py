"""What can be wrong with a consent snapshot."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

import consentgate as cg
from tests.build import ABSENT, AS_OF, BEGUN, MICRO, NOW
from tests.faults.fault import AS_OF_KEY, NAIVE, PEOPLE, PERSON, PERSON_2, TWO, Fault, subject_rule

CONSENT_FAULTS = [
    *(
        Fault(
            f"snapshot without {name}",
            cg.ColumnMissingError,
            (f"'{name}'", "required"),
            consent={name: ABSENT, "other": PEOPLE},
        )
        for name in ("subject_id", "purpose", "status", "method")
    ),
    *(
        Fault(
            f"snapshot with {name} twice",
            cg.ColumnAmbiguousError,
            ("2 columns", f"'{name}'"),
            twice={"consent": name},
        )
        for name in ("subject_id", "purpose", "status", "method", "effective_from")
    ),
    Fault(
        "attribute twice",
        cg.ColumnAmbiguousError,
        ("2 columns", "'tier'"),
        consent={"tier": "x"},
        twice={"consent": "tier"},
    ),
    Fault(
        "float subjects in snapshot",
        cg.ColumnTypeError,
        ("'subject_id'", "double"),
        consent={"subject_id": [4711.5]},
    ),
    Fault(
        "numbers as status",
        cg.ColumnTypeError,
        ("'status'", "int64", "text"),
        consent={"status": 1},
    ),
    Fault(
        "numbers as method",
        cg.ColumnTypeError,
        ("'method'", "int64", "text"),
        consent={"method": 1},
    ),
    Fault(
        "text as covers_prior",
        cg.ColumnTypeError,
        ("'covers_prior'", "string", "boolean"),
        consent={"covers_prior": "yes"},
    ),
    Fault(
        "text as effective_from",
        cg.ColumnTypeError,
        ("'effective_from'", "string"),
        consent={"effective_from": PERSON},
    ),
    Fault(
        "naive effective_from",
        cg.NaiveTimestampError,
        ("'effective_from'", "timestamp[us]"),
        consent={"effective_from": NAIVE},
    ),
    Fault(
        "naive expires_at",
        cg.NaiveTimestampError,
        ("'expires_at'", "timestamp[us]"),
        consent={"expires_at": NAIVE},
    ),
    Fault(
        "null subject", cg.NullValueError, ("'subject_id'", "1 of 2"), consent={"subject_id": TWO}
    ),
    Fault(
        "null status",
        cg.NullValueError,
        ("'status'", "1 of 2"),
        consent={"status": ["given", None]},
    ),
    Fault(
        "null purpose",
        cg.NullValueError,
        ("'purpose'", "1 of 2"),
        consent={"purpose": [None, "train_ai_system"]},
    ),
    Fault(
        "given without a start",
        cg.NullValueError,
        ("'effective_from'", "1 rows"),
        consent={"effective_from": [BEGUN, None]},
    ),
    Fault(
        "renewed without a start",
        cg.NullValueError,
        ("'effective_from'", "1 rows"),
        consent={"status": ["refused", "renewed"], "effective_from": ABSENT},
    ),
    Fault(
        "given without any start",
        cg.NullValueError,
        ("'effective_from'", "2 rows"),
        consent={"effective_from": ABSENT},
    ),
    Fault(
        "two decisions of one subject",
        cg.DuplicateRecordError,
        ("2 rows of 4", "subject and purpose"),
        consent={"subject_id": [PERSON, PERSON_2, PERSON, PERSON]},
    ),
    Fault(
        "unknown status",
        cg.UnknownStatusError,
        ("'status'", "'granted'", "'given'", "status_map"),
        consent={"status": ["granted", "given"]},
    ),
    Fault("status in capitals", cg.UnknownStatusError, ("'Given'",), consent={"status": "Given"}),
    Fault(
        "an endless id",
        cg.SnapshotError,
        ("'subject_id'", "65537", "65536"),
        consent={"subject_id": [PERSON.ljust(65_537, "x")]},
    ),
    Fault("no as_of", cg.AsOfError, ("consent snapshot", "as_of"), consent_metadata={}),
    Fault(
        "two as_of", cg.AsOfError, ("consent snapshot", "2026-03-01"), consent_as_of=AS_OF + MICRO
    ),
    Fault(
        "two as_of in one file",
        cg.AsOfError,
        ("consent snapshot",),
        consent_metadata={**AS_OF_KEY, "as_of": NOW.isoformat()},
    ),
    Fault(
        "naive as_of in the file",
        cg.AsOfError,
        ("2026-03-01T00:00:00", "offset"),
        consent_metadata={"as_of": "2026-03-01T00:00:00"},
    ),
    Fault(
        "as_of in words",
        cg.AsOfError,
        ("'yesterday'", "ISO 8601"),
        consent_metadata={"as_of": "yesterday"},
    ),
    Fault(
        "stale snapshot",
        cg.StaleSnapshotError,
        ("consent snapshot", "7 days"),
        channels_metadata={"as_of": NOW.isoformat()},
        judged_at=AS_OF + timedelta(days=7) + MICRO,
    ),
    Fault(
        "snapshot from the future",
        cg.FutureSnapshotError,
        ("consent snapshot", "clock"),
        consent_metadata={"as_of": "2900-01-01T00:00:00Z"},
        judged_at=None,
        policy='max_snapshot_age = "none"',
    ),
    Fault(
        "rule without attribute",
        cg.RuleColumnMissingError,
        ("'field'", "'rule'", "consent snapshot"),
        policy=subject_rule('any_of = ["x"]'),
    ),
    Fault(
        "rule on a nested attribute",
        cg.RuleColumnMissingError,
        ("'field'", "'rule'"),
        consent={"field": pa.array([["x"], ["y"]])},
        policy=subject_rule('any_of = ["x"]'),
    ),
    Fault(
        "text rule on a number attribute",
        cg.RuleColumnTypeError,
        ("'field'", "int64", "str"),
        consent={"field": 1},
        policy=subject_rule('any_of = ["x"]'),
    ),
]
