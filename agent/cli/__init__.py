"""The command line: a table of commands, each in a file of its own that is loaded when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from agent import SPOOL_FORMAT, __version__

# command -> the function, or the typer.Typer of a group of commands. `run` is there for the help:
# agent/__main__.py starts it without typer and rich, which would cost memory for as long as it runs.
COMMANDS = {
    "audit": "agent.cli.audit:audit",
    "check": "agent.cli.check:check",
    "cloud-insight": "agent.cli.insight:app",
    "dataflow": "agent.cli.dataflow:app",
    "dead-letters": "agent.cli.dead_letters:app",
    "demo": "agent.cli.demo:demo",
    "init": "agent.cli.init:init",
    "obsrv": "agent.cli.obsrv:app",
    "once": "agent.cli.once:once",
    "plugins": "agent.cli.plugins:plugins",
    "spool": "agent.cli.spool:app",
    "verify-delivery": "agent.cli.verify:verify_delivery",
}

_CLICK_USAGE = 2  # how typer ends when the command line is wrong


def app(arguments: Sequence[str] | None = None) -> None:
    """Run one command of the command line and exit with its status (docs/operations.md)."""
    import typer

    words = list(sys.argv[1:] if arguments is None else arguments)
    main = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )

    @main.callback()
    def about(
        version: bool = typer.Option(
            False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ) -> None:
        """
        Forwards host metrics and MQTT messages through a durable spool to NAVER Cloud Insight, Obsrv and Rackspace.
        """

    asked = words[:1] if words and words[0] in COMMANDS else COMMANDS  # the help wants all of them
    for command in asked:
        module, _, name = COMMANDS[command].partition(":")
        found = getattr(import_module(module), name)
        if isinstance(found, typer.Typer):
            main.add_typer(found, name=command)
        else:
            main.command(command)(found)
    if asked is COMMANDS:
        main.command("run")(_run)
    try:
        main(words, prog_name="telemetry-agent")
    except SystemExit as end:
        if end.code != _CLICK_USAGE:
            raise
        from agent.service.exits import Exit

        sys.exit(Exit.USAGE)
    except Exception as error:
        from agent.errors import StateRefused
        from agent.service.exits import Exit, exit_code

        if isinstance(error, PermissionError) and error.filename:
            error = StateRefused(error.filename)
        code = exit_code(error)
        if code is Exit.SOFTWARE:
            raise
        print(error, file=sys.stderr)
        sys.exit(code)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"telemetry-agent {__version__} (spool format {SPOOL_FORMAT})")
        sys.exit(0)


def _run() -> None:
    """Collect and send until stopped."""
    from agent.cli.run import main

    sys.exit(main(sys.argv[2:]))
