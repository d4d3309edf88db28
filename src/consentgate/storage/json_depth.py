"""The depth to which JSON is nested, measured before the JSON is parsed.

pyarrow 26 and Python parse JSON by recursion. If text is nested too deeply, pyarrow ends the
process, and Python raises RecursionError.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from consentgate.errors import UnreadableFileError
from consentgate.storage.durable import open_regular

MOST_LEVELS = 64
"""The greatest number of levels to which objects and lists may be nested in JSON that is read."""

_CHUNK_BYTES = 1 << 20
_ESCAPED = re.compile(rb"\\[^\n\r]")
_STRUCTURE = b'"[]{}\n\r'
_OTHERS = bytes(octet for octet in range(256) if octet not in _STRUCTURE)
_STEPS = np.zeros(256, np.int64)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def refuse_deep_json(path: Path) -> None:
    """Raise an error if the JSON in a file is nested more than MOST_LEVELS deep.

    Raises:
        UnreadableFileError: It is nested more deeply.
        OSError: The file cannot be read.
    """
    if json_levels(_chunks(path)) > MOST_LEVELS:
        raise UnreadableFileError(
            f"File '{path}' nests objects or lists more than {MOST_LEVELS} deep; write plain "
            "columns."
        )


def json_levels(chunks: Iterable[bytes]) -> int:
    """The number of levels to which objects and lists are nested; more if the JSON is malformed.

    A parser that begins at the start of any line finds no more levels than this. A string ends at
    the end of its line at the latest, so a quote that is never closed cannot hide the lines after
    it.

    Args:
        chunks: the text, in pieces that do not end within an escape sequence.
    """
    level = lowest = deepest = 0
    is_in_string = False
    for chunk in chunks:
        text = _ESCAPED.sub(b"", chunk) if b"\\" in chunk else chunk
        marks = np.frombuffer(text.translate(None, _OTHERS), np.uint8)
        if not len(marks):
            continue
        inside = _in_strings(marks, is_in_string)
        is_in_string = bool(inside[-1])
        levels = level + np.cumsum(np.where(inside, 0, _STEPS[marks]))
        lows = np.minimum(lowest, np.minimum.accumulate(levels))
        deepest = max(deepest, int((levels - lows).max()))
        level, lowest = int(levels[-1]), int(lows[-1])
    return deepest


def _in_strings(marks: npt.NDArray[np.uint8], is_first: bool) -> npt.NDArray[np.bool_]:
    """For each structural character, whether the text right after it is within a string."""
    quotes = np.cumsum(marks == ord('"')) + is_first
    is_end = (marks == ord("\n")) | (marks == ord("\r"))
    at_last_end = np.maximum.accumulate(np.where(is_end, quotes, 0))
    inside: npt.NDArray[np.bool_] = (quotes - at_last_end) % 2 == 1
    return inside


def _chunks(path: Path) -> Iterator[bytes]:
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            backslashes = len(chunk) - len(chunk.rstrip(b"\\"))
            yield chunk + file.read(1) if backslashes % 2 else chunk
