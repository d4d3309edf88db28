"""Mutants of a module: copies of its code with one small fault each.

The project makes its own mutants, because mutmut 3 and cosmic-ray 8 cannot do what is needed here.
They do not swap arguments or reverse roundings. They do not draw a sample by a seed. They do not
keep a list of equivalent mutants under names that stay the same when other code in the file
changes. mutmut also leaves out code outside of functions, such as constants, and cosmic-ray changes
the checkout itself.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

__all__ = ["Mutant", "mutants_of"]

Change: TypeAlias = tuple[str, ast.AST]
"""A kind of fault, and the node that replaces the original one."""
Node = TypeVar("Node", bound=ast.AST)

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
PAIRS = [
    *(("floor", "ceil"), ("early", "late"), ("earliest", "latest"), ("EARLIEST", "LATEST")),
    *(("min", "max"), ("minimum", "maximum"), ("any", "all"), ("argmin", "argmax")),
    *(("zeros", "ones"), ("union1d", "intersect1d"), ("is_null", "is_valid")),
    *(("and_", "or_"), ("left", "right")),
]
OPPOSITES = dict(PAIRS) | {second: first for first, second in PAIRS}
SKIPPED_FIELDS = ("annotation", "returns")
SYMMETRIC = ("max", "maximum", "min", "minimum", "bitwise_or")
SKIPPED_KEYWORDS = ("frozen", "strict")
"""`tests/test_house.py` holds that records are frozen, and `strict` only asserts."""


@dataclass(frozen=True)
class Mutant:
    """One small fault in a module.

    Attributes:
        module: the module's name below the package.
        place: the class or function that holds the fault, such as "PackedInstants.over"; empty
            outside of them.
        kind: the kind of fault, as one word.
        statement: the first line of the statement that holds the fault, without comments.
        change: the code before and after.
        occurrence: a number that tells equal changes of equal statements apart.
        line: the line where the statement begins.
        site: the node that is replaced.
        new: the node that replaces it.
    """

    module: str
    place: str
    kind: str
    statement: str
    change: str
    occurrence: int
    line: int
    site: Site = field(repr=False, compare=False)
    new: ast.AST = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """An id that stays the same until the statement, or the name of its function, changes."""
        parts = (self.statement, self.change, str(self.occurrence))
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
        return f"{self.module}:{self.place}:{self.kind}:{digest}"

    @property
    def before(self) -> str:
        """The module's code, without comments."""
        return ast.unparse(self.site.tree) + "\n"

    @property
    def after(self) -> str:
        """The same code with the fault in it."""
        self.site.holder[self.site.key] = self.new
        try:
            return self.before
        finally:
            self.site.holder[self.site.key] = self.site.node


@dataclass(frozen=True)
class Site:
    """A node of a module's syntax tree, and everything on which its mutants depend.

    Attributes:
        tree: the whole module.
        holder, key: `holder[key]` is the node.
        statement: the innermost statement that contains the node, or the node itself.
        place: see `Mutant`.
        names: the names that the module uses.
        assigned: the names that the function has assigned before the node.
        is_worded: whether the node is in an error message. The texts of messages are not mutated.
    """

    tree: ast.Module
    holder: Any
    key: Any
    node: ast.AST
    statement: ast.stmt
    place: str
    names: frozenset[str]
    assigned: set[str]
    is_worded: bool


def mutants_of(module: str, source: str, functions: Collection[str] = ()) -> list[Mutant]:
    """Every mutant of a module's source.

    Args:
        module: its name below the package.
        functions: the only functions to mutate; empty for the whole module.
    """
    tree = ast.parse(source)
    names = frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name)) | {*dir(builtins)}
    top = Site(tree, None, None, tree, ast.Pass(lineno=0), "", names, set(), False)
    seen: Counter[tuple[str, ...]] = Counter()
    mutants = []
    for site in _sites_below(top):
        if functions and not set(functions) & set(site.place.split(".")):
            continue
        for kind, new in _changes(site):
            change = f"{_first_line(site.node)} -> {_first_line(new)}"
            what = (site.place, kind, _first_line(site.statement), change)
            mutants.append(Mutant(module, *what, seen[what], site.statement.lineno, site, new))
            seen[what] += 1
    return mutants


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).partition("\n")[0]


def _sites_below(above: Site) -> Iterator[Site]:
    for name, value in ast.iter_fields(above.node):
        if name in SKIPPED_FIELDS:
            continue
        holder = value if isinstance(value, list) else vars(above.node)
        for key, node in enumerate(value) if isinstance(value, list) else [(name, value)]:
            if isinstance(node, ast.AST) and not _is_left_alone(node):
                yield from _sites_at(_step(above, holder, key, node))


def _sites_at(site: Site) -> Iterator[Site]:
    yield site
    yield from _sites_below(site)
    if isinstance(site.node, ast.Name) and isinstance(site.node.ctx, ast.Store):
        site.assigned.add(site.node.id)
    if isinstance(site.node, ast.arg):
        site.assigned.add(site.node.arg)


def _step(above: Site, holder: Any, key: Any, node: ast.AST) -> Site:
    """The site of a child of another site's node."""
    place, assigned = above.place, above.assigned
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        place, assigned = f"{place}.{node.name}".lstrip("."), set()
    return Site(
        above.tree,
        holder,
        key,
        node,
        node if isinstance(node, ast.stmt) else above.statement,
        place,
        above.names,
        assigned,
        above.is_worded or isinstance(node, ast.Raise | ast.JoinedStr),
    )


def _is_left_alone(node: ast.AST) -> bool:
    """Whether a node is not mutated: it has no effect on results, or only asserts something."""
    match node:
        case ast.Assert() | ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom():
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Call(func=ast.Name(id="TypeVar")):
            return True
        case ast.keyword(arg=name) if name in SKIPPED_KEYWORDS:
            return True
    return False


def _changes(site: Site) -> Iterator[Change]:
    """Every fault that a node can have."""
    match site.node:
        case ast.Compare() as node:
            yield from _comparisons(node)
        case ast.BinOp() as node:
            yield from _operators(node)
        case ast.BoolOp() as node:
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "boolean", _with(node, op=other)
        case ast.UnaryOp() as node:
            yield from _unary(node)
        case ast.Constant() as node if not (site.is_worded and isinstance(node.value, str)):
            yield from (("constant", ast.Constant(value)) for value in _other_values(node.value))
        case ast.Name(ctx=ast.Load()) as node if OPPOSITES.get(node.id) in site.names:
            yield "rounding", _with(node, id=OPPOSITES[node.id])
        case ast.Attribute(ctx=ast.Load()) as node if node.attr in OPPOSITES:
            yield "rounding", _with(node, attr=OPPOSITES[node.attr])
        case ast.If() | ast.IfExp() | ast.While() as node:
            yield from _conditions(node)
        case ast.comprehension(ifs=[_, *_]) as node:
            yield "condition", _with(node, ifs=[])
        case ast.Slice() as node:
            ends = [end for end in ("lower", "upper") if vars(node)[end] is not None]
            yield from (("slice", _with(node, **{end: None})) for end in ends)
        case ast.Call() as node:
            yield from _arguments(node)
        case ast.stmt() as node:
            yield from _statements(site, node)


def _comparisons(node: ast.Compare) -> Iterator[Change]:
    for at, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            ops = [*node.ops[:at], other(), *node.ops[at + 1 :]]
            yield "comparison", _with(node, ops=ops)


def _operators(node: ast.BinOp) -> Iterator[Change]:
    if other := OPERATORS.get(type(node.op)):
        yield "operator", _with(node, op=other())
    if isinstance(node.op, ast.FloorDiv):
        yield "rounding", _negative(_with(node, left=_negative(node.left)))


def _unary(node: ast.UnaryOp) -> Iterator[Change]:
    if not isinstance(node.operand, ast.Constant):
        yield "operator", node.operand
    match node:
        case ast.UnaryOp(ast.USub(), ast.BinOp(ast.UnaryOp(ast.USub(), left), ast.FloorDiv())):
            yield "rounding", _with(node.operand, left=left)


def _other_values(value: object) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 1.5, value / 2]
    if isinstance(value, str):
        return [OPPOSITES.get(value, "mutated")]
    return [b"mutated"] if isinstance(value, bytes) else []


def _conditions(node: ast.If | ast.IfExp | ast.While) -> Iterator[Change]:
    """A condition that is always true, and one that is always false. Tests must notice both."""
    if not isinstance(node, ast.While):
        yield "condition", _with(node, test=ast.Constant(True))
    yield "condition", _with(node, test=ast.Constant(False))


def _arguments(node: ast.Call) -> Iterator[Change]:
    is_symmetric = _first_line(node.func).rpartition(".")[2] in SYMMETRIC
    for at, pair in enumerate(zip(node.args, node.args[1:], strict=False)):
        if not (is_symmetric or any(isinstance(argument, ast.Starred) for argument in pair)):
            swapped = [*node.args[:at], *reversed(pair), *node.args[at + 2 :]]
            yield "arguments", _with(node, args=swapped)
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg not in SKIPPED_KEYWORDS:
            others = [other for other in node.keywords if other is not keyword]
            yield "arguments", _with(node, keywords=others)


def _statements(site: Site, node: ast.stmt) -> Iterator[Change]:
    match node:
        case ast.AugAssign():
            yield "removed", ast.Pass()
            yield "assignment", ast.Assign([node.target], node.value, lineno=node.lineno)
            if other := OPERATORS.get(type(node.op)):
                yield "operator", _with(node, op=other())
        case ast.Assign(targets=[target]) if _is_there_before(target, site):
            yield "removed", ast.Pass()
        case ast.Expr() | ast.Raise():
            yield "removed", ast.Pass()
        case ast.Continue():
            yield "removed", ast.Break()


def _is_there_before(target: ast.expr, site: Site) -> bool:
    """Whether the target has a value before, so that the assignment can be removed."""
    names = [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
    is_field = isinstance(target, ast.Subscript | ast.Attribute)
    return is_field or set(names) <= site.assigned


def _negative(node: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.USub(), node)


def _with(node: Node, **fields: Any) -> Node:
    """A copy of a node with other fields."""
    other = copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other
