"""Compares the words that a policy names with the words that the data uses."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from consentgate.arrow import Bools
from consentgate.columns import Columns
from consentgate.coverage.spelling import Spellings
from consentgate.coverage.words import MOST_COUNTED, WordCounts, are_shown
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.policy import Policy, Rule

SNAPSHOT, REGISTRY, MESSAGES = "consent snapshot", "channel registry", "messages"
ENTRIES = {SNAPSHOT: "records", REGISTRY: "channels", MESSAGES: "messages"}
"""Names of the rows of each table, for counts."""


@dataclass(frozen=True)
class Alike:
    """A word of the data that is spelled almost like a word of the policy.

    Attributes:
        accepted: the policy's word.
        word: the data's word; None if the words of its column are not shown.
        entries: how many records, channels or messages have the data's word.
    """

    accepted: str
    word: str | None
    entries: int


@dataclass(frozen=True)
class Vocabulary:
    """A comparison of the words that one setting of the policy names with those of one column.

    Words are shown only if the column has at most 50 different ones of at most 40 characters each.
    If a rule looks at the column, only words that are spelled almost like the rule's are shown.

    Attributes:
        setting: `purposes`, `methods`, `notice_versions` or `public_visibilities`; or the name of a
            rule.
        is_rule: whether the setting is a rule.
        is_exclusion: whether entries that match are excluded, as by a rule with `any_of`. If not,
            entries that do not match are excluded.
        column: the column's name.
        table: `consent snapshot`, `channel registry` or `messages`.
        named: the words that the policy names. Integers and booleans are text. None if the column
            holds ids.
        unmatched: how many of these words no entry has.
        unmatched_words: the words that no entry has; None if the column holds ids.
        entries: how many records, channels or messages have a word. Records for purposes that the
            policy does not ask for count only under `purposes`.
        matched_entries: how many of them have a word that the policy names.
        words: the column's words and how many entries have each, the most frequent first; None if
            they are not shown.
        alike: other words of the column that are spelled almost like one that the policy names.
    """

    setting: str
    is_rule: bool
    is_exclusion: bool
    column: str
    table: str
    named: tuple[str, ...] | None
    unmatched: int
    unmatched_words: tuple[str, ...] | None
    entries: int
    matched_entries: int
    words: tuple[tuple[str, int], ...] | None
    alike: tuple[Alike, ...]


@dataclass(frozen=True)
class Question:
    """A setting of the policy and the column that is compared with its words.

    Attributes:
        setting, is_exclusion, column, table: as in `Vocabulary`.
        named: the policy's words.
        is_rule: whether the setting is a rule, which may look at any column.
        holds_ids: whether the column holds ids, so that no word of it may be shown.
        is_text: whether the words are text, and not integers or booleans.
    """

    setting: str
    is_exclusion: bool
    column: str
    table: str
    named: frozenset[str]
    is_rule: bool = False
    holds_ids: bool = False
    is_text: bool = True

    def answered(self, counts: WordCounts) -> Vocabulary:
        """Compare the column's words, which were counted, with the policy's."""
        matched = counts.accepted
        unmatched = tuple(word for word, entries in matched.items() if not entries)
        return Vocabulary(
            self.setting,
            self.is_rule,
            self.is_exclusion,
            self.column,
            self.table,
            None if self.holds_ids else tuple(matched),
            len(unmatched),
            None if self.holds_ids else unmatched,
            counts.entries,
            sum(matched.values()),
            self._shown(counts),
            self._alike(counts),
        )

    def _shown(self, counts: WordCounts) -> tuple[tuple[str, int], ...] | None:
        words = counts.words
        is_hidden = self.is_rule or self.holds_ids
        if is_hidden or words is None or not are_shown(words):
            return None
        return tuple(sorted(words.items(), key=lambda pair: (-pair[1], pair[0])))

    def _alike(self, counts: WordCounts) -> tuple[Alike, ...]:
        if self.holds_ids or not self.is_text:
            return ()
        words = counts.words or {}
        shows = are_shown(words)
        alike = [
            Alike(ours, other if shows else None, words[other])
            for ours, other in alike_words(self.named, words)
        ]
        return tuple(sorted(alike, key=lambda each: (-each.entries, each.accepted)))


def alike_words(named: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of a named word and one of the others that is spelled almost like it."""
    names = frozenset(named)
    unnamed = [other for other in others if other not in names]
    spellings, first = Spellings(unnamed), dict[str, str]()
    for word in sorted(names):
        for other in spellings.alike(word):
            first.setdefault(other, word)
    return [(first[other], other) for other in unnamed if other in first]


def id_columns(columns: Columns) -> set[str]:
    """The columns of the messages that hold ids. No word of them may be shown."""
    return {columns.record_id, *columns.subjects, *columns.channels}


def questions(policy: Policy, columns: Columns) -> Iterator[Question]:
    """Every setting of the policy that names words, with each column that is compared with it."""
    ids = id_columns(columns)
    yield Question("purposes", False, "purpose", SNAPSHOT, policy.purposes)
    yield Question("methods", False, "method", SNAPSHOT, policy.methods)
    if policy.notice_versions is not None:
        notices = policy.notice_versions
        yield Question("notice_versions", False, "notice_version", SNAPSHOT, notices)
    public = policy.public_visibilities
    if columns.channels:
        yield Question("public_visibilities", False, "visibility", REGISTRY, public)
    if columns.visibility is not None:
        yield Question(
            "public_visibilities",
            False,
            columns.visibility,
            MESSAGES,
            public,
            holds_ids=columns.visibility in ids,
        )
    yield from _rule_questions(policy.record_rules, MESSAGES, ids)
    yield from _rule_questions(policy.subject_rules, SNAPSHOT, {"subject_id"})


def _rule_questions(rules: Iterable[Rule], table: str, ids: set[str]) -> Iterator[Question]:
    for rule in rules:
        if rule.values:
            yield Question(
                rule.name,
                rule.any_of is not None,
                rule.column,
                table,
                frozenset(map(_as_text, rule.values)),
                is_rule=True,
                holds_ids=rule.column in ids,
                is_text=isinstance(rule.values[0], str),
            )


def _as_text(value: str | int | bool) -> str:
    """The value as Arrow writes it as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def count_words(question: Question, table: pa.Table, where: Bools | None = None) -> WordCounts:
    """Count the words in a column of a tidy snapshot or registry."""
    counts = WordCounts(question.named)
    if question.column in table.column_names:
        counts.add(table[question.column].chunk(0), where)
    return counts


@dataclass(frozen=True)
class Gap:
    """A word that the policy names and that snapshot or registry does not have.

    Attributes:
        question: the setting, and the column that is compared with it.
        word: the policy's word.
        alike: words of the column that are spelled almost like it, and that the policy does not
            name.
        used: all words of the column; None if they are not shown.
    """

    question: Question
    word: str
    alike: tuple[str, ...]
    used: tuple[str, ...] | None


def words_used(table: pa.Table, column: str) -> tuple[str, ...] | None:
    """The words of a dictionary-encoded column of a tidy snapshot or registry.

    The time does not grow with the rows. None if there are more than 1,000 different words.
    """
    if column not in table.column_names:
        return ()
    words = table[column].chunk(0).dictionary
    return None if len(words) > MOST_COUNTED else tuple(sorted(set(words.to_pylist()) - {None}))


def policy_gaps(
    policy: Policy, columns: Columns, consent: ConsentSnapshot, channels: ChannelRegistry | None
) -> Iterator[Gap]:
    """Find words of the policy that snapshot or registry does not have. Rules are left out.

    Words are looked up among those of all records, whatever their purpose, so the time does not
    grow with the rows. Columns of more than 1,000 different words are not looked at.
    """
    tables = {SNAPSHOT: consent.table}
    if channels is not None:
        tables[REGISTRY] = channels.table
    for question in questions(policy, columns):
        if question.is_rule or question.table not in tables:
            continue
        used = words_used(tables[question.table], question.column)
        if used is not None:
            shown = used if are_shown(used) else None
            spellings = Spellings(word for word in used if word not in question.named)
            for word in sorted(question.named.difference(used)):
                yield Gap(question, word, tuple(spellings.alike(word)), shown)
