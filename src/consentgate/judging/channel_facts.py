"""The facts that a gate has about each channel, compiled for one policy."""

import numpy as np
import pyarrow as pa

from consentgate.arrow import EARLIEST, Bits, read_instants
from consentgate.index import Index, pack_instants, with_rests
from consentgate.inputs import ChannelRegistry
from consentgate.judging.facts import Facts, Meaning
from consentgate.judging.reason_bits import bits_of_words, where_valid
from consentgate.policy import Policy
from consentgate.reasons import Reason

CHANNEL_BITS = int(Reason.CHANNEL_UNKNOWN).bit_length()
"""How many bits of a channel's facts hold reasons."""


CHANNEL_MEANING = Meaning(
    first_reason=0,
    reason_bits=CHANNEL_BITS,
    unknown=Reason.CHANNEL_UNKNOWN,
    null=Reason.CHANNEL_UNKNOWN,
    before_since=Reason.PRIVATE_CHANNEL,
    after_until=0,
)
"""The meaning of the bits of a channel's facts.

Their lowest bits hold PRIVATE_CHANNEL and CHANNEL_UNKNOWN, unless it depends on time whether they
apply. Messages from before the instant `since` were written in private.
"""


def compile_channels(policy: Policy, registry: ChannelRegistry) -> Facts:
    """The visibility and the `public_since` of every channel of a registry."""
    table = registry.table
    bits = visibility_bits(table["visibility"].chunk(0), policy)
    facts = (bits ^ np.uint32(Reason.CHANNEL_UNKNOWN)).astype(np.uint64)
    since = np.full(len(facts), EARLIEST)
    if "public_since" in table.column_names:
        instants = read_instants(table["public_since"].chunk(0), "public_since")
        since = where_valid(instants.ceil, instants.valid, EARLIEST)
    layouts, rests = pack_instants(facts, CHANNEL_BITS, [since])
    rows = registry.take_row_table()
    index, rests = Index.build(table["channel_id"].chunk(0), facts, rests, rows=rows)
    return Facts(index, CHANNEL_MEANING, with_rests(layouts, rests)[0], None)


def visibility_bits(words: pa.DictionaryArray, policy: Policy) -> Bits:
    """The reasons that n visibilities give: none if public, unknown if null, otherwise private."""
    by_word = dict.fromkeys(policy.public_visibilities, 0)
    return bits_of_words(words, by_word, other=Reason.PRIVATE_CHANNEL, null=Reason.CHANNEL_UNKNOWN)
