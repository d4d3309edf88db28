"""Which modules a process loads that reads files, judges them and writes what is admitted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.build import AS_OF, NOW, channel_table, consent_table, message_table
from tests.processes import HANGING_S

FROM_FILES_TO_FILES = f"""
import sys
from datetime import datetime
import pyarrow as pa
import pyarrow.parquet as pq
import consentgate as cg
as_of, now = (datetime.fromisoformat(text) for text in ("{AS_OF.isoformat()}", "{NOW.isoformat()}"))
rules = [cg.Rule(name="bot", column="kind", any_of=("bot",))]
policy = cg.Policy(name="p", record_rules=rules, notice_versions={{"1"}})
consent = cg.ConsentSnapshot.read("consent.parquet", as_of=as_of)
channels = cg.ChannelRegistry.read("channels.parquet", as_of=as_of)
built = cg.Gate(policy, consent, channels, columns=cg.Columns(subjects=("sender_id", "named")))
built.save("saved.gate")
gate = cg.Gate.open("saved.gate")
messages = pa.Table.from_batches(pq.ParquetFile("messages.parquet").iter_batches())
for judge in (built, gate):
    decision = judge.decide(messages, judged_at=now)
    assert decision.counts == {{"no_consent_record": 1, "bot": 1}}, decision
    admitted, excluded = judge.filter(messages, judged_at=now)
    assert admitted.num_rows == 2 and excluded.num_rows == 2
    assert judge.stream([messages], judged_at=now).read_all().num_rows == 2
cg.run(gate, "messages.parquet", "clean", judged_at=now)
assert "pandas" not in sys.modules
"""


@pytest.mark.parametrize("kind", [pa.int32(), pa.string()], ids=str)
def test_pandas_is_not_loaded(tmp_path: Path, kind: pa.DataType) -> None:
    pytest.importorskip("pandas")
    ids = pa.array([1, 2, 3]).cast(kind)
    consent = consent_table(subject_id=ids, notice_version="1", expires_at=[None, NOW, None])
    sender = pa.array([1, 1, 3, 4]).cast(kind)
    named = pa.array([[1], [3], [], [1]], pa.list_(pa.int64())).cast(pa.list_(kind))
    messages = message_table(sender_id=sender, named=named, kind=["a", "bot", None, "b"])
    messages = messages.set_column(4, "kind", messages["kind"].fill_null("c").dictionary_encode())
    pq.write_table(consent, tmp_path / "consent.parquet")
    pq.write_table(channel_table(), tmp_path / "channels.parquet")
    pq.write_table(messages, tmp_path / "messages.parquet")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FROM_FILES_TO_FILES],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGING_S,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
