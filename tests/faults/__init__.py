"""What can be wrong with files of messages, consent, channels and policies.

Every fault lies in files, so that the library and the command line can be asked the same.
"""

from tests.faults.channel_faults import CHANNEL_FAULTS
from tests.faults.consent_faults import CONSENT_FAULTS
from tests.faults.message_faults import MESSAGE_FAULTS
from tests.faults.policy_faults import POLICY_FAULTS

FAULTS = [*MESSAGE_FAULTS, *CONSENT_FAULTS, *CHANNEL_FAULTS, *POLICY_FAULTS]
