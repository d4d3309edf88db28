"""Says in sentences where policy, snapshot, registry and messages seem not to fit each other."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from consentgate.arrow import quoted
from consentgate.coverage.ids import IdCoverage
from consentgate.coverage.vocabularies import (
    ENTRIES,
    MESSAGES,
    SNAPSHOT,
    Alike,
    Gap,
    Question,
    Vocabulary,
)
from consentgate.coverage.words import on_one_line
from consentgate.reasons import Reason

MASS_SHARE = 0.9
"""A reason that applies to at least this share of the rows excludes them in mass."""
ALIKE_SHARE = 0.01
"""Ids and words that are spelled almost like known ones are a warning if at least this share of the
rows has them.
"""

_ADVICE = {
    Reason.PRIVATE_CHANNEL: "Compare public_visibilities with the words of the visibility column.",
    Reason.CHANNEL_UNKNOWN: "Check that messages and registry spell channel ids alike, and that the"
    " registry covers these messages.",
    Reason.SUBJECT_MISSING: "Check which columns hold the subjects.",
    Reason.NO_CONSENT_RECORD: "Check that messages and snapshot spell subject ids alike, and that "
    "the snapshot has records for the policy's purposes.",
    Reason.CONSENT_EXPIRED: "Check expires_at in the snapshot, max_consent_age and the instant "
    "of judgement.",
    Reason.CONSENT_NOT_EXPLICIT: "Compare the policy's methods with the snapshot's.",
    Reason.NOTICE_NOT_ACCEPTED: "Compare the policy's notice_versions with the snapshot's.",
    Reason.PREDATES_CONSENT: "Check effective_from and covers_prior in the snapshot.",
    Reason.TIMESTAMP_MISSING: "Check which column says when a message was written.",
    Reason.AFTER_SNAPSHOT: "Take a snapshot and a registry that are newer than the messages.",
}


@dataclass(frozen=True)
class Mismatch:
    """Something that makes the gate exclude many rows, or that is probably a mistake.

    Attributes:
        code: the stable name of its kind.
        message: a text that says what was found and what to do. It holds no id.
        counts: the numbers that it was found by, by name.
        is_warning: whether it excludes rows in mass, or could. If not, it is only worth a look.
    """

    code: str
    message: str
    counts: Mapping[str, int]
    is_warning: bool

    def __str__(self) -> str:
        return on_one_line(self.message)


def of_reasons(rows: int, admitted: int, reasons: Mapping[str, int]) -> Iterator[Mismatch]:
    """Find reasons that apply to at least 90 % of the rows, alone or all together.

    Args:
        rows: how many rows were judged.
        admitted: how many of them are admitted.
        reasons: how many rows each reason applies to, by its code.
    """
    in_mass = {code: excluded for code, excluded in reasons.items() if is_mass(rows, excluded)}
    for code, excluded in in_mass.items():
        counts = {"rows": rows, "excluded": excluded}
        yield Mismatch("rows_excluded", mass_text(code, rows, excluded), counts, True)
    if not in_mass and is_mass(rows, rows - admitted):
        text = f"{_of_all(rows, rows - admitted)} rows are excluded, by several reasons together."
        counts = {"rows": rows, "excluded": rows - admitted}
        yield Mismatch("rows_excluded", text, counts, True)


def is_mass(rows: int, excluded: int) -> bool:
    """Whether the excluded rows are nearly all rows."""
    return excluded > 0 and excluded >= MASS_SHARE * rows


def mass_text(code: str, rows: int, excluded: int) -> str:
    """A text that says that a reason applies to nearly all rows, and what to check."""
    reason = next((each for each in Reason if each.code == code), None)
    many = _of_all(rows, excluded)
    if reason is None:
        return f"{many} rows are excluded by the policy's rule '{code}'. Check the rule's values."
    advice = f" {_ADVICE[reason]}" if reason in _ADVICE else ""
    return f"{many} rows are excluded by {code}: {reason.sentence}.{advice}"


def _of_all(rows: int, excluded: int) -> str:
    return f"All {rows:,}" if excluded == rows else f"{excluded:,} of {rows:,}"


def of_words(vocabulary: Vocabulary) -> Iterator[Mismatch]:
    """Find mismatches in the words that one setting of the policy names."""
    if vocabulary.unmatched:
        yield _unmatched(vocabulary)
    for alike in vocabulary.alike:
        counts = {ENTRIES[vocabulary.table]: vocabulary.entries, "alike": alike.entries}
        is_many = alike.entries >= ALIKE_SHARE * vocabulary.entries
        yield Mismatch("word_alike", _alike_text(vocabulary, alike), counts, is_many)


def _unmatched(vocabulary: Vocabulary) -> Mismatch:
    counts = {
        ENTRIES[vocabulary.table]: vocabulary.entries,
        "unmatched": vocabulary.unmatched,
    }
    if vocabulary.setting == "purposes" and not vocabulary.is_rule:
        used = None if vocabulary.words is None else [word for word, _ in vocabulary.words]
        text = purpose_text(vocabulary.unmatched_words or (), used)
        return Mismatch("purpose_without_record", text, counts, True)
    listed = f": {quoted(vocabulary.unmatched_words)}" if vocabulary.unmatched_words else ""
    named = f"that {_setting(vocabulary)} names{listed}."
    if vocabulary.matched_entries:
        text = f"{_column(vocabulary)} lacks {vocabulary.unmatched:,} of the words {named}"
        return Mismatch("word_unused", text, counts, False)
    text = f"{_column(vocabulary)} has none of the words {named} {_outcome(vocabulary)}"
    return Mismatch("no_word_occurs", text, counts, not vocabulary.is_exclusion)


def _outcome(vocabulary: Vocabulary) -> str:
    if vocabulary.is_rule:
        return f"So the rule excludes {'only nulls' if vocabulary.is_exclusion else 'every row'}."
    is_public = vocabulary.setting == "public_visibilities"
    return "So no row is public." if is_public else "So no consent is accepted."


def purpose_text(purposes: Iterable[str], used: Iterable[str] | None) -> str:
    """A text that says that purposes have no record, and names the purposes that have one."""
    there = "too many to list" if used is None else quoted(used)
    return (
        f"The consent snapshot has no record for the policy's purpose {quoted(purposes)}, so every "
        f"subject lacks one. The snapshot's purposes are: {there}. Correct the policy or the "
        "snapshot."
    )


def gap_text(gap: Gap) -> str:
    """A text that says that a word of the policy does not occur, but that similar words do."""
    theirs = "a word that is spelled almost like it" if gap.used is None else quoted(gap.alike)
    return (
        f"{_column(gap.question)} has no '{gap.word}', which {_setting(gap.question)} names, but "
        f"{theirs}. Spell them alike if they mean the same."
    )


def _alike_text(vocabulary: Vocabulary, alike: Alike) -> str:
    word = "a word" if alike.word is None else f"'{alike.word}'"
    return (
        f"{_column(vocabulary)} has {word} in {alike.entries:,} of {vocabulary.entries:,} "
        f"{ENTRIES[vocabulary.table]}, and "
        f"{_setting(vocabulary)} names '{alike.accepted}'. Spell them alike if they mean the same."
    )


def _setting(asked: Question | Vocabulary) -> str:
    return f"the policy's {'rule' if asked.is_rule else 'field'} '{asked.setting}'"


def _column(asked: Question | Vocabulary) -> str:
    return f"Column '{asked.column}' of the {asked.table}"


def of_ids(what: str, table: str, ids: IdCoverage, rows: int) -> Iterator[Mismatch]:
    """Find mismatches in the ids of subjects or channels.

    Args:
        what: "subject" or "channel".
        table: the table that lists them: "consent snapshot" or "channel registry".
        ids: the counts.
        rows: the number of messages.
    """
    if ids.distinct and ids.unknown == ids.distinct:
        counts = {f"{what}s": ids.distinct, "rows": ids.unknown_rows}
        text = (
            f"The {table} knows none of the {ids.distinct:,} {what}s that the messages name. "
            f"Check that both hold the same kind of {what} ids."
        )
        yield Mismatch(f"no_{what}_known", text, counts, True)
    if ids.alike:
        counts = {"alike": ids.alike, "rows": ids.alike_rows or 0}
        text = (
            f"Of the {ids.distinct:,} {what} ids in the messages, {ids.alike:,}, in "
            f"{ids.alike_rows:,} rows, differ from an id in the {table} only in case, in "
            "surrounding white space or in Unicode form. Spell ids alike in both."
        )
        is_many = (ids.alike_rows or 0) >= ALIKE_SHARE * rows
        yield Mismatch(f"{what}_ids_alike", text, counts, is_many)


def of_consents(known: int, consenting: int, reasons: Mapping[str, int]) -> Iterator[Mismatch]:
    """Find out whether no subject has a consent that the policy accepts now."""
    if known and not consenting:
        most = max(reasons, key=lambda code: reasons[code])
        text = (
            f"None of the {known:,} subjects that the {SNAPSHOT} knows has a consent that the "
            f"policy accepts now. The most frequent reason is {most} ({reasons[most]:,} subjects)."
        )
        yield Mismatch("nobody_consents", text, {"subjects": known, **reasons}, True)


def in_words(vocabularies: Iterable[Vocabulary]) -> Iterator[Mismatch]:
    """Find mismatches in the words of all settings, except rules on columns without any entry."""
    for vocabulary in vocabularies:
        if vocabulary.entries or vocabulary.table != MESSAGES:
            yield from of_words(vocabulary)
