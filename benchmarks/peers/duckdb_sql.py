"""The judgement in SQL, as templates into which names of tables, or queries in brackets, go."""

from collections.abc import Iterable
from datetime import timedelta

from benchmarks import scenario

__all__ = ["CHANNELS", "FACTS", "JUDGE_COLUMNS", "JUDGE_LISTS", "JUDGE_SCALARS"]


def _words(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _flag(condition: str, bit: int) -> str:
    return f"(case when {condition} then {bit}::uinteger else 0::uinteger end)"


_IS_VALID = f"status in ({_words(scenario.VALID)})"
_OTHER_NOTICE = f"coalesce(notice_version not in ({_words(scenario.NOTICES)}), true)"
_STATUS_CASES = " ".join(f"when '{word}' then {bit}" for word, bit in scenario.STATUS_BITS.items())
_NOW = f"timestamptz '{scenario.NOW.isoformat()}'"
_AS_OF = f"timestamptz '{scenario.AS_OF.isoformat()}'"
_MAX_AGE_MICROS = scenario.MAX_CONSENT_AGE // timedelta(microseconds=1)
# adding an interval would use the calendar, which takes twice as long
_TOO_OLD = f"make_timestamptz(epoch_us(effective_from) + {_MAX_AGE_MICROS})"

FACTS = f"""
select
  subject_id,
  case when {_IS_VALID} then
    {_flag(f"method not in ('{scenario.METHOD}')", scenario.CONSENT_NOT_EXPLICIT)}
    | {_flag(_OTHER_NOTICE, scenario.NOTICE_NOT_ACCEPTED)}
  else (case status {_STATUS_CASES} end)::uinteger end
  | {_flag("coalesce(age_band = 'minor', true)", scenario.MINOR)} as bits,
  case when {_IS_VALID} and not covers_prior then effective_from end as valid_from,
  case when {_IS_VALID} then least(expires_at, {_TOO_OLD}) end as valid_until
from {{consent}} where purpose = '{scenario.PURPOSE}'
"""

CHANNELS = f"""
select
  channel_id,
  case when visibility is null then {scenario.CHANNEL_UNKNOWN}::uinteger
    else {_flag(f"visibility != '{scenario.PUBLIC}'", scenario.PRIVATE_CHANNEL)} end as bits,
  public_since
from {{channels}}
"""

_OWN_BITS = f"""
  coalesce(channels.bits, {scenario.CHANNEL_UNKNOWN}::uinteger)
  | {_flag("created_at < public_since", scenario.PRIVATE_CHANNEL)}
  | {_flag("created_at is null", scenario.TIMESTAMP_MISSING)}
  | {_flag(f"created_at > {_AS_OF}", scenario.AFTER_SNAPSHOT)}
  | {_flag("coalesce(is_automated, true)", scenario.AUTOMATED)}
"""

_SUBJECT_BITS = f"""
  case when subject is null then {scenario.SUBJECT_MISSING}::uinteger
    else coalesce(facts.bits, {scenario.NO_CONSENT_RECORD}::uinteger) end
  | {_flag("created_at < valid_from", scenario.PREDATES_CONSENT)}
  | {_flag(f"valid_until <= {_NOW}", scenario.CONSENT_EXPIRED)}
"""

JUDGE_COLUMNS = f"""
select {{columns}}, {_OWN_BITS} | {_SUBJECT_BITS} as reason_bits
from (select *, {scenario.SCALAR} as subject from {{messages}}) as messages
left join {{facts}} as facts on subject = subject_id
left join {{channels}} as channels on messages.channel_id = channels.channel_id
"""

JUDGE_SCALARS = JUDGE_COLUMNS.replace("{columns}", "message_id")

JUDGE_LISTS = f"""
with own as (
  select message_id, created_at, {scenario.LISTS} as subjects, {_OWN_BITS} as own_bits
  from {{messages}} as messages
  left join {{channels}} as channels on messages.channel_id = channels.channel_id
), named as (
  select message_id, created_at, own_bits,
    unnest(case when len(subjects) > 0 then subjects else [null] end) as subject
  from own
)
select message_id, bit_or(own_bits | {_SUBJECT_BITS}) as reason_bits
from named left join {{facts}} as facts on subject = subject_id
group by message_id
"""
