"""Seals: what a signed run says of each file as soon as it is done, so that it can be resumed.

Whoever can write to the destination can put another output and another part of the ledger there
that agree with each other. A seal is a signature over both; see `consentgate.signing`.
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
        signer: whose seals count. None: the run is not signed, no seal is needed, and none is made.
    """

    folder: Folder
    signer: Signer | None

    def checked(self, destination: Destination) -> Destination:
        """The destination's content. Its run goes on only if its state has a valid seal."""
        state = destination.state
        if self.signer is None or state is None:
            return destination
        return replace(
            destination, goes_on=self.signer.has_sealed(state.seal, _without_seal(state))
        )

    def sealed(self, state: RunState) -> RunState:
        """A state with its seal."""
        seal = None if self.signer is None else self.signer.seal(_without_seal(state))
        return state.model_copy(update={"seal": seal})

    def write(self, judgement: Judgement, source: str, record: FileRecord) -> None:
        """Seal what became of a file.

        Args:
            source: as in the manifest.

        Raises:
            OutputError: The destination cannot be written to.
        """
        if self.signer is not None:
            sealed = SealedFile(judgement=judgement, source=source, file=record)
            self.folder.write(seal_name(record.input.path), self.signer.seal(sealed).encode())

    def is_sealed(self, judgement: Judgement, source: str, record: FileRecord) -> bool:
        """Whether what became of a file has a valid seal; True where no seal is needed."""
        if self.signer is None:
            return True
        content = self.folder.read(seal_name(record.input.path)) or b""
        sealed = SealedFile(judgement=judgement, source=source, file=record)
        return self.signer.has_sealed(content.decode("ascii", "replace"), sealed)


def _without_seal(state: RunState) -> RunState:
    return state.model_copy(update={"seal": None})
