"""The facts that a gate has about each channel, compiled for one policy."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from consentgate.arrow import EARLIEST, Bits, Int64s, read_instants
from consentgate.index import Index, Matches, PackedInstants, pack_instants, read_ids, with_rests
from consentgate.inputs import ChannelRegistry
from consentgate.judging.reason_bits import bits_of_words, flag, where_valid
from consentgate.policy import Policy
from consentgate.reasons import Reason

CHANNEL_BITS = int(Reason.CHANNEL_UNKNOWN).bit_length()
"""How many bits of a channel's facts hold reasons."""


@dataclass(frozen=True, repr=False)
class ChannelFacts:
    """The facts about each channel.

    A channel's facts hold PRIVATE_CHANNEL and CHANNEL_UNKNOWN in their lowest bits, unless it
    depends on time whether they apply. They are stored XOR CHANNEL_UNKNOWN, so that zero means
    "unknown". The instant is in the bits above.

    Attributes:
        index: the facts about each channel.
        public_since: messages from before this instant were written in private. None if no channel
            has such an instant.
    """

    index: Index
    public_since: PackedInstants | None

    @classmethod
    def compile(cls, policy: Policy, registry: ChannelRegistry) -> "ChannelFacts":
        """Compile the visibility and the `public_since` of every channel of a registry."""
        table = registry.table
        bits = visibility_bits(table["visibility"].chunk(0), policy)
        facts = (bits ^ np.uint32(Reason.CHANNEL_UNKNOWN)).astype(np.uint64)
        since = np.full(len(facts), EARLIEST)
        if "public_since" in table.column_names:
            instants = read_instants(table["public_since"].chunk(0), "public_since")
            since = where_valid(instants.ceil, instants.valid, EARLIEST)
        layouts, rests = pack_instants(facts, CHANNEL_BITS, [since])
        ids = read_ids(table["channel_id"].chunk(0))
        index, rests = Index.build(ids, facts, rests)
        return cls(index, *with_rests(layouts, rests))

    def judge(self, matches: Matches, created: Int64s) -> Bits:
        """The reasons that the channels of n messages give, one channel for each message.

        Args:
            matches: the matches of n channel ids.
            created: when each message was written: n int64 microseconds since 1970 in UTC.
        """
        bits = matches.facts.astype(np.uint32)
        bits &= np.uint32((1 << CHANNEL_BITS) - 1)
        bits ^= np.uint32(Reason.CHANNEL_UNKNOWN)
        if self.public_since is not None:
            bits |= flag(
                self.public_since.lie_after(created, matches.facts, matches.slots),
                Reason.PRIVATE_CHANNEL,
            )
        return bits


def visibility_bits(words: pa.DictionaryArray, policy: Policy) -> Bits:
    """The reasons that n visibilities give: none if public, unknown if null, otherwise private."""
    by_word = dict.fromkeys(policy.public_visibilities, 0)
    return bits_of_words(words, by_word, other=Reason.PRIVATE_CHANNEL, null=Reason.CHANNEL_UNKNOWN)
