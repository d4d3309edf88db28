"""Writes records of runs as JSON, and reads them."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from consentgate.errors import ManifestError, NewerEvidenceError
from consentgate.identity import VERSION, refuse_newer_format

Parsed = TypeVar("Parsed", bound=BaseModel)
_WORDS = {
    "extra_forbidden": "an entry that this version does not know",
    "literal_error": "another value than this version reads",
    "missing": "it is missing",
}
"""Plain words for some faults that pydantic finds, by type."""
_MOST_CHARS = 64
"""How many characters of a key or a version a message shows."""


def to_json(record: BaseModel) -> bytes:
    """Write a record as indented JSON."""
    text = json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False)
    return text.encode() + b"\n"


def parse_record(kind: type[Parsed], content: bytes, name: str) -> Parsed:
    """Read a record from its JSON.

    Args:
        kind: the class of the record.
        content: the JSON.
        name: what errors call the record.

    Raises:
        NewerEvidenceError: A newer version wrote it in a format that this version does not know.
        ManifestError: It is not valid.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
    _refuse_newer(kind, content, faults, name)
    where = ".".join(map(str, faults[0]["loc"])) or "as a whole"
    what = _WORDS.get(faults[0]["type"], faults[0]["msg"])
    raise ManifestError(
        f"'{name}' is not a valid {kind.__name__} ({where}: {what}); it was cut off or altered, or "
        "this version does not read its format."
    )


def _refuse_newer(kind: type[BaseModel], content: bytes, faults: Any, name: str) -> None:
    """Raise an error if a record is not valid because a newer version wrote it."""
    said = _object(content)
    known = kind.model_fields.get("format")
    if known is not None:
        refuse_newer_format(said.get("format"), known.default, f"'{name}'")
    judgement = said.get("judgement")
    version = judgement.get("version") if isinstance(judgement, dict) else None
    unknown = [fault["loc"] for fault in faults if fault["type"] == "extra_forbidden"]
    if unknown and isinstance(version, str) and version != VERSION:
        key = ".".join(map(str, unknown[0]))
        raise NewerEvidenceError(
            f"'{name}' has an entry '{key[:_MOST_CHARS]}' that this version of consentgate "
            f"({VERSION}) does not know. It says that version {version[:_MOST_CHARS]} wrote it; "
            "install that version or a newer one."
        )


def _object(content: bytes) -> dict[str, Any]:
    """The JSON object; an empty one if the content is not a JSON object."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
