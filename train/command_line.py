"""The command line, made from the options classes: a flag is a field's name with dashes."""

import argparse
import dataclasses
import inspect
import types
import typing
from typing import Any, NoReturn

from tokenizer.inputs import typed
from train import __version__
from train.options import COMMANDS, PROGRAM, Options, did_you_mean

# The headings of --help in their order; each options class names the one for its own fields.
GROUPS = ["data", "model", "training", "probe", "evaluation", "prediction", "trace"]
GROUPS += ["comparison", "report", "run"]


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose error is one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def parse(arguments: list[str]) -> tuple[str, Any]:
    """Command and options of a command line; leaves with status 2 and one line on a mistake."""
    parser = Parser(PROGRAM, description="Text classification with DistilBERT.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"minibert {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    parsers = {}
    for name, options_class in COMMANDS.items():
        parsers[name] = commands.add_parser(
            name,
            description=options_class.__doc__,
            help=options_class.__doc__,
            epilog=options_class.example and f"example: {PROGRAM} {options_class.example}",
            allow_abbrev=False,
        )
        add_fields(parsers[name], options_class)
    first = next((word for word in arguments if not word.startswith("-")), None)
    if first is not None and first not in COMMANDS:
        near = did_you_mean(first, COMMANDS)
        parser.error(f"invalid choice: {first!r}, not one of {', '.join(COMMANDS)}{near}")
    values, unknown = parser.parse_known_args(arguments)
    given = vars(values)
    # argparse has no SUPPRESS for positional arguments: none typed leaves an empty list.
    given = {name: value for name, value in given.items() if value != []}
    for name in given.keys() & {"text", "texts"}:
        given[name] = [typed(text) for text in given[name]]
    command = given.pop("command")
    if unknown:
        known = [word for action in parsers[command]._actions for word in action.option_strings]
        near = did_you_mean(unknown[0].partition("=")[0], known)
        parsers[command].error(f"unrecognized arguments: {' '.join(unknown)}{near}")
    try:
        return command, COMMANDS[command](**given)
    except ValueError as error:
        parsers[command].error(str(error))


def add_fields(parser: argparse.ArgumentParser, options_class: type[Options]) -> None:
    """A command-line argument for each field, under the heading of the class that defines it."""
    headings: dict[str, str] = {}  # of every field
    for parent in reversed(options_class.__mro__):
        for name in inspect.get_annotations(parent):
            headings.setdefault(name, getattr(parent, "group", ""))
    fields = dataclasses.fields(options_class)  # type: ignore[arg-type]
    for heading in sorted(set(headings.values()) - {""}, key=GROUPS.index):
        group = parser.add_argument_group(heading)
        for field in fields:
            if headings[field.name] == heading:
                add_field(group, field)


def add_field(parser: argparse._ArgumentGroup, field: dataclasses.Field) -> None:
    """One dataclass field becomes one command-line argument."""
    meta = {name: field.metadata[name] for name in ("nargs", "choices") if name in field.metadata}
    help = field.metadata["help"]
    if field.metadata.get("positional"):
        parser.add_argument(field.name, help=help, **meta)
        return
    # SUPPRESS: a flag that is not typed leaves no value, so that `Options` sees what was given.
    meta["default"] = argparse.SUPPRESS
    name = "--" + field.name.replace("_", "-")
    if field.type is bool:
        parser.add_argument(name, help=help, action="store_true", default=argparse.SUPPRESS)
        return
    kind = field.type
    if isinstance(kind, types.UnionType):  # `int | None`: typed, it is an int
        kind = typing.get_args(kind)[0]
    if kind in (int, float):
        meta["type"] = kind
    if field.default not in (None, ""):
        help += f" (default: {field.default})"
    parser.add_argument(name, help=help.replace("%", "%%"), **meta)
