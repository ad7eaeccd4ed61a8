"""SQL that Citus refuses, or that only part of our engines understand, found in the text of a statement.

A stand-in for a Citus cluster, which the normal suite has not: strict where Citus answers by shipping whole tables
through the coordinator, silent about what depends on earlier statements of the transaction. `SHAPES` in
tests/citus_statements.py says of each shape what Citus itself does, and a test marked citus holds it to that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from schemas import tables as t

SPREAD: dict[tuple[str, str], str] = {
    (str(table.schema), table.name): table.info["spread"] for table in t.metadata.sorted_tables if table.info["spread"]
}
NAMED = re.compile("|".join(rf"\b{schema}\.{name}\b" for schema, name in SPREAD))
UNREADABLE = "cannot be read, and names a table that is not on one machine only"
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of every GRANT


class Relation(NamedTuple):
    """What a FROM clause names: where its rows are, and by which columns they are spread."""

    place: str
    keys: frozenset[str] = frozenset()


Scope = Mapping[str, Relation]
LOCAL, COPIED, SPREAD_OUT = "local", "copied everywhere", "distributed"
BESIDE_COPIES = "change of a reference table joined with a table of the coordinator"
HERE = Relation(LOCAL)  # on the coordinator: ops, mart, and every temporary table


def refused(statement: str) -> list[str]:
    """Why Citus, or our rules, refuse a statement; empty if it may pass."""
    if re.match(r"\s*(SAVEPOINT|ROLLBACK TO|RELEASE)\b", statement, re.IGNORECASE):
        return ["SAVEPOINT: DuckDB has none"]
    try:
        trees = [tree for tree in sqlglot.parse(statement, dialect="postgres") if tree is not None]
    except SqlglotError:
        trees = [exp.Command(this=statement)]
    reasons: list[str] = []
    for tree in trees:
        if isinstance(tree, exp.Command):
            reasons += [UNREADABLE] if NAMED.search(statement) else []
        else:
            guard = _Guard()
            guard.check(tree)
            reasons += [*guard.reasons, *_forms(tree), *_constraints(tree)]
    return list(dict.fromkeys(reasons))


def _spread_of(table: exp.Expr) -> str | None:
    return SPREAD.get((table.db, table.name)) if isinstance(table, exp.Table) else None


def _is_distributed(table: exp.Expr) -> bool:
    return _spread_of(table) not in (None, t.EVERYWHERE)


def _relation(table: exp.Table) -> Relation:
    spread = _spread_of(table)
    if spread is None:
        return HERE
    return Relation(COPIED) if spread == t.EVERYWHERE else Relation(SPREAD_OUT, frozenset([spread]))


def _unwrapped(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Subquery | exp.Lateral | exp.Paren):
        node = node.this
    return node


def _own(node: exp.Expr) -> Iterator[exp.Expr]:
    """Nodes of a query that are not inside a query within it; such queries themselves are among them."""
    yield from node.walk(prune=lambda inner: inner is not node and isinstance(inner, exp.Select | exp.SetOperation))


def _inside(node: exp.Expr) -> list[exp.Expr]:
    """Queries directly within a query or statement."""
    return [inner for inner in _own(node) if inner is not node and isinstance(inner, exp.Select | exp.SetOperation)]


def _ctes(node: exp.Expr) -> list[exp.Expr]:
    listed = node.args.get("with_")
    return listed.expressions if listed else []


def _listed(node: exp.Expr) -> list[exp.Expr]:
    """What a query, UPDATE or DELETE lists in FROM, JOIN or USING, its target included."""
    start = node.args.get("from_")
    listed = [start.this] if start else []
    if isinstance(node, exp.Update | exp.Delete):
        listed = [node.this, *listed, *(node.args.get("using") or [])]
    listed += [join.this for join in node.args.get("joins") or []]
    found: list[exp.Expr] = []
    for source in listed:
        inner = _unwrapped(source)
        if isinstance(inner, exp.Table):  # also a join in brackets
            found += [inner, *_listed(inner)]
            found += _listed(source) if source is not inner else []
        else:
            found.append(source)
    return found


def _free(node: exp.Expr) -> set[str]:
    """Names of tables that a query uses without listing them: those it is correlated by."""
    if isinstance(node, exp.SetOperation):
        return _free(_unwrapped(node.this)) | _free(_unwrapped(node.expression))
    used = {column.table for column in _own(node) if isinstance(column, exp.Column) and column.table}
    used.update(*(_free(query) for query in _inside(node)))
    return used - {source.alias_or_name for source in _listed(node)}


def _conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    condition = condition.this if isinstance(condition, exp.Where) else condition
    condition = condition.unnest() if condition is not None else None
    if isinstance(condition, exp.And):
        yield from _conjuncts(condition.left)
        yield from _conjuncts(condition.right)
    elif condition is not None:
        yield condition


class _Equal:
    """Columns that conditions make equal, as classes."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, str], tuple[str, str]] = {}

    def of(self, column: tuple[str, str]) -> tuple[str, str]:
        while column in self._next:
            column = self._next[column]
        return column

    def add(self, left: tuple[str, str], right: tuple[str, str]) -> None:
        if self.of(left) != self.of(right):
            self._next[self.of(left)] = self.of(right)

    def keys(self, name: str, relation: Relation) -> set[tuple[str, str]]:
        """Classes of the columns that a relation is spread by."""
        return {self.of((name, key)) for key in relation.keys}


def _equalities(node: exp.Expr, scope: Scope) -> _Equal:
    equal = _Equal()
    joins = [
        join for source in (node, *node.find_all(exp.Table, exp.Subquery)) for join in source.args.get("joins") or []
    ]
    for join in joins:
        for column in join.args.get("using") or []:
            for name in scope:
                equal.add((join.alias_or_name, column.name), (name, column.name))
    for condition in (node.args.get("where"), *(join.args.get("on") for join in joins)):
        for part in _conjuncts(condition):
            sides = [side.unnest() for side in (part.left, part.right)] if isinstance(part, exp.EQ) else []
            if sides and all(isinstance(side, exp.Column) and side.table for side in sides):
                equal.add(*((side.table, side.name) for side in sides))
    return equal


class _Guard:
    """Walks a statement from the inside out and notes joins and correlations that Citus refuses."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def check(self, tree: exp.Expr) -> None:
        """Check a statement: whatever in it is a query or changes rows."""
        if isinstance(tree, exp.Query):
            self._query(tree, {}, {})
        elif isinstance(tree, exp.Update | exp.Delete):
            self._scoped(tree, {}, {})
        else:
            for query in _inside(tree):
                self._query(query, {}, {})

    def _query(self, node: exp.Expr, outer: Scope, named: Scope) -> Relation:
        """Check a query; returns what it is to the query that reads from it.

        Args:
            outer: what the queries around it list, which it may be correlated by.
            named: common table expressions.
        """
        node = _unwrapped(node)
        if isinstance(node, exp.SetOperation):
            named = self._with(node, outer, named)
            left, right = self._query(node.this, outer, named), self._query(node.expression, outer, named)
            names = dict(zip(_outputs(node.expression), _outputs(node.this), strict=False))
            return Relation(_place([left, right]), left.keys & {names.get(key, "") for key in right.keys})
        if not isinstance(node, exp.Select):
            return HERE
        scope, equal = self._scoped(node, outer, named)
        spread = {column for name, relation in scope.items() for column in equal.keys(name, relation)}
        columns = {output.alias_or_name: output.unalias() for output in node.expressions}
        keys = [
            name
            for name, column in columns.items()
            if isinstance(column, exp.Column) and equal.of((column.table, column.name)) in spread
        ]
        return Relation(_place(scope.values()), frozenset(keys))

    def _with(self, node: exp.Expr, outer: Scope, named: Scope) -> Scope:
        found = dict(named)
        for cte in _ctes(node):
            found[cte.alias] = self._query(cte.this, outer, found)
        return found

    def _scoped(self, node: exp.Expr, outer: Scope, named: Scope) -> tuple[Scope, _Equal]:
        """Check a SELECT, UPDATE or DELETE; returns what it lists, and which columns of that are equal."""
        named = self._with(node, outer, named)
        checked = {id(cte.this) for cte in _ctes(node)}
        scope: dict[str, Relation] = {}
        for source in _listed(node):
            name = source.alias_or_name
            if not isinstance(source, exp.Table):
                checked.add(id(_unwrapped(source)))
                scope[name] = self._query(source, {**outer, **scope}, named)  # a LATERAL one sees those before it
            else:
                scope[name] = named[source.name] if not source.db and source.name in named else _relation(source)
        equal = _equalities(node, scope)
        self._joined(node, scope, equal)
        self._correlated(node, scope, {name: outer[name] for name in _free(node) if name in outer}, equal)
        for query in _inside(node):
            if id(query) not in checked:
                self._query(query, {**outer, **scope}, named)
        return scope, equal

    def _joined(self, node: exp.Expr, scope: Scope, equal: _Equal) -> None:
        spread = [equal.keys(name, relation) for name, relation in scope.items() if relation.place == SPREAD_OUT]
        if len(spread) > 1 and not set.intersection(*spread):
            self.reasons.append("join of distributed tables that does not equate their distribution columns")
        if isinstance(node, exp.Update | exp.Delete) and _spread_of(node.this) == t.EVERYWHERE:
            others = [relation.place for name, relation in scope.items() if name != node.this.alias_or_name]
            self.reasons += [BESIDE_COPIES] if LOCAL in others else []

    def _correlated(self, node: exp.Expr, scope: Scope, used: Scope, equal: _Equal) -> None:
        """Check how a subquery hangs on what the queries around it list."""
        inside, outside = ({relation.place for relation in relations.values()} for relations in (scope, used))
        if (SPREAD_OUT in inside and LOCAL in outside) or (LOCAL in inside and SPREAD_OUT in outside):
            self.reasons.append("subquery correlated between a distributed table and one of the coordinator")
        elif SPREAD_OUT in inside and COPIED in outside:
            self.reasons.append("subquery over a distributed table correlated with a reference table")
        elif LOCAL in inside and COPIED in outside:
            change = node.find_ancestor(exp.Update, exp.Delete)
            self.reasons += [BESIDE_COPIES] if change and _spread_of(change.this) == t.EVERYWHERE else []
        elif SPREAD_OUT in inside and SPREAD_OUT in outside:
            both = [*scope.items(), *used.items()]
            keys = [equal.keys(name, relation) for name, relation in both if relation.place == SPREAD_OUT]
            if not set.intersection(*keys):
                self.reasons.append("subquery correlated off the distribution column")


def _place(relations: Iterable[Relation]) -> str:
    places = {relation.place for relation in relations}
    return next((place for place in (SPREAD_OUT, COPIED) if place in places), LOCAL)


def _outputs(query: exp.Expr) -> list[str]:
    query = _unwrapped(query)
    return [output.alias_or_name for output in query.selects] if isinstance(query, exp.Query) else []


def _forms(tree: exp.Expr) -> Iterator[str]:
    """Constructs that are refused wherever they stand in a statement, most of them over distributed tables only."""
    if any(isinstance(cte.this, exp.DML) for cte in tree.find_all(exp.CTE)):
        yield "change of rows in a CTE: DuckDB has none"
    tables = list(tree.find_all(exp.Table))
    if any(map(_spread_of, tables)):
        if isinstance(tree, exp.Merge):
            yield "MERGE with a distributed or reference table"
        if isinstance(tree, exp.Insert) and any(values.find(exp.Select) for values in tree.find_all(exp.Values)):
            yield "subquery in INSERT VALUES"
    if any(map(_is_distributed, tables)):
        if tree.find(exp.GroupingSets, exp.Rollup, exp.Cube):
            yield "GROUPING SETS, ROLLUP or CUBE"
        if any(clause.args.get("recursive") for clause in tree.find_all(exp.With)):
            yield "recursive CTE"
        if any(any(map(_is_distributed, lock.parent.find_all(exp.Table))) for lock in tree.find_all(exp.Lock)):
            yield "FOR UPDATE or FOR SHARE"
    for change in tree.find_all(exp.Update, exp.OnConflict):
        target = _target(change.this if isinstance(change, exp.Update) else change.parent.this)
        if _spread_of(target) in {value.this.name for value in change.expressions if isinstance(value, exp.EQ)}:
            yield "change of the distribution column"


def _constraints(tree: exp.Expr) -> Iterator[str]:
    """DDL: foreign keys, and keys that no single machine could watch over."""
    if not isinstance(tree, exp.Create | exp.Alter):
        return
    if tree.find(exp.Reference, exp.ForeignKey):
        yield "foreign key"
    is_index = isinstance(tree.this, exp.Index)
    table = tree.this.args["table"] if is_index else _target(tree.this)
    if not _is_distributed(table):
        return
    unique = list(tree.find_all(exp.PrimaryKey, exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint))
    if is_index and tree.args["unique"]:
        unique.append(tree.this.args["params"])
    for key in unique:
        columns = {name.name for name in (key.find_ancestor(exp.ColumnDef) or key).find_all(exp.Identifier)}
        if _spread_of(table) not in columns:
            yield f"key of a distributed table without {_spread_of(table)}"


def _target(node: exp.Expr) -> exp.Expr:
    """Table of INSERT INTO table (columns) and of CREATE TABLE."""
    return node.this if isinstance(node, exp.Schema) else node
