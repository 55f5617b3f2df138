"""``python -m numlstm``: print the configuration; ``python -m numlstm info FILE``: say what is in a saved model."""

from __future__ import annotations

import argparse
import sys

from .config import show_config


def main(arguments: list[str] | None = None) -> int:
    """Do what a command line says; what the process is to exit with."""
    parser = argparse.ArgumentParser("python -m numlstm", description="Print what this installation computes with.")
    commands = parser.add_subparsers(dest="command", title="commands")
    info = commands.add_parser("info", help="say what is in a saved model", description="Say what is in a saved model.")
    info.add_argument("file", metavar="FILE", help="what save() wrote")
    given = parser.parse_args(arguments)
    if given.command is None:
        show_config()
        return 0
    from .io.summary import summary

    try:
        print(summary(given.file))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
