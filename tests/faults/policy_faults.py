"""What can be wrong with a policy."""

from __future__ import annotations

import consentgate as cg
from tests.faults.fault import Fault, record_rule, subject_rule


def many_rules(count: int) -> str:
    """A policy with so many rules."""
    return "\n".join(f'[record_rules.r{n}]\ncolumn = "x"\nis_null = true' for n in range(count))


POLICY_FAULTS = [
    Fault("no policy", cg.PolicyError, ("policy.toml",), policy=None),
    Fault("unknown key", cg.PolicyError, ("'purpose'",), policy='purpose = "x"'),
    Fault(
        "unknown key of a rule",
        cg.PolicyError,
        ("record_rules.0", "'anyof'"),
        policy=record_rule('anyof = ["x"]'),
    ),
    Fault(
        "rule without a test",
        cg.PolicyError,
        ("any_of, none_of and is_null",),
        policy='record_rules = [{ name = "rule", column = "x" }]',
    ),
    Fault(
        "rule with two tests",
        cg.PolicyError,
        ("any_of, none_of and is_null",),
        policy=record_rule('any_of = ["x"], none_of = ["y"]'),
    ),
    Fault(
        "rule that says is_null = false",
        cg.PolicyError,
        ("is_null",),
        policy=record_rule("is_null = false"),
    ),
    Fault("rule with no values", cg.PolicyError, ("any_of",), policy=record_rule("any_of = []")),
    Fault(
        "rule with mixed values",
        cg.PolicyError,
        ("one type",),
        policy=record_rule('any_of = ["1", 1]'),
    ),
    Fault(
        "rule with truths among numbers",
        cg.PolicyError,
        ("one type",),
        policy=record_rule("any_of = [1, true]"),
    ),
    Fault(
        "rule named badly",
        cg.PolicyError,
        ("record_rules.0", "'name'"),
        policy='record_rules = [{ name = "a b", column = "x", is_null = true }]',
    ),
    Fault(
        "rule named as a reason",
        cg.PolicyError,
        ("private_channel", "built in"),
        policy='record_rules = [{ name = "private_channel", column = "x", is_null = true }]',
    ),
    Fault(
        "two rules of one name",
        cg.PolicyError,
        ("have the same name",),
        policy=record_rule("is_null = true") + "\n" + subject_rule("is_null = true"),
    ),
    Fault("17 rules", cg.PolicyError, ("17 rules", "16"), policy=many_rules(17)),
    Fault("no purpose", cg.PolicyError, ("'purposes'",), policy="purposes = []"),
    Fault("no method", cg.PolicyError, ("'methods'",), policy="methods = []"),
    Fault(
        "no public word",
        cg.PolicyError,
        ("'public_visibilities'",),
        policy="public_visibilities = []",
    ),
    Fault("a number as purpose", cg.PolicyError, ("'purposes.0'",), policy="purposes = [1]"),
    Fault(
        "a negative age",
        cg.PolicyError,
        ("'max_snapshot_age'",),
        policy='max_snapshot_age = "-P1D"',
    ),
    Fault(
        "an age in words",
        cg.PolicyError,
        ("'max_consent_age'",),
        policy='max_consent_age = "a week"',
    ),
    Fault("malformed TOML", cg.PolicyError, ("policy.toml",), policy="name = "),
    Fault(
        "malformed JSON", cg.PolicyError, ("policy.json",), policy="{", policy_name="policy.json"
    ),
    Fault(
        "JSON that says it twice",
        cg.PolicyError,
        ("policy.json", "twice"),
        policy='{"name": "a", "name": "b"}',
        policy_name="policy.json",
    ),
    Fault(
        "JSON without an object",
        cg.PolicyError,
        ("policy.json",),
        policy='["name"]',
        policy_name="policy.json",
    ),
    Fault(
        "policy of another format",
        cg.PolicyError,
        ("policy.yaml", ".toml or .json"),
        policy="name: x",
        policy_name="policy.yaml",
    ),
    Fault("policy of no text", cg.PolicyError, ("policy.toml",), policy=b"\xff\xfe"),
]
