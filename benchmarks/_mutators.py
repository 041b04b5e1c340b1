"""Mutants of a module: one small change each, as replacement of a piece of its source.

Operators are those of the literature (Offutt's sufficient set: relations, connectives, arithmetic,
constants, negation, deleted statements), and exchanged `min` and `max`, `any` and `all`. Left out:
docstrings, annotations, decorators, texts of errors, and what is only for type checkers.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

RELATIONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
EXCHANGED = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil"}
OPERATORS = (
    "relation",
    "connective",
    "negation",
    "arithmetic",
    "constant",
    "condition",
    "deletion",
    "exchange",
)


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A change of one module: between two offsets of its source stands another text."""

    path: str
    function: str
    operator: str
    lines: range
    statement: range
    start: int
    end: int
    before: str
    after: str
    number: int = 0

    @property
    def line(self) -> int:
        """Where it begins."""
        return self.lines.start

    @property
    def id(self) -> str:
        """Names the change whatever else the file says: by function and texts, not by line."""
        named = "\0".join(
            (self.path, self.function, self.operator, self.before, self.after, str(self.number))
        )
        return hashlib.blake2b(named.encode(), digest_size=8).hexdigest()

    def applied(self, source: str) -> str:
        """The source with the change."""
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()


def mutants(path: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of the source; a few may not compile."""
    lines = source.encode().splitlines(keepends=True)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    found, seen = [], Counter[tuple[str, ...]]()
    for node, around, operator, after in _changes(ast.parse(source), _Around("", range(0))):
        start = offsets[node.lineno - 1] + node.col_offset
        end = offsets[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        before = source.encode()[start:end].decode()
        same = (around.function, operator, before, after)
        found.append(
            Mutant(
                path=path,
                function=around.function,
                operator=operator,
                lines=range(node.lineno, (node.end_lineno or node.lineno) + 1),
                statement=around.statement,
                start=start,
                end=end,
                before=before,
                after=after,
                number=seen[same],
            )
        )
        seen[same] += 1
    return found


def compiles(source: str) -> bool:
    """Whether a mutated source is Python at all; what is not would be a cheap kill."""
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class _Around:
    """What a change is within; `is_held` where only deletions make sense."""

    function: str
    statement: range
    is_held: bool = False


_Change = tuple[ast.expr | ast.stmt, _Around, str, str]


def _changes(node: ast.AST, around: _Around) -> Iterator[_Change]:
    """Changes of a node and of all within it."""
    if isinstance(node, ast.stmt):
        around = replace(around, statement=_head(node))
        yield from ((node, around, *each) for each in _of_statement(node))
    elif isinstance(node, ast.expr) and not around.is_held:
        yield from ((node, around, *each) for each in _of_expression(node))
    inner = around
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        inner = replace(around, function=f"{around.function}.{node.name}".lstrip("."))
    for child, is_held in _children(node):
        yield from _changes(child, replace(inner, is_held=inner.is_held or is_held))


def _head(node: ast.stmt) -> range:
    """Lines of a statement, without those of the statements in it."""
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
    return range(node.lineno, max(last, node.lineno) + 1)


def _children(node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """What is within a node and may change."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
        ast.unparse(each).endswith("overload") for each in node.decorator_list
    ):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {
        "TypeVar",
        "getLogger",
        "cast",
    }:
        return
    skipped = {"annotation", "returns", "decorator_list", "type_comment"}
    for name, value in ast.iter_fields(node):
        if name in skipped or (isinstance(node, ast.JoinedStr)):
            continue
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id in {"__all__", "__slots__"}
            for each in node.targets
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                # Of what a raise says, only the condition around it is worth a mutant.
                yield child, isinstance(node, ast.Raise)


def _of_statement(node: ast.stmt) -> Iterator[tuple[str, str]]:
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
    if is_call or isinstance(node, ast.AugAssign | ast.Raise):
        yield "deletion", "pass"
    if isinstance(node, ast.Break):
        yield "deletion", "continue"
    if isinstance(node, ast.Continue):
        yield "deletion", "break"


def _of_expression(node: ast.expr) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for number, op in enumerate(ops):
                others = [*ops[:number], RELATIONS[type(op)](), *ops[number + 1 :]]
                other = ast.Compare(left=left, ops=others, comparators=comparators)
                yield "relation", f"({ast.unparse(other)})"
        case ast.BoolOp(op=op, values=values):
            opposite = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "connective", f"({ast.unparse(ast.BoolOp(op=opposite, values=values))})"
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "negation", f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=op, right=right) if (
            type(op) in ARITHMETIC and not _is_text(left) and not _is_text(right)
        ):
            other = ast.BinOp(left=left, op=ARITHMETIC[type(op)](), right=right)
            yield "arithmetic", f"({ast.unparse(other)})"
        case ast.IfExp(test=test, body=body, orelse=orelse):
            other = ast.IfExp(test=test, body=orelse, orelse=body)
            yield "condition", f"({ast.unparse(other)})"
        case _:
            yield from _of_leaf(node)


def _of_leaf(node: ast.expr) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Constant(value=bool(value)):
            yield "constant", str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "constant", repr(value + 1)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=words) if name in EXCHANGED:
            called: ast.expr = ast.Name(id=EXCHANGED[name])
            yield "exchange", ast.unparse(ast.Call(func=called, args=args, keywords=words))
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args, keywords=words) if (
            name in EXCHANGED
        ):
            called = ast.Attribute(value=owner, attr=EXCHANGED[name])
            yield "exchange", ast.unparse(ast.Call(func=called, args=args, keywords=words))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def sample(sources: dict[str, str], *, count: int, seed: int) -> list[Mutant]:
    """Draw `count` mutants, of each operator as many where there are enough.

    The order of the draw is that of a hash of each, so a change elsewhere moves few of the others.
    """

    def drawn(mutant: Mutant) -> str:
        return hashlib.blake2b(f"{seed} {mutant.id}".encode()).hexdigest()

    every = [each for path, source in sources.items() for each in mutants(path, source)]
    queues = {
        name: iter(sorted((each for each in every if each.operator == name), key=drawn))
        for name in OPERATORS
    }
    chosen: list[Mutant] = []
    while len(chosen) < count and queues:
        for name, queue in list(queues.items()):
            good = (each for each in queue if compiles(each.applied(sources[each.path])))
            mutant = next(good, None)
            if mutant is None:
                del queues[name]
            else:
                chosen.append(mutant)
    return sorted(chosen[:count], key=lambda mutant: (mutant.path, mutant.start))
