"""Hashes of ids, for telling ids apart and for putting rows into an order."""

import secrets

import numpy as np
import pyarrow as pa

from consentgate.arrow import Uint64s, for_each, refuse_faults, row_blocks
from consentgate.index.ids import IdArray, id_family
from consentgate.index.secret import Secret
from consentgate.kernel import kernel


class IdHasher:
    """Hashes ids under a secret.

    Args:
        seed: 16 bytes; equal seeds give equal hashes. None draws a new secret.
    """

    def __init__(self, seed: bytes | None = None) -> None:
        self._seed = secrets.token_bytes(16) if seed is None else seed

    def hashes(self, ids: pa.Array) -> Uint64s:
        """The hashes of n ids without a dictionary, spread evenly over 64 bits.

        Equal ids of equal sign have equal hashes. A null has any hash.

        Raises:
            MalformedArrayError: The ids contradict themselves.
        """
        family = id_family(ids.type)
        assert family is not None
        secret, described = Secret(self._seed, family.layout), IdArray(ids)
        hashes = np.empty(len(ids), np.uint64)

        def fill(rows: slice) -> None:
            own = hashes[rows]
            refuse_faults(
                kernel.cg_hashes(
                    described.struct, secret.struct, rows.start, rows.stop, own.ctypes.data
                )
            )

        for_each(fill, row_blocks(len(ids)))
        return hashes
