"""The command line: look into a log, append to it, follow it. Reads need no event classes."""

from sacho.cli.commands import main

__all__ = ["main"]
