"""``python -m numlstm`` prints the configuration; ``info`` describes a file of a model, ``convert`` writes another."""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any

from .config import show_config

FILES = ".safetensors, .onnx, .keras, .weights.h5, .pt, .pth, .pth.tar, .ckpt or .bin"
READ = FILES.replace(".weights.h5", ".h5")  # of which .weights.h5 is one


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; the exit status of the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack characters of a file's name
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    if command is None:
        show_config()
        return 0
    from .backends.contract import BackendUnavailableError, UnsupportedError

    try:
        _commands[command](**options)
    except (OSError, ImportError, TypeError, ValueError, BackendUnavailableError, UnsupportedError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m numlstm", description="Print what this installation computes with.")
    commands = parser.add_subparsers(dest="command", title="commands")
    info = commands.add_parser("info", help="describe a file", description="Describe the model in a file.")
    info.add_argument("path", metavar="FILE", help=f"a model: {READ}")
    convert = commands.add_parser(
        "convert",
        help="convert a file to another format",
        description="Read a model from one file and write it to another; the formats follow from the names.",
    )
    convert.add_argument("source", metavar="IN", help=f"a model: {READ}")
    convert.add_argument("target", metavar="OUT", help=f"the file to write: {FILES}; a file that is there is replaced")
    convert.add_argument("--to", choices=["torch"], help="write a state dict of PyTorch's to a .safetensors file")
    convert.add_argument("--layer", type=int, metavar="K", help="convert only this recurrent layer, counted from 0")
    for command in (info, convert):
        command.add_argument("--prefix", default="", help="the start of the names in a state dict of PyTorch's")
        command.add_argument("--nonlinearity", default="tanh", choices=["tanh", "relu"], help="of an RNN of PyTorch's")
        command.add_argument(
            "--config", metavar="JSON", help="the file with Keras's model.to_json(), for weights in .h5"
        )
    return parser


def _info(**options: Any) -> None:
    from .io.summary import summary

    print(summary(**options))


def _convert(**options: Any) -> None:
    from .io.converting import convert

    print(f"{options['target']}: {' '.join(repr(convert(**options)).split())}")


_commands = {"info": _info, "convert": _convert}

if __name__ == "__main__":
    sys.exit(main())
