"""Files on disk: what is no regular file is refused before it is opened, and a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path


def check_regular(path: str) -> int:
    """The mode of a regular file. Others are refused before they are opened: a pipe would wait for a writer.

    Raises
    ------
    OSError
        If there is nothing, or a folder.
    ValueError
        If it is something else.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise ValueError("it must be a regular file, got a pipe, a socket or a device")
    return mode


def check_file(path: Path) -> None:
    """As `check_regular`; the message names the file."""
    try:
        check_regular(os.fspath(path))
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from error


def write(path: str, data: bytes) -> None:
    """Replace a file, or make one: all of it, or nothing.

    Raises
    ------
    OSError
        If that cannot be done; nothing has changed then.
    ValueError
        If the path is that of something that is no regular file.
    """
    if not os.path.basename(path):  # open() says the same of it
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    path = os.path.realpath(path)  # the target of a link is replaced, not the link
    folder = os.path.dirname(path)
    mode = _permissions(path)
    temporary = os.path.join(folder, f".numlstm-{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except OSError as error:  # the message names the file that was asked for, not the temporary one
        raise OSError(error.errno, error.strerror, path) from None
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _permissions(path: str) -> int | None:
    """The permissions of the file to be replaced; None if there is none."""
    try:
        return stat.S_IMODE(check_regular(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _sync_folder(folder: str) -> None:
    """Make the new name outlast a loss of power, where the system can."""
    with suppress(OSError):  # the file is whole in any case; Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
