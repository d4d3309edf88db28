"""The filter that `datatrove.consent_filter` gives; here, because its base class is datatrove's."""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter

from consentgate._stream import Sieve
from consentgate.adapters._carried import CarriedGate
from consentgate.adapters._values import ValueColumns
from consentgate.errors import (
    ColumnMissingError,
    ConfigurationError,
    ConsentGateError,
    RuleColumnMissingError,
)
from consentgate.gate import Gate
from consentgate.live import AnyGate

__all__ = ["ConsentFilter", "Task"]

Verdict = bool | tuple[bool, str]

_DOCUMENTS_WITHOUT = 1000
"""How many documents may come before the first one with a key that is needed."""


class ConsentFilter(BaseFilter):  # type: ignore[misc]  # datatrove has no types
    """A pipeline's step; see `consent_filter` in `consentgate.adapters.datatrove`.

    Args:
        options: of `Sieve`.
    """

    name = "🤝 Consent"

    def __init__(
        self, gate: AnyGate, exclusion_writer: DiskWriter | None, batch_size: int, **options: Any
    ) -> None:
        super().__init__(exclusion_writer, batch_size)
        self._gate, self._options = CarriedGate(gate), options
        self._task: Task | None = None

    def run(
        self, data: Iterable[Document], rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        """The admitted ones of a task's documents, in their order.

        Raises:
            ConfigurationError: The step is still at work on other documents.
            Whatever `consent_filter` says.
        """
        if self._task is not None:
            raise ConfigurationError(
                "This step is still judging other documents; make another one for these."
            )
        try:
            with Task(self._gate, **self._options) as self._task:
                yield from super().run(data, rank, world_size)
                self._task.check_keys()
        except ConsentGateError as error:
            # datatrove logs what the variables of every frame hold, which is documents
            raise error.with_traceback(None)  # noqa: B904  # it is the same error
        finally:
            self._task = None

    def filter(self, doc: Document) -> Verdict:
        """True for a document that is admitted, or False and the reason."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: Sequence[Document]) -> list[Verdict]:
        """True for each document that is admitted, or False and the primary reason."""
        if self._task is not None:
            return self._task.judge(batch)
        with Task(self._gate, **self._options) as task:  # in no pipeline: a stream of its own
            return task.judge(batch)


class Task:
    """The documents of one task, which are one stream.

    Args:
        gate: the gate, or a live one.
        options: of `Sieve`.
    """

    def __init__(self, gate: CarriedGate, **options: Any) -> None:
        self._gate, self._last = gate, gate.current()
        self._sieve = Sieve(gate, **options)
        self._columns = ValueColumns(reads_text=True)
        self._absent = set(self._last.judged_columns).difference(_attributes(self._last))
        self._documents = 0

    def judge(self, documents: Sequence[Document]) -> list[Verdict]:
        """True for each document that is admitted, or False and the primary reason.

        Raises:
            ColumnMissingError: Documents enough have come, none with a key that is needed.
            Whatever `Gate.decide` raises.
        """
        self._last = gate = self._gate.current()
        self._note_keys(documents)
        attributes = _attributes(gate)
        columns = {
            name: _values(documents, name, attributes.get(name)) for name in gate.judged_columns
        }
        decision = self._sieve.judge(self._columns.table(gate, columns), gate=gate)
        reasons = decision.reason.to_pylist()
        return [True if reason is None else (False, reason) for reason in reasons]

    def check_keys(self) -> None:
        """Nothing, when for every key that is needed there was a document with it.

        Raises:
            ColumnMissingError, RuleColumnMissingError: There was none.
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
        """Look for the keys in the first documents, however they are batched."""
        looked_at = documents[: max(0, _DOCUMENTS_WITHOUT - self._documents)]
        self._documents += len(documents)
        if self._absent:
            self._absent.difference_update(*(document.metadata for document in looked_at))
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
    """What of a document stands for a column where its metadata has no such key."""
    return {"id": "id", "text": "text", gate.columns.record_id: "id"}


def _values(documents: Sequence[Document], name: str, attribute: str | None) -> list[Any]:
    if attribute is None:
        return [document.metadata.get(name) for document in documents]
    return [
        document.metadata[name] if name in document.metadata else getattr(document, attribute)
        for document in documents
    ]
