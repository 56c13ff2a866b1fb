"""Rows by SQL that is written once, for what every photo asks.

Django builds each of its statements anew, which takes more time than PostgreSQL does. Both databases read
these.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Field, Model

Converter = Callable[[Any], Any]

INSERT = 'INSERT INTO "%s" (%s) VALUES '
# PostgreSQL reads one JSON in a third of the time that a value for each column and row takes to write.
INSERT_JSON = 'INSERT INTO "{0}" ({1}) SELECT {1} FROM json_populate_recordset(NULL::"{0}", %s)'
SAVE = ' ON CONFLICT ("id") DO UPDATE SET %s'
LOCK = re.compile(r"FOR (KEY SHARE|UPDATE)( OF \w+)?( SKIP LOCKED)?")


def fields_of(model: type[Model]) -> dict[str, "Field[Any, Any]"]:
    """The fields that are columns, by the names of their values."""
    columns = model._meta.concrete_fields  # noqa: SLF001  # documented, for all its underscore
    return {field.attname: field for field in columns}


@cache
def columns(model: type[Model], table: str) -> str:
    """The columns of a model, for a statement that calls its table so."""
    return ", ".join(f'{table}."{field.column}"' for field in fields_of(model).values())


def read(sql: str, values: Sequence[Any], **tables: type[Model]) -> list[list[Any]]:
    """Each row as instances of these models, whose columns it begins with, and its further values.

    `{name}` in the statement stands for the columns of the table of this name, and `%s` for a value, or for
    the values of a list. None in place of an instance without a key, as outer joins give. Where transactions
    run one after the other, no rows are locked.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            with_lists(spelled(sql, tuple(tables.items()), connection.vendor), values), adapted(values)
        )
        rows = cursor.fetchall()
    shapes = [shape(model, connection.vendor) for model in tables.values()]
    return [list(parts_of(row, [*tables.values()], shapes)) for row in rows]


@cache
def spelled(sql: str, tables: Sequence[tuple[str, type[Model]]], vendor: str) -> str:
    for table, model in tables:
        sql = sql.replace(f"{{{table}}}", columns(model, table))
    return LOCK.sub("", sql) if vendor == "sqlite" else sql


def with_lists(sql: str, values: Sequence[Any]) -> str:
    """With a placeholder for each value of a list."""
    first, *others = sql.split("%s")
    marks = [marks_of(value) if isinstance(value, list) else "%s" for value in values]
    return first + "".join(mark + other for mark, other in zip(marks, others, strict=True))


def marks_of(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def parts_of(row: Sequence[Any], models: Sequence[type[Model]], shapes: Sequence[Any]) -> Any:
    start = 0
    for model, (names, key, converters) in zip(models, shapes, strict=True):
        values = list(row[start : start + len(names)])
        start += len(names)
        for index, convert in converters:
            values[index] = convert(values[index])
        yield None if values[key] is None else model.from_db(connection.alias, names, values)
    yield from row[start:]


@cache
def shape(model: type[Model], _vendor: str) -> tuple[list[str], int, list[tuple[int, Converter]]]:
    """The names of a model's values, the place of its key, and what makes values of the database's."""
    fields = fields_of(model)
    key = next(index for index, field in enumerate(fields.values()) if field.primary_key)
    converters = [
        (index, converter_of(field, converter))
        for index, field in enumerate(fields.values())
        for converter in [
            *connection.ops.get_db_converters(field.get_col("")),
            *field.get_db_converters(connection),
        ]
    ]
    return list(fields), key, converters


def converter_of(field: "Field[Any, Any]", converter: Callable[..., Any]) -> Converter:
    expression = field.get_col("")
    return lambda value: converter(value, expression, connection)


def adapted(values: Sequence[Any]) -> list[Any]:
    """The values, and those of lists, as the database's own library takes them."""
    flat = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return [adapted_to_sqlite(value) for value in flat] if connection.vendor == "sqlite" else flat


def adapted_to_sqlite(value: Any) -> Any:
    match value:
        case UUID():
            return value.hex
        case datetime():
            return connection.ops.adapt_datetimefield_value(value)
    return value


def as_id(value: Any) -> UUID:
    """The id in a value of `read`: SQLite has texts."""
    return value if isinstance(value, UUID) else UUID(value)


def write(*parts: tuple[Sequence[Model], Sequence[str]]) -> None:
    """Insert rows or, where fields are named, save these fields of rows that exist and are locked.

    Each part has rows of one model, and no two parts the same. Saving is an insert that always conflicts: a
    fraction of the work of bulk_update's CASE for each field and row. Needs a transaction.
    """
    statements = [insertion(part, update) for rows, update in parts for part in batches(rows)]
    if statements and connection.vendor == "postgresql":
        statements = [together(statements)]
    for sql, values in statements:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
    for rows, _ in parts:
        for row in rows:
            row._state.adding = False  # noqa: SLF001  # documented, for all its underscore


def batches(rows: Sequence[Model]) -> list[Sequence[Model]]:
    """SQLite takes a limited number of values at once."""
    if not rows:
        return []
    size = connection.ops.bulk_batch_size(list(fields_of(type(rows[0])).values()), rows)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def together(statements: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    """As one statement. None of them sees what the others write."""
    *others, last = [sql for sql, _ in statements]
    named = [f"part{number} AS ({sql})" for number, sql in enumerate(others)]
    start = f"WITH {', '.join(named)} " if named else ""
    return start + last, [value for _, values in statements for value in values]


def insertion(rows: Sequence[Model], update: Sequence[str]) -> tuple[str, list[Any]]:
    model = type(rows[0])
    fields = [*fields_of(model).values()] if update else told_fields(rows)
    begin, row, end = insert_texts(
        model, tuple(field.attname for field in fields), tuple(update), connection.vendor
    )
    lines = [[told_value(each, field, saved=bool(update)) for field in fields] for each in rows]
    if connection.vendor == "postgresql":
        names = [field.column for field in fields]
        return f"{begin}{end}", [as_json([dict(zip(names, line, strict=True)) for line in lines])]
    values = [
        field.get_db_prep_save(value, connection)
        for line in lines
        for field, value in zip(fields, line, strict=True)
    ]
    return f"{begin}{', '.join([row] * len(rows))}{end}", values


def told_value(row: Model, field: "Field[Any, Any]", *, saved: bool) -> Any:
    return getattr(row, field.attname) if saved else field.pre_save(row, add=True)


def text_of(value: Any) -> str:
    match value:
        case UUID() | datetime():
            return str(value)
    raise TypeError(f"No column takes {value!r}.")


# NaN is no JSON.
as_json = json.JSONEncoder(default=text_of, ensure_ascii=False, allow_nan=False).encode


def told_fields(rows: Sequence[Model]) -> "list[Field[Any, Any]]":
    """Without those that the database fills in itself as all rows have them: each value takes time."""
    left_out = {
        name
        for name, default in defaults_of(type(rows[0])).items()
        if all(getattr(row, name) == default for row in rows)
    }
    return [field for name, field in fields_of(type(rows[0])).items() if name not in left_out]


@cache
def defaults_of(model: type[Model]) -> dict[str, Any]:
    """What the database fills in itself, by the names of the values."""
    return {
        name: field.get_default()
        for name, field in fields_of(model).items()
        if field.has_db_default() or (field.null and not field.has_default())
    }


@cache
def insert_texts(
    model: type[Model], told: tuple[str, ...], update: tuple[str, ...], vendor: str
) -> tuple[str, str, str]:
    """What an INSERT of these values says before its rows, for a row, and after them."""
    fields = [fields_of(model)[name] for name in told]
    names = ", ".join(f'"{field.column}"' for field in fields)
    saved = ", ".join(
        f'"{field.column}" = excluded."{field.column}"' for field in fields if field.name in update
    )
    end = SAVE % saved if update else ""
    table = model._meta.db_table  # noqa: SLF001  # as above
    begin = INSERT_JSON.format(table, names) if vendor == "postgresql" else INSERT % (table, names)
    return begin, f"({marks_of(fields)})", end
