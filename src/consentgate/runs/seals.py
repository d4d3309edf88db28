"""Seals: signatures over what became of each file, with which a signed run can be resumed.

Whoever can write to the destination can put another output and another part of the ledger there
that fit each other. A seal is a signature over both. See docs/semantics.md, section 8.8.
"""

from dataclasses import dataclass, replace

from consentgate.runs.destination import Destination
from consentgate.runs.manifest import FileRecord, Judgement, RunState, SealedFile
from consentgate.runs.signing import Signer
from consentgate.storage import Folder, seal_name


@dataclass(frozen=True)
class Seals:
    """Writes and checks the seals of a destination.

    Attributes:
        folder: the destination.
        signer: the key whose seals are believed. None: the run is not signed, no seal is needed,
            and none is made.
    """

    folder: Folder
    signer: Signer | None

    def checked(self, destination: Destination) -> Destination:
        """The destination, whose run may only be resumed if its state has a valid seal."""
        state = destination.state
        if self.signer is None or state is None:
            return destination
        return replace(
            destination, goes_on=self.signer.has_sealed(state.seal, _without_seal(state))
        )

    def sealed(self, state: RunState) -> RunState:
        """The state with its seal."""
        seal = None if self.signer is None else self.signer.seal(_without_seal(state))
        return state.model_copy(update={"seal": seal})

    def write(self, judgement: Judgement, source: str, record: FileRecord) -> None:
        """Write the seal over what became of a file.

        Args:
            judgement: the judgement of the run.
            source: the source's label, as in the manifest.
            record: what became of the file.

        Raises:
            OutputError: The destination cannot be written to.
        """
        if self.signer is not None:
            sealed = SealedFile(judgement=judgement, source=source, file=record)
            self.folder.write(seal_name(record.input.path), self.signer.seal(sealed).encode())

    def is_sealed(self, judgement: Judgement, source: str, record: FileRecord) -> bool:
        """Whether what became of a file has a valid seal. True if no seal is needed."""
        if self.signer is None:
            return True
        content = self.folder.read(seal_name(record.input.path)) or b""
        sealed = SealedFile(judgement=judgement, source=source, file=record)
        return self.signer.has_sealed(content.decode("ascii", "replace"), sealed)


def _without_seal(state: RunState) -> RunState:
    return state.model_copy(update={"seal": None})
