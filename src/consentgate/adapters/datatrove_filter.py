"""The filter that `datatrove.consent_filter` returns. This module imports datatrove."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter

from consentgate.adapters.carried import CarriedGate
from consentgate.adapters.values import ValueColumns
from consentgate.errors import (
    ColumnMissingError,
    ColumnTypeError,
    ConfigurationError,
    ConsentGateError,
    NotArrowError,
    RuleColumnMissingError,
)
from consentgate.gate import Gate
from consentgate.judging import Held, JudgingOptions, Sieve
from consentgate.publishing import AnyGate

Verdict = bool | tuple[bool, str]

_DOCUMENTS_WITHOUT = 1000
"""How many documents may come before the first one with a needed key."""


class ConsentFilter(BaseFilter):  # type: ignore[misc]  # datatrove has no types
    """A step of a pipeline; see `consent_filter` in `consentgate.adapters.datatrove`."""

    name = "🤝 Consent"

    def __init__(
        self,
        gate: AnyGate,
        exclusion_writer: DiskWriter | None,
        batch_size: int,
        options: JudgingOptions,
    ) -> None:
        super().__init__(exclusion_writer, batch_size)
        self._gate, self._options = CarriedGate(gate), options
        self._task: Task | None = None

    def run(
        self, data: Iterable[Document], rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        """Iterate over the admitted ones of a task's documents, in their order.

        Raises:
            ConfigurationError: The step is still judging other documents.
            Every error of `consent_filter`.
        """
        if self._task is not None:
            raise ConfigurationError(
                "This step is still judging other documents; make another one for these."
            )
        try:
            with Task(self._gate, self._options) as self._task:
                yield from super().run(data, rank, world_size)
                self._task.check_keys()
        except ConsentGateError as error:
            raise _without_frames(error)  # noqa: B904  # it is the same error
        finally:
            self._task = None

    def filter(self, doc: Document) -> Verdict:
        """True if a document is admitted, else False and the primary reason."""
        return next(iter(self.filter_batch([doc])))

    def filter_batch(self, batch: Sequence[Document]) -> Iterable[Verdict]:
        """For each document, True if it is admitted, else False and the primary reason.

        In a pipeline, take each verdict right before its document is passed on.
        """
        if self._task is not None:
            return self._task.judge(batch)
        with Task(self._gate, self._options) as task:  # outside a pipeline, a stream of its own
            return list(task.judge(batch))


class Task:
    """Judges the documents of one task, which are one stream.

    Args:
        gate: a gate or a live gate.
        options: how to judge, and where to record.
    """

    def __init__(self, gate: CarriedGate, options: JudgingOptions) -> None:
        self._last, self._options = gate.current(), options
        self._sieve = Sieve(gate, options)
        self._columns = ValueColumns(reads_text=True)
        self._absent = set(options.columns(self._last)).difference(_attributes(self._last))
        self._documents = 0

    def judge(self, documents: Sequence[Document]) -> Iterator[Verdict]:
        """For each document, True if it is admitted, else False and the primary reason.

        All are judged at once. Each verdict is that of the gate that is current when the verdict is
        taken. If another gate is current then, it judges the documents that are left again.

        Raises:
            NotArrowError: An object is not a document.
            ColumnMissingError: None of the first documents has a needed key.
            Every error of `Gate.decide`.
        """
        _refuse_others(documents)
        self._note_keys(documents)
        left = deque(documents)
        return self._verdicts(left, self._sieve.hold(partial(self._table, left)))

    def _table(self, documents: Iterable[Document], gate: Gate) -> pa.Table:
        self._last, attributes = gate, _attributes(gate)
        columns = {
            name: _values(documents, name, attributes.get(name))
            for name in self._options.columns(gate)
        }
        return self._columns.table(gate, columns)

    def _verdicts(self, left: deque[Document], held: Held) -> Iterator[Verdict]:
        """The verdict of each document that is left. A document with a verdict is not judged again,
        because later steps may change it.
        """
        reasons = iter(held.peek().reason.to_pylist())
        while left:
            if held.refresh():
                reasons = iter(held.peek().reason.to_pylist())
            held.advance(1)
            document, reason = left.popleft(), next(reasons)
            if reason is not None and document.metadata is None:
                document.metadata = {}  # datatrove writes the reason into it
            yield True if reason is None else (False, reason)

    def check_keys(self) -> None:
        """Raise an error unless every needed key was in some document.

        Raises:
            ColumnMissingError, RuleColumnMissingError: A needed key was in no document.
        """
        if self._absent and self._documents:
            name = min(self._absent)
            ruled = {rule.column for rule in self._last.policy.record_rules}
            error = RuleColumnMissingError if name in ruled else ColumnMissingError
            raise error(
                f"Column '{name}' is missing: of {self._documents} documents, none has it in its "
                "metadata. Rename a key, or say with `Columns` which one to use."
            )

    def _note_keys(self, documents: Sequence[Document]) -> None:
        """Look for the needed keys in the first documents, whatever the size of batches."""
        looked_at = documents[: max(0, _DOCUMENTS_WITHOUT - self._documents)]
        self._documents += len(documents)
        if self._absent:
            self._absent.difference_update(*map(_metadata, looked_at))
            if self._documents >= _DOCUMENTS_WITHOUT:
                self.check_keys()

    def __enter__(self) -> "Task":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sieve.close()


def _attributes(gate: Gate) -> dict[str, str]:
    """The attributes of a document that are columns if its metadata does not have them."""
    return {"id": "id", "text": "text", gate.columns.record_id: "id"}


def _refuse_others(documents: Sequence[Any]) -> None:
    for document in documents:
        if not isinstance(document, Document):
            raise NotArrowError(
                f"An object of type '{type(document).__qualname__}' is not a datatrove Document; "
                "give documents of a datatrove reader."
            )


def _metadata(document: Document) -> Mapping[Any, Any]:
    """A document's metadata. It is an empty dictionary if the document has None."""
    metadata = {} if document.metadata is None else document.metadata
    if not isinstance(metadata, Mapping):
        raise ColumnTypeError(
            f"A document's metadata is of type '{type(metadata).__qualname__}' but must be a dict; "
            "convert it."
        )
    return metadata


def _values(documents: Iterable[Document], name: str, attribute: str | None) -> list[Any]:
    if attribute is None:
        return [_metadata(document).get(name) for document in documents]
    return [_metadata(document).get(name, getattr(document, attribute)) for document in documents]


def _without_frames(error: BaseException) -> BaseException:
    """Remove the tracebacks of an error and of its causes.

    datatrove logs the variables of every frame, which hold documents.
    """
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
