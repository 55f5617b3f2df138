"""``python -m numlstm`` prints the configuration; ``info`` and ``convert`` deal with files of models."""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any

from .config import show_config

FILES = ".safetensors, .onnx, .keras, .weights.h5, .pt, .pth, .pth.tar, .ckpt or .bin"
READ = FILES.replace(".weights.h5", ".h5")  # of which .weights.h5 is one


def main(arguments: list[str] | None = None) -> int:
    """Do what a command line says; what the process is to exit with."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be anything
    given = vars(_parser().parse_args(arguments))
    command = given.pop("command")
    if command is None:
        show_config()
        return 0
    from .backends.contract import BackendUnavailableError, UnsupportedError

    try:
        _commands[command](**given)
    except (OSError, ImportError, TypeError, ValueError, BackendUnavailableError, UnsupportedError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m numlstm", description="Print what this installation computes with.")
    commands = parser.add_subparsers(dest="command", title="commands")
    info = commands.add_parser("info", help="say what is in a file", description="Say what is in the file of a model.")
    info.add_argument("path", metavar="FILE", help=f"a model: {READ}")
    convert = commands.add_parser(
        "convert",
        help="from one format of files to another",
        description="Read a model from one file and write it to another; the formats follow from the names.",
    )
    convert.add_argument("source", metavar="IN", help=f"a model: {READ}")
    convert.add_argument("target", metavar="OUT", help=f"what to write: {FILES}; what is there is replaced")
    convert.add_argument("--to", choices=["torch"], help="what a .safetensors file is to hold, if not numlstm's own")
    convert.add_argument("--layer", type=int, metavar="K", help="only this one of the recurrent layers, from 0")
    for each in (info, convert):
        each.add_argument("--prefix", default="", help="what names in a state dict of PyTorch's begin with")
        each.add_argument("--nonlinearity", default="tanh", choices=["tanh", "relu"], help="of an RNN of PyTorch's")
        each.add_argument(
            "--config", metavar="JSON", help="what Keras's model.to_json() gave, for weights alone in .h5"
        )
    return parser


def _info(**given: Any) -> None:
    from .io.summary import summary

    print(summary(**given))


def _convert(**given: Any) -> None:
    from .io.converting import convert

    print(f"{given['target']}: {' '.join(repr(convert(**given)).split())}")


_commands = {"info": _info, "convert": _convert}

if __name__ == "__main__":
    sys.exit(main())
