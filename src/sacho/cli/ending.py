"""How a command ends: its exit code, and every error as one line on standard error, without traceback or secrets."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum

import cyclopts

from sacho.cli.escaping import visible, without_credentials, without_urls
from sacho.errors import (
    ConfigurationError,
    Conflict,
    DuplicateConsumer,
    InvalidConsumer,
    InvalidInput,
    SachoError,
    StorageError,
    UnknownConsumer,
    ViewsUnreachable,
)


class Exit(IntEnum):
    """The exit codes; scripts rely on them."""

    DONE = 0
    OTHERWISE = 1
    USAGE = 2
    CONFLICT = 3
    BAD_INPUT = 4
    STORAGE = 5
    INTERRUPTED = 130


def ended(work: Callable[[], object], arguments: Sequence[str]) -> Exit:
    """Do the work and return how it ended; an error has been told by then.

    A reader that has gone away (`| head`) is no error: it has what it wanted.
    """
    try:
        if sys.stdout is None:
            return _failed(Exit.OTHERWISE, "standard output is closed")
        _prepare_output()
        work()
        sys.stdout.flush()
        return Exit.DONE
    except BrokenPipeError:
        return Exit.DONE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except cyclopts.CycloptsError as error:
        return _failed(Exit.USAGE, " ".join(without_urls(str(error), arguments).split()))
    except SachoError as error:
        return _failed(_code(error), str(error))
    except OSError as error:
        return _failed(Exit.OTHERWISE, str(error))
    except Exception as error:
        return _failed(Exit.OTHERWISE, f"unexpected {type(error).__name__}: {error}; please report it")
    finally:
        _let_go_of_output()


def _prepare_output() -> None:
    """See to it that no locale stands in the way of a name, and that output is buffered.

    With PYTHONUNBUFFERED each line would cost a system call, and a signal could cut one short.
    """
    out = sys.stdout
    if isinstance(out.buffer, io.RawIOBase):
        sys.stdout = open(out.fileno(), "w", encoding=out.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115 - it lives as long as the program
    elif isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="backslashreplace")


def _failed(code: Exit, message: str) -> Exit:
    with suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(f"sacho: error: {visible(without_credentials(message))}\n")
    return code


def _code(error: SachoError) -> Exit:
    match error:
        case Conflict():
            return Exit.CONFLICT
        case ConfigurationError() | InvalidConsumer() | DuplicateConsumer() | UnknownConsumer():
            return Exit.USAGE
        case InvalidInput():
            return Exit.BAD_INPUT
        case StorageError() | ViewsUnreachable():
            return Exit.STORAGE
        case _:
            return Exit.OTHERWISE


def _let_go_of_output() -> None:
    """Write what is left, or else see to it that the interpreter, at its end, does not complain that it cannot."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
