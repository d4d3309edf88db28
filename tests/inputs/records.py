"""Records of a snapshot and a registry that have something in every column."""

from __future__ import annotations

from typing import Any

from tests.build import BEGUN, WRITTEN

RECORDS: dict[str, Any] = {
    "subject_id": [1, 2, 3, 3],
    "purpose": ["train_ai_system", "train_ai_system", "train_ai_system", "other"],
    "status": ["given", "withdrawn", "renewed", "given"],
    "method": ["explicit", None, "implied", "explicit"],
    "effective_from": [BEGUN, None, WRITTEN, BEGUN],
    "expires_at": [None, None, WRITTEN, None],
    "covers_prior": [True, None, False, None],
    "notice_version": ["v1", "", None, "v1"],
    "tier": ["paid", None, "", "free"],
    "score": [1, -1, None, 0],
    "is_minor": [True, False, None, False],
    "joined": [BEGUN, None, WRITTEN, BEGUN],
}

CHANNELS: dict[str, Any] = {
    "channel_id": ["a", "b", "c"],
    "visibility": ["public", None, "private"],
    "public_since": [WRITTEN, None, BEGUN],
}
