"""The result of a check of coverage, as a record and as text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from consentgate.coverage.ids import IdCoverage
from consentgate.coverage.mismatches import Mismatch, in_words, of_consents, of_ids, of_reasons
from consentgate.coverage.vocabularies import ENTRIES, REGISTRY, SNAPSHOT, Vocabulary
from consentgate.coverage.words import on_one_line


@dataclass(frozen=True)
class Coverage:
    """The result of `Gate.coverage`: how policy, snapshot, registry and messages fit each other.

    It holds counts and words, and no id. It shows the words of a column only if there are few of
    them; see `Vocabulary`. `str` of it is a readable report.

    Attributes:
        rows: how many messages were judged.
        admitted: how many of them are admitted.
        reasons: how many rows each reason applies to, by its code, in order of precedence.
        subjects: counts of the subjects that messages name and of those in the snapshot.
        channels: counts of the channels that messages name and of those in the registry; None if
            there is no registry.
        known_subjects: how many subjects have a record for every purpose of the policy.
        consenting_subjects: how many of these have a consent that the policy accepts at the instant
            of judgement.
        subject_reasons: how many of the known subjects each reason applies to, by its code.
        unasked_records: how many records are for purposes that the policy does not ask for. None:
            not checked.
        vocabularies: comparisons of the words that the policy names with those of the data.
        not_checked: one sentence for each thing that could not be checked, which says why.
    """

    rows: int
    admitted: int
    reasons: Mapping[str, int]
    subjects: IdCoverage
    channels: IdCoverage | None
    known_subjects: int
    consenting_subjects: int
    subject_reasons: Mapping[str, int]
    unasked_records: int | None
    vocabularies: tuple[Vocabulary, ...]
    not_checked: tuple[str, ...]

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Probable mistakes, warnings first."""
        found = chain(
            of_consents(self.known_subjects, self.consenting_subjects, self.subject_reasons),
            in_words(self.vocabularies),
            of_ids("subject", SNAPSHOT, self.subjects, self.rows),
            of_ids("channel", REGISTRY, self.channels, self.rows) if self.channels else (),
            of_reasons(self.rows, self.admitted, self.reasons),
        )
        return tuple(sorted(found, key=lambda mismatch: not mismatch.is_warning))

    @property
    def warnings(self) -> tuple[Mismatch, ...]:
        """Those of the mismatches that exclude rows in mass, or could."""
        return tuple(mismatch for mismatch in self.mismatches if mismatch.is_warning)

    def __str__(self) -> str:
        return "\n".join(map(on_one_line, _lines(self)))


def _lines(coverage: Coverage) -> Iterator[str]:
    excluded = coverage.rows - coverage.admitted
    yield f"{coverage.rows:,} messages: {coverage.admitted:,} admitted, {excluded:,} excluded"
    for title, is_warning in {"Warnings": True, "Worth a look": False}.items():
        texts = [f"  - {each}" for each in coverage.mismatches if each.is_warning == is_warning]
        yield from _section(title, texts)
    shares = {code: f"{rows / coverage.rows:7.2%}" for code, rows in coverage.reasons.items()}
    reasons = [_line(code, rows, shares[code]) for code, rows in coverage.reasons.items()]
    yield from _section("Rows by reason", reasons)
    yield from _id_section("Subjects", SNAPSHOT, coverage.subjects)
    if coverage.channels is not None:
        yield from _id_section("Channels", REGISTRY, coverage.channels)
    yield from _section("Subjects of the consent snapshot", list(_consent_lines(coverage)))
    yield from _section("Words", list(map(_word_line, coverage.vocabularies)))
    yield from _section("Not checked", [f"  - {text}" for text in coverage.not_checked])


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    """An empty line, a title and lines. Empty if there are no lines."""
    if lines:
        yield from ("", title, *lines)


def _line(label: str, count: int, note: str = "") -> str:
    return f"  {label:<44} {count:>15,}  {note}".rstrip()


def _id_section(title: str, table: str, ids: IdCoverage) -> Iterator[str]:
    lines = [_line("named in messages", ids.distinct)]
    lines.append(_line(f"of these unknown to the {table}", ids.unknown, _rows(ids.unknown_rows)))
    if ids.incomplete is not None:
        lines.append(_line("of these listed there, but not complete", ids.incomplete))
    if ids.alike is not None:
        lines.append(
            _line("of these spelled almost like one there", ids.alike, _rows(ids.alike_rows))
        )
    lines.append(_line(f"known to the {table}, not named", ids.unused))
    names = ", ".join(f"'{name}'" for name in ids.columns)
    yield from _section(
        f"{title}, in {'columns' if len(ids.columns) > 1 else 'column'} {names}", lines
    )


def _rows(rows: int | None) -> str:
    return f"in {rows:,} rows" if rows else ""


def _consent_lines(coverage: Coverage) -> Iterator[str]:
    yield _line("with a record for every purpose", coverage.known_subjects)
    yield _line("of these with a consent that is accepted now", coverage.consenting_subjects)
    for code, subjects in coverage.subject_reasons.items():
        yield _line(f"of these {code}", subjects)
    if coverage.unasked_records is not None:
        yield _line("records for other purposes", coverage.unasked_records)


def _word_line(vocabulary: Vocabulary) -> str:
    text = (
        f"  {vocabulary.setting}: {vocabulary.matched_entries:,} of {vocabulary.entries:,} "
        f"{ENTRIES[vocabulary.table]} match in column '{vocabulary.column}'"
    )
    if vocabulary.words:
        listed = ", ".join(f"'{word}' {count:,}" for word, count in vocabulary.words)
        text += f" ({listed})"
    return text
