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
from consentgate.adapters.options import require_count, require_options
from consentgate.errors import NotArrowError
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
    """A datatrove filter that judges batches of documents, each by the gate that is current then.

    Documents are judged batch by batch and passed on one by one. When a live gate has changed
    meanwhile, those that are left are judged again: no document is passed on that the newer gate
    would not admit. Whether a consent has expired is checked when documents are judged, and not
    again when they are passed on.

    A document's columns are what its metadata holds under their names; `id` and `text` are its own,
    and its `id` is also the record id where the metadata has none. Where a key is not there, the
    value is null, which excludes the document for the reason that fits. Where none of a task's
    first 1,000 documents has it, or none of fewer, that is an error.

    Values are taken for what they are: `None` (and NaN) is null, integers are no strings, and
    everything else that an id cannot be is an error, as are columns that hold various kinds of
    values, wherever in a task they meet. Subjects may be lists. Instants are `datetime`s, or, since
    JSON has none, ISO 8601 text with an offset from UTC; without one, they are naive.

    The primary reason is the one that datatrove counts (`dropped_consent_withdrawn`) and writes
    into the metadata of what goes to the `exclusion_writer` (`filter_reason`).

    Args:
        gate: a gate, or a live one (`GateStore.live`). Save it first: workers then get its path.
        exclusion_writer: a datatrove writer that gets the excluded documents, with their text.
        ledger: a directory that gets the excluded documents' record ids and reasons, in a file for
            each task, complete when that ends; `row` is the position in the task. Documents that
            were read, but neither passed on nor dropped, are not in it. None: no record.
        judged_at: the instant of judgement, with a time zone. None: the gate's, or else the clock
            at each batch.
        threads: how many threads judge; None: one per available core, or one in a worker process.
        batch_size: how many documents are judged, and held in memory, at a time.

    Raises:
        ExtraMissingError, ExtraOutdatedError: datatrove is not installed, or too old.
        TypeError: An argument is of a wrong type, or no gate.
        ConfigurationError: `batch_size` or `threads` is less than 1, or `judged_at` has no time
            zone.
        NotArrowError: While a pipeline runs: something is no document.
        Whatever `Gate.decide` raises, OutputError: While a pipeline runs, which ends with it; no
            document of the batch comes out.
    """
    need("datatrove")
    from consentgate.adapters.datatrove_filter import ConsentFilter

    require_options(gate, ledger=ledger, judged_at=judged_at, threads=threads)
    require_count(batch_size, "batch_size")
    if exclusion_writer is not None and not hasattr(exclusion_writer, "write"):
        raise TypeError(
            f"`exclusion_writer` is of type '{type(exclusion_writer).__name__}'; give a writer of "
            "datatrove's, such as a JsonlWriter."
        )
    return ConsentFilter(
        gate, exclusion_writer, batch_size, ledger=ledger, judged_at=judged_at, threads=threads
    )


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
    """The admitted ones of datatrove's documents, judged as they are asked for, in their order.

    Arguments and errors are `consent_filter`'s; the documents are one task's. The ledger is
    complete when the iterator is exhausted or closed.

    Args:
        data: documents; also what a datatrove reader gives.

    Raises:
        NotArrowError: `data` is no iterable.
        Whatever `consent_filter` says.
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
