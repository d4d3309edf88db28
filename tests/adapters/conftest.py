"""Where `datasets` keeps what it writes, which it wants to know before it is imported."""

import os
import tempfile

_CACHE = tempfile.TemporaryDirectory(prefix="consentgate-tests-")
os.environ["HF_HOME"] = _CACHE.name
os.environ["HF_HUB_OFFLINE"] = "1"
