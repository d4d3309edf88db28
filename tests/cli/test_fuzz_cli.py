"""Garbage on the command line: every command ends with a documented code and no traceback."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.build import consent_table, message_table
from tests.command import Runner, judge

ROUNDS = 40
COMMANDS = {
    "filter": ["in.parquet", "--out", "out", *judge()],
    "explain": ["in.parquet", "0", *judge()],
    "compile": ["--out", "made.gate", *judge()],
    "run": ["in.parquet", "run-out", *judge()],
    "verify": ["run-out"],
    "ledger counts": ["run-out"],
    "ledger show": ["run-out", "--limit", "3"],
    "ledger explain": ["run-out", "1"],
    "policy check": ["policy.toml"],
    "policy init": ["made.toml"],
}
OPTIONS = [
    "--consent-map", "--channels-map", "--consent-timezone", "--channels-timezone",
    "--gate", "--policy", "--consent", "--channels", "--consent-as-of", "--channels-as-of",
    "--record-id-column", "--subject-column", "--channel-column", "--visibility-column",
    "--created-at-column", "--assume-timezone", "--judged-at", "--status-map", "--method-map",
    "--threads", "--out", "--overwrite", "--json", "--fail-fast", "--sign-with",
    "--rejudge", "--source", "--public-key", "--reason", "--file", "--limit", "--strict", "--help",
    "--version", "--nonsense", "-x", "--", "-",
]  # fmt: skip
WORDS = [
    "", " ", "x", "0", "-1", "99999999999999999999", "1.5", "nan", "a=b", "=", "a=",
    "given=refused", "=given", "=unknown", "subject_id=who", "who=subject_id", "status=method",
    "yes=given", "null", "None", "UTC", "Mars/Olympus", "2026-03-02T00:00:00Z", "2026-03-02",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "in.parquet", "odd.parquet",
    "policy.toml", "bad.toml", "deep.json", "consent.parquet", "channels.parquet", "broken.parquet",
    "text.csv", "deep.jsonl", "pipe", "empty", "folder", "missing", "missing/deep", "run-out",
    "no-run", "*", "**/*.parquet", "[", "[!", "{a,b}", "s3://", "gs:", "file://", "file:///missing",
    "ftp://x", "message_id", "sender_id", "channel_id", "created_at", "word", "private_channel",
    "n" * 300, "\udcff", "\udcff.parquet", "a\nb", "\x1b[2J", "'", '"', "$(x)", "\u202e", "\ufffe",
    "00000000-0000-0000-0000-000000000003",
]  # fmt: skip


@pytest.fixture
def files(run: Runner, folder: Path) -> Runner:
    """The command line, in a folder of sound and of odd files."""
    del folder
    pq.write_table(message_table(sender_id=[1, 2, 3]), "in.parquet")
    odd = message_table(sender_id=[["x"], None]).append_column("x", pa.array([{"a": 1}, None]))
    pq.write_table(odd, "odd.parquet")
    Path("broken.parquet").write_bytes(Path("in.parquet").read_bytes()[:-40] + b"\xff" * 40)
    Path("text.csv").write_text(
        "subject_id,purpose,status,method\n1,train_ai_system,yes,explicit\n"
    )
    Path("deep.jsonl").write_text('{"subject_id": ' + "[" * 3_000 + "]" * 3_000 + "}\n")
    Path("deep.json").write_text("[" * 100_000)
    Path("bad.toml").write_text('name = "\\ud800"\n[record_rules.admitted]\n')
    Path("empty").touch()
    os.mkfifo("pipe")
    for name in ("folder", "no-run", "no-run/_consentgate"):
        Path(name).mkdir()
    Path("no-run/_consentgate/manifest.json").write_text("{}")
    pq.write_table(consent_table(), "no-run/a.parquet")
    assert run("run", "in.parquet", "run-out", *judge()).code == 0
    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_garbage_ends_with_a_documented_code(command: str, files: Runner) -> None:
    dice = random.Random(command)
    for _ in range(ROUNDS):
        words = garbled(COMMANDS[command], dice)
        outcome = files(*command.split(), *words)
        assert outcome.code in (0, 1, 2), words
        is_told = re.search(
            r"\[\w+\]$|^warning: |do not train on this", outcome.out + outcome.err, re.M
        )
        assert outcome.code != 1 or is_told, (words, outcome)
        assert "Traceback" not in outcome.err
        assert "Error(" not in outcome.err


def garbled(words: list[str], dice: random.Random) -> list[str]:
    """A command's words, some of them replaced, and perhaps one left out, doubled or put in."""
    values = [place for place, word in enumerate(words) if not word.startswith("--")]
    words = list(words)
    for place in dice.sample(values, min(dice.randint(1, 2), len(values))):
        words[place] = dice.choice(WORDS)
    if dice.random() < 0.5:
        place = dice.randrange(len(words) + 1)
        new = [dice.choice(OPTIONS), dice.choice(WORDS)]
        words[place : place + dice.randint(0, 1)] = new[: dice.randint(0, 2)]
    return words


@pytest.mark.parametrize(
    "first", ["", "filtre", "--policy", "ledger", "policy", "-", "--", "\udcff"]
)
def test_garbage_in_place_of_a_command_is_a_fault_of_usage(first: str, run: Runner) -> None:
    outcome = run(first, "x")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
