"""Whatever is wrong with the input: which error, which words, and never a person's id."""

from __future__ import annotations

import pickle
import re
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.cli import main
from tests.build import (
    AS_OF,
    MICRO,
    WRITTEN,
    build_table,
    channel_table,
    consent_table,
    make_channels,
    make_consent,
    make_gate,
    message_table,
)
from tests.faults import FAULTS
from tests.faults.fault import (
    NAIVE,
    PEOPLE,
    PERSON,
    ROOM,
    Fault,
    consent_of_people,
    messages_of_people,
)


def assert_speaks_well(error: Exception, words: tuple[str, ...]) -> None:
    """The message says what it must, quotes nobody, and survives a process border."""
    for word in words:
        assert word in str(error)
    cause: BaseException | None = error
    while cause is not None:
        assert "person-" not in str(cause)
        cause = cause.__cause__
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_error_and_its_words(fault: Fault, tmp_path: Path) -> None:
    fault.write(tmp_path)
    with pytest.raises(fault.error, match=r"[.)]$") as caught:
        fault.judge(tmp_path)
    assert caught.type is fault.error
    assert_speaks_well(caught.value, fault.words)


def test_the_files_without_a_fault_are_judged(tmp_path: Path) -> None:
    sound = Fault("none", cg.ConsentGateError, ())
    sound.write(tmp_path)
    sound.judge(tmp_path)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str]], tuple[int, str]]:
    """The command line in this process: its exit code, and what it wrote to stderr."""

    def run_main(arguments: list[str]) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["consentgate", *arguments])
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit, match=r"^\d*$") as end:
                main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        return int(end.value.code or 0), capsys.readouterr().err

    return run_main


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_command_line_reports_the_same_fault(
    fault: Fault, tmp_path: Path, run: Callable[[list[str]], tuple[int, str]]
) -> None:
    code, err = run(fault.write(tmp_path))
    assert code == 1
    assert f"[{fault.error.code}]" in err
    assert "person-" not in err
    assert not (tmp_path / "out").exists()


# --- files that are not what they should be -------------------------------------------------

CSV = b"subject_id,purpose,status,method,effective_from\n"
CSV_ROW = b"person-4711,train_ai_system,given,explicit,2025-01-01T00:00:00Z\n"
JSON_ROW = (
    b'{"subject_id": "person-4711", "purpose": "train_ai_system", "status": "given", '
    b'"method": "explicit", "effective_from": "2025-01-01T00:00:00Z"}\n'
)


def in_format(form: str) -> bytes:
    """A sound snapshot in some format."""
    table, sink = consent_of_people(), pa.BufferOutputStream()
    if form == "parquet":
        pq.write_table(table, sink)
    elif form == "csv":
        return CSV + CSV_ROW
    elif form == "jsonl":
        return JSON_ROW
    else:
        make = pa.ipc.new_file if form == "arrow" else pa.ipc.new_stream
        with make(sink, table.schema) as writer:
            writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def damaged() -> Iterator[Any]:
    """Names of files and contents that nobody should read as a snapshot."""
    for form in ("parquet", "arrow", "arrows"):
        whole = in_format(form)
        for part in (4, len(whole) // 2, len(whole) - 9):
            yield pytest.param(f"x.{form}", whole[:part], id=f"{form} cut to {part} bytes")
        yield pytest.param(f"x.{form}", whole[4:], id=f"{form} without a beginning")
    yield pytest.param("x.parquet", b"PAR1" + in_format("arrow")[4:], id="parquet in name only")
    for form in ("parquet", "arrow", "csv", "jsonl", "txt"):
        yield pytest.param(f"x.{form}", b"", id=f"{form} empty")
    yield pytest.param("x.txt", CSV + CSV_ROW, id="no known suffix")
    yield pytest.param("x.csv", CSV + CSV_ROW + b"person-4711,train_ai\n", id="csv cut off")
    yield pytest.param("x.csv", CSV + CSV_ROW[:-1] + b",person-4711\n", id="csv cell too many")
    yield pytest.param("x.csv", CSV + CSV_ROW + b"person-\xff,a,b,c,d\n", id="csv of no text")
    yield pytest.param("x.csv", CSV + CSV_ROW.replace(b"2025", b"person-"), id="csv no timestamp")
    yield pytest.param("x.jsonl", JSON_ROW + JSON_ROW[:40], id="json cut off")
    yield pytest.param("x.jsonl", JSON_ROW + b"person-4711\n", id="json no object")
    mixed = JSON_ROW.replace(b'"person-4711"', b"4711")
    yield pytest.param("x.jsonl", JSON_ROW + mixed, id="json of mixed ids")
    yield pytest.param("x.jsonl", JSON_ROW.replace(b"2025", b"person-"), id="json no timestamp")


@pytest.mark.parametrize(("name", "content"), list(damaged()))
def test_a_damaged_file_is_refused_by_name(
    name: str,
    content: bytes,
    tmp_path: Path,
    run: Callable[[list[str]], tuple[int, str]],
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(cg.UnreadableFileError, match=re.escape(name)) as caught:
        cg.ConsentSnapshot.read(tmp_path / name, as_of=AS_OF)
    assert caught.type is cg.UnreadableFileError
    assert_speaks_well(caught.value, (name,))
    arguments = Fault("sound", cg.ConsentGateError, (), consent_as_of=AS_OF).write(tmp_path)
    arguments[arguments.index("--consent") + 1] = str(tmp_path / name)
    code, err = run(arguments)
    assert (code, "[unreadable_file]" in err, "person-" in err) == (1, True, False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["parquet", "arrow", "arrows", "csv", "jsonl"])
def test_the_same_file_undamaged_is_read(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    path.write_bytes(in_format(form))
    assert cg.ConsentSnapshot.read(path, as_of=AS_OF).table.num_rows > 0


@pytest.mark.parametrize("name", ["missing.parquet", "."])
def test_a_file_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(cg.UnreadableFileError, match="cannot be read"):
        cg.ChannelRegistry.read(tmp_path / name, as_of=AS_OF)


def test_a_nameless_column_of_text_is_named_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(CSV + CSV_ROW.replace(b"2025", b"person-"))
    with pytest.raises(cg.UnreadableFileError, match="Column 'effective_from'"):
        cg.ConsentSnapshot.read(path, as_of=AS_OF)


# --- arguments ------------------------------------------------------------------------------

GATE = make_gate()
PEOPLES_GATE = make_gate(make_consent(subject_id=PEOPLE), make_channels(channel_id=[ROOM]))
TABLE = messages_of_people()
NO_CHANNELS = cg.Columns(channels=(), visibility="seen_by")
ARGUMENT_FAULTS: list[tuple[str, Callable[[], Any], type[Exception], tuple[str, ...]]] = [
    ("not Arrow", lambda: GATE.decide([{"sender_id": PERSON}]), cg.NotArrowError, ("'list'",)),
    ("not Arrow to filter", lambda: GATE.filter(PERSON), cg.NotArrowError, ("'str'",)),
    ("not Arrow to annotate", lambda: GATE.annotate(None), cg.NotArrowError, ("'NoneType'",)),
    ("not Arrow to explain", lambda: GATE.explain({}, 1), cg.NotArrowError, ("'dict'",)),
    ("not Arrow to stream", lambda: GATE.stream(5), cg.NotArrowError, ("'int'",)),
    ("not Arrow within a stream", lambda: GATE.stream([PERSON]), cg.NotArrowError, ("'str'",)),
    ("an empty iterable", lambda: GATE.stream([]), cg.NotArrowError, ("without a batch",)),
    (
        "no snapshot of Arrow",
        lambda: cg.ConsentSnapshot.from_arrow([PERSON], as_of=AS_OF),
        cg.NotArrowError,
        ("'list'",),
    ),
    (
        "no registry of Arrow",
        lambda: cg.ChannelRegistry.from_arrow({}, as_of=AS_OF),
        cg.NotArrowError,
        ("'dict'",),
    ),
    (
        "naive as_of",
        lambda: cg.ConsentSnapshot.from_arrow(consent_table(), as_of=NAIVE),
        cg.ConfigurationError,
        ("`as_of`", "time zone"),
    ),
    (
        "as_of as text",
        lambda: cg.ChannelRegistry.from_arrow(channel_table(), as_of="2026"),  # type: ignore[arg-type]
        TypeError,
        ("`as_of`", "is of type 'str'", "datetime with a time zone"),
    ),
    (
        "judged_at as text",
        lambda: GATE.decide(message_table(), judged_at="2026"),  # type: ignore[arg-type]
        TypeError,
        ("`judged_at`", "is of type 'str'", "datetime with a time zone"),
    ),
    (
        "naive judged_at",
        lambda: GATE.decide(message_table(), judged_at=NAIVE),
        cg.ConfigurationError,
        ("`judged_at`", "time zone"),
    ),
    (
        "no threads",
        lambda: GATE.decide(message_table(), threads=0),
        cg.ConfigurationError,
        ("`threads`", "0"),
    ),
    (
        "channels without registry",
        lambda: cg.Gate(cg.Policy(), make_consent()),
        cg.ConfigurationError,
        ("channel_id", "registry"),
    ),
    (
        "registry without channels",
        lambda: cg.Gate(cg.Policy(), make_consent(), make_channels(), columns=NO_CHANNELS),
        cg.ConfigurationError,
        ("registry", "no channel column"),
    ),
    ("no subject column", lambda: cg.Columns(subjects=()), cg.ConfigurationError, ("subject",)),
    (
        "no channel nor visibility",
        lambda: cg.Columns(channels=()),
        cg.ConfigurationError,
        ("private",),
    ),
    (
        "unknown time zone",
        lambda: cg.Columns(assume_timezone="Europe/Atlantis"),
        cg.ConfigurationError,
        ("'Europe/Atlantis'", "IANA"),
    ),
    (
        "reason there already",
        lambda: PEOPLES_GATE.annotate(build_table({"reason": PEOPLE})),
        cg.ColumnExistsError,
        ("'reason'",),
    ),
    (
        "bits there already",
        lambda: PEOPLES_GATE.annotate(TABLE.append_column("reason_bits", TABLE["sender_id"])),
        cg.ColumnExistsError,
        ("'reason_bits'",),
    ),
    (
        "no such record",
        lambda: PEOPLES_GATE.explain(TABLE, PERSON),
        cg.RecordNotFoundError,
        ("'message_id'", "int64"),
    ),
    (
        "another schema",
        lambda: PEOPLES_GATE.stream([TABLE, TABLE.drop("channel_id")]).read_all(),
        cg.SchemaMismatchError,
        ("'channel_id'",),
    ),
    ("policy in Python", lambda: cg.Policy(purpose="x"), cg.PolicyError, ("'purpose'",)),  # type: ignore[call-arg]
    ("rule in Python", lambda: cg.Rule(name="x", column="y"), cg.PolicyError, ("any_of",)),
]


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [pytest.param(*fault[1:], id=fault[0]) for fault in ARGUMENT_FAULTS],
)
def test_a_faulty_argument_has_its_error_and_its_words(
    act: Callable[[], Any], error: type[Exception], words: tuple[str, ...]
) -> None:
    with pytest.raises(error, match=r"\.$") as caught:
        act()
    assert caught.type is error
    assert_speaks_well(caught.value, words)


@pytest.mark.parametrize("days", [7, 0])
def test_a_snapshot_just_young_enough_is_used(days: int) -> None:
    limit = timedelta(days=days)
    gate = make_gate(max_snapshot_age=limit)
    assert gate.decide(message_table(), judged_at=AS_OF + limit).num_admitted == 1
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot"):
        gate.decide(message_table(), judged_at=AS_OF + limit + MICRO)


def test_a_given_instant_may_lie_before_the_snapshot() -> None:
    decision = make_gate().decide(message_table(), judged_at=WRITTEN)
    assert decision.num_admitted == 1


@pytest.mark.parametrize(("ahead_s", "is_refused"), [(299, False), (301, True)])
def test_a_clock_may_be_a_little_slow(ahead_s: int, is_refused: bool) -> None:
    as_of = datetime.now(AS_OF.tzinfo) + timedelta(seconds=ahead_s)
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=as_of)
    channels = cg.ChannelRegistry.from_arrow(channel_table(), as_of=as_of)
    gate = cg.Gate(cg.Policy(), consent, channels)
    if is_refused:
        with pytest.raises(cg.FutureSnapshotError, match="consent snapshot"):
            gate.decide(message_table())
    else:
        assert gate.decide(message_table()).num_admitted == 1


# --- the tree -------------------------------------------------------------------------------


def all_errors(root: type[cg.ConsentGateError]) -> Iterator[type[cg.ConsentGateError]]:
    """The class and all that come from it."""
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


def test_every_error_has_a_code_of_its_own() -> None:
    errors = list(all_errors(cg.ConsentGateError))
    codes = {error.code for error in errors}
    assert len(codes) == len(errors) == 41
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)
    assert all("code" in vars(error) for error in errors)


@pytest.mark.parametrize("error", list(all_errors(cg.ConsentGateError)), ids=lambda e: e.__name__)
def test_a_code_says_what_its_class_says(error: type[cg.ConsentGateError]) -> None:
    stem = error.__name__.removesuffix("Error")
    words = {"ConsentGate": "error"}.get(stem) or re.sub(r"(?<!^)(?=[A-Z])", "_", stem).lower()
    assert error.code == words


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (cg.NotArrowError, TypeError),
        (cg.RecordNotFoundError, LookupError),
        (cg.PolicyError, ValueError),
        (cg.ConfigurationError, ValueError),
    ],
)
def test_some_errors_are_also_what_python_calls_them(error: type, builtin: type) -> None:
    assert issubclass(error, builtin)
