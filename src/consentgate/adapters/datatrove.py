"""datatrove: a step of a pipeline that lets admitted documents through.

>>> from datatrove.pipeline.readers import JsonlReader
>>> from datatrove.pipeline.writers import JsonlWriter
>>> from consentgate.adapters.datatrove import consent_filter
>>> pipeline = [  # doctest: +SKIP
...     JsonlReader("messages/"),
...     consent_filter(gate, exclusion_writer=JsonlWriter("excluded/")),
...     JsonlWriter("clean/"),
... ]
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_count, require_gate
from consentgate.errors import NotArrowError
from consentgate.judging import JudgingOptions
from consentgate.publishing import AnyGate

if TYPE_CHECKING:
    from consentgate.adapters.datatrove_filter import ConsentFilter

__all__ = ["consent_filter", "filter"]


def consent_filter(
    gate: AnyGate,
    *,
    exclusion_writer: Any = None,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
    batch_size: int = 1000,
) -> "ConsentFilter":
    """Make a step of a datatrove pipeline that lets admitted documents through.

    Documents are judged batch by batch and passed on one by one. If a live gate has changed
    meanwhile, the newer gate judges the documents that are left again, and only documents that it
    admits are passed on. Whether a consent has expired is checked when documents are judged, and
    not again when they are passed on.

    The columns of a document are the keys of its metadata, and its own `id` and `text`. Its `id` is
    also the record id if the metadata has none. A key that a document does not have is null, which
    excludes the document. It is an error if none of a task's first 1,000 documents has a needed
    key, or none of all documents if there are fewer.

    Values are not converted. `None` and NaN are null. A value that is not an id is an error, and so
    are values of several kinds (such as integers and strings) in one column of a task. Subjects may
    be lists. Instants are `datetime`s, or ISO 8601 text with an offset from UTC, because JSON has
    no instants. Without an offset, they are naive. A day without a time of day is an error.

    datatrove counts documents by their primary reason (`dropped_consent_withdrawn`) and writes it
    into the metadata (`filter_reason`) of documents that go to the `exclusion_writer`.

    Args:
        gate: a gate or a live gate (`GateStore.live`). Save a gate first, so that workers get its
            path.
        exclusion_writer: a datatrove writer that gets the excluded documents, with their text.
        ledger: a folder that gets the excluded documents' record ids and reasons, in one file for
            each task, which is complete when the task ends. `row` is the position in the task.
            Documents that were read, but neither passed on nor dropped, are not in it. None keeps
            no record of excluded documents.
        judged_at: the instant of judgement, with a time zone. None takes the gate's. If that is
            None, too, the clock is read at each batch.
        threads: how many threads judge. None takes one for each available core, and one in a worker
            process.
        batch_size: how many documents are judged, and held in memory, at a time.

    Raises:
        ExtraMissingError, ExtraOutdatedError: datatrove is not installed, or too old.
        TypeError: An argument is of a wrong type, or `gate` is not a gate.
        ConfigurationError: `batch_size` or `threads` is less than 1, or `judged_at` has no time
            zone.
        NotArrowError: An object is not a document. Raised while a pipeline runs.
        OutputError: The ledger cannot be written. Raised while a pipeline runs.
        Every error of `Gate.decide`: raised while a pipeline runs. The error ends the pipeline, and
            no document of the batch comes out.
    """
    need("datatrove")
    from consentgate.adapters.datatrove_filter import ConsentFilter

    require_gate(gate)
    options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
    require_count(batch_size, "batch_size")
    if exclusion_writer is not None and not hasattr(exclusion_writer, "write"):
        raise TypeError(
            f"`exclusion_writer` is of type '{type(exclusion_writer).__name__}'; give a writer of "
            "datatrove's, such as a JsonlWriter."
        )
    return ConsentFilter(gate, exclusion_writer, batch_size, options)


def filter(
    data: Iterable[Any],
    gate: AnyGate,
    *,
    exclusion_writer: Any = None,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
    batch_size: int = 1000,
) -> Iterator[Any]:
    """Iterate over the admitted ones of datatrove's documents, in their order.

    Documents are judged as they are asked for. All of them are one task. Arguments and errors are
    those of `consent_filter`. The ledger is complete when the iterator is exhausted or closed.

    Args:
        data: an iterable of documents, for example those of a datatrove reader.

    Raises:
        NotArrowError: `data` is not an iterable.
        Every error of `consent_filter`.
    """
    if not isinstance(data, Iterable):
        raise NotArrowError(
            f"An object of type '{type(data).__qualname__}' gives no documents; give an iterable."
        )
    step = consent_filter(
        gate,
        exclusion_writer=exclusion_writer,
        ledger=ledger,
        judged_at=judged_at,
        threads=threads,
        batch_size=batch_size,
    )
    return step.run(data)
