"""`cloud-insight schema`: custom schemas made, compared, changed and removed, as the mapping needs them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import state as states
from agent.cli.insight.differences import Difference, differences, kind, merged, misfits, words
from agent.cli.insight.mapped import Mapped, chosen, keep_key, mapped
from agent.cli.insight.reach import Sink, reach, say
from agent.delivery.episode import describe
from agent.errors import Retryable
from agent.ncloud import Unreadable
from agent.ncloud.cloud_insight import CloudInsight
from agent.service.exits import Exit, exit_code
from agent.sinks.cloud_insight.keys import NoKey, resolved

app = typer.Typer(no_args_is_help=True, help="Custom schemas: show, make, change, remove, compare with the mapping.")

Name = Annotated[
    str | None, typer.Argument(help="Product name, such as Custom/Host. [default: the sink's only schema]")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this it is only told what would be done.")]


@app.callback()
def about() -> None:
    """
    Custom schemas of Cloud Insight: what rows a product takes.

    create, update and verify go by the sink's mapping: its preset, or a table [[sinks.NAME.schema]].
    """


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Any product name. [default: those of the sink]")] = None,
    config: states.Config = None,
    sink: Sink = None,
    cw_key: Annotated[str | None, typer.Option("--cw-key", help="Its key, where several have the name.")] = None,
    as_json: states.AsJson = False,
) -> None:
    """Show a schema as the service has it: key, fields, types and aggregations."""
    way = reach(config, sink)
    names = [name] if name else [each.name for each in mapped(way) if each.name]
    if not names:
        states.fail(f"expected a product name: the schemas of sinks.{way.name} have none", Exit.USAGE)

    async def every(insight: CloudInsight) -> list[dict[str, Any] | None]:
        return [await insight.schema(each, cw_key) for each in names]

    found = dict(zip(names, way.ask(every), strict=True))
    there = [schema for schema in found.values() if schema is not None]
    if as_json:
        states.print_json(there)
    else:
        for schema in there:
            _print(schema)
    if missing := [each for each, schema in found.items() if schema is None]:
        # A name that was given is one that nobody has; those of the configuration are lacking.
        code = Exit.REFUSED if name else Exit.UNVERIFIED
        states.fail(states.printable(f"there is no schema {', '.join(missing)}"), code)


@app.command("system")
def system(config: states.Config = None, sink: Sink = None, as_json: states.AsJson = False) -> None:
    """List NAVER's own schemas and their keys; the service does not list custom ones."""
    found = reach(config, sink).ask(CloudInsight.system_schemas)
    if as_json:
        states.print_json(found)
    else:
        states.print_table(("product", "cw_key"), [(row.get("prodName", ""), row.get("cw_key", "")) for row in found])


@app.command()
def create(
    name: Name = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the key there. [default: the schema's cw_key_file]")
    ] = None,
    use_custom_resource: Annotated[
        bool, typer.Option("--use-custom-resource", help="Let its targets be registered as custom resources.")
    ] = False,
    config: states.Config = None,
    sink: Sink = None,
    as_json: states.AsJson = False,
) -> None:
    """Make the schema that the mapping needs and print its key. One that is there already is left as it is."""
    way = reach(config, sink)
    wanted = chosen(way, name)
    key, there = way.ask(partial(_made, wanted=wanted, custom=use_custom_resource))
    changes = [] if there is None else differences(there["fields"], wanted.fields)
    file = output or wanted.key_file
    failure: OSError | None = None
    if file is not None:
        try:  # before anything is printed: whoever reads it may be gone
            keep_key(file, key, agents=way.config.spool.directory)
        except OSError as error:
            failure = error
    if as_json:
        written = str(file) if file is not None and failure is None else None
        said = {"name": wanted.name, "cw_key": key, "created": there is None, "file": written}
        states.print_json({**said, "differences": [_as_json(each) for each in changes]})
    else:
        print(f"{wanted.name} {'made' if there is None else 'exists, and no second one was made'}: cw_key {key}")
    if file is not None:
        if failure is not None:
            states.fail(f"{file}: the key was not written: {failure.strerror or failure}", exit_code(failure))
        say(f"the key is in {file}")
    if wanted.key not in (None, key) or (wanted.key is None and wanted.key_file is None):
        say(f'{wanted.place} in the configuration needs: cw_key = "{key}"')
    elif wanted.key_file is not None and file != wanted.key_file:
        say(f"{wanted.place} in the configuration reads {wanted.key_file}")
    if bad := misfits(changes):
        _print_changes(bad)
        how = f'"schema update {wanted.name}" changes it'
        states.fail(f"{wanted.name} does not take all that {wanted.place} would send; {how}", Exit.UNVERIFIED)


@app.command()
def update(
    name: Name = None, yes: Yes = False, config: states.Config = None, sink: Sink = None, as_json: states.AsJson = False
) -> None:
    """Give a schema the fields that the mapping needs, all of them; what is to change is printed first."""
    way = reach(config, sink)
    wanted = chosen(way, name)

    async def changed(insight: CloudInsight) -> tuple[str, list[Difference]]:
        there = await _there(insight, wanted.name)
        found = differences(there["fields"], wanted.fields)
        if found and yes:
            await insight.update_schema(wanted.name, there["cw_key"], merged(there["fields"], wanted.fields))
        return there["cw_key"], found

    key, found = way.ask(changed)
    if as_json:
        said = {"name": wanted.name, "cw_key": key, "updated": bool(found) and yes}
        states.print_json({**said, "differences": [_as_json(each) for each in found]})
    else:
        _print_changes(found)
    if not found:
        say(f"{wanted.name} (cw_key {key}) has what {wanted.place} needs: nothing to change")
    elif not yes:
        states.fail(f"nothing was changed: --yes gives {wanted.name} (cw_key {key}) these fields", Exit.USAGE)
    else:
        say(f"{wanted.name} (cw_key {key}) is changed")


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="Product name, such as Custom/Host.")],
    yes: Yes = False,
    config: states.Config = None,
    sink: Sink = None,
    cw_key: Annotated[str | None, typer.Option("--cw-key", help="Its key, where several have the name.")] = None,
    as_json: states.AsJson = False,
) -> None:
    """Remove a schema and with it what it has gathered."""
    way = reach(config, sink)
    key = way.ask(partial(_deleted, name=name, cw_key=cw_key, yes=yes))
    if as_json:
        states.print_json({"name": name, "cw_key": key, "deleted": yes})
    elif yes:
        print(f"{states.printable(name)} (cw_key {key}) is removed")
    if not yes:
        states.fail(f"nothing was removed: --yes removes {states.printable(name)} (cw_key {key})", Exit.USAGE)


@app.command()
def verify(name: Name = None, config: states.Config = None, sink: Sink = None, as_json: states.AsJson = False) -> None:
    """Look whether the service has what the mapping would send: key, dimensions, metrics, types."""
    way = reach(config, sink)
    every = mapped(way) if name is None and len(mapped(way)) > 1 else [chosen(way, name)]

    async def compared(insight: CloudInsight) -> list[dict[str, Any]]:
        return [await _verified(insight, each) for each in every]

    outcomes = way.ask(compared)
    if as_json:
        states.print_json(outcomes)
    else:
        for each in outcomes:
            _print_outcome(each)
    bad = [each["name"] for each in outcomes if each["problems"]]
    if bad:
        states.fail(f"not as sinks.{way.name} needs it: {', '.join(bad)}", Exit.UNVERIFIED)


async def _made(insight: CloudInsight, *, wanted: Mapped, custom: bool) -> tuple[str, dict[str, Any] | None]:
    """The key of the schema, and the schema where it was there before."""
    if there := await insight.schema(wanted.name):
        return there["cw_key"], there
    try:
        return await insight.create_schema(wanted.name, [field.row() for field in wanted.fields], custom), None
    except (Retryable, Unreadable) as failure:
        doubtful = isinstance(failure, Unreadable) or failure.ambiguous or failure.status == 503
        # The service may have made it all the same: then a second try would make a second one.
        if not doubtful or (there := await insight.schema(wanted.name)) is None:
            raise
        say(f"{describe(failure)}; it was made all the same")
        return there["cw_key"], None


async def _there(
    insight: CloudInsight, name: str, cw_key: str | None = None, *, code: Exit = Exit.UNVERIFIED
) -> dict[str, Any]:
    """The schema. Ends the command where there is none."""
    found = await insight.schema(name, cw_key)
    if found is None:
        states.fail(states.printable(f"there is no schema {name}{f' of cw_key {cw_key}' if cw_key else ''}"), code)
    return found


async def _deleted(insight: CloudInsight, *, name: str, cw_key: str | None, yes: bool) -> str:
    key: str = (await _there(insight, name, cw_key, code=Exit.REFUSED))["cw_key"]
    if yes:
        try:
            await insight.delete_schema(name, key)
        except Retryable as failure:
            # Of a removal whose answer was lost the next try is told that there is no such schema.
            if await insight.schema(name, key) is not None:
                raise
            say(f"{describe(failure)}; it is gone")
    return key


async def _verified(insight: CloudInsight, wanted: Mapped) -> dict[str, Any]:
    found = await insight.schema(wanted.name) if wanted.name else None
    problems, notes = [], []
    if not wanted.name:
        problems.append(f'{wanted.place} has no name: expected name = "Custom/..."')
    elif found is None:
        problems.append("the service has no schema of that name")
    else:
        changes = differences(found["fields"], wanted.fields)
        bad = misfits(changes)
        problems += [str(each) for each in bad]
        notes += [str(each) for each in changes if each not in bad]
        try:
            key = await resolved(wanted.table.schema.key)
        except NoKey as failure:
            problems.append(failure.reason)
        else:
            if key != found["cw_key"]:
                problems.append(f"the configuration has cw_key {key}, the service {found['cw_key']}")
    cw_key = found and found["cw_key"]
    return {"name": wanted.label, "cw_key": cw_key, "problems": problems, "notes": notes, "fields": len(wanted.fields)}


def _print(schema: dict[str, Any]) -> None:
    custom = ", custom resource" if schema.get("useCustomResource") else ""
    print(states.printable(f"{schema.get('prodName')}: cw_key {schema['cw_key']}{custom}"))
    rows = [
        (row.get("name", ""), kind(row), words(row).removeprefix(f"{kind(row)} "), row.get("desc") or "")
        for row in schema["fields"]
    ]
    states.print_table(("field", "kind", "type", "description"), rows)


def _print_changes(found: list[Difference]) -> None:
    for each in found:
        print(states.printable(str(each)))


def _print_outcome(outcome: dict[str, Any]) -> None:
    key = f": cw_key {outcome['cw_key']}" if outcome["cw_key"] else ""
    named = states.printable(f"{outcome['name']}{key}")
    if not outcome["problems"]:
        print(f"{named}: as the mapping needs it, {outcome['fields']} fields")
    for text in outcome["problems"]:
        print(f"{named}: {states.printable(text)}")
    for text in outcome["notes"]:
        print(f"{named}: note: {states.printable(text)}")


def _as_json(each: Difference) -> dict[str, str]:
    return {"change": each.change, "field": each.field, "what": each.what, "there": each.there, "here": each.here}
