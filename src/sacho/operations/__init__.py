"""What is done to a log as a whole: copied into another engine, verified, backed up while in use, exported to files."""

from sacho.operations.backing_up import BackedUp, SupportsBackup, back_up
from sacho.operations.comparing import Digest, digest, verify
from sacho.operations.copying import Copied, copy, copy_behind
from sacho.operations.exporting import Exported, export, export_to
from sacho.operations.pipeline import Progress
from sacho.operations.positions import PositionMap, PositionRange

__all__ = [
    "BackedUp",
    "Copied",
    "Digest",
    "Exported",
    "PositionMap",
    "PositionRange",
    "Progress",
    "SupportsBackup",
    "back_up",
    "copy",
    "copy_behind",
    "digest",
    "export",
    "export_to",
    "verify",
]
