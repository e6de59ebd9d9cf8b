"""What is done to a log as a whole: copy it into another engine, verify a copy, back it up while it is in use."""

from sacho.operations.backing_up import BackedUp, SupportsBackup, back_up
from sacho.operations.comparing import Digest, digest, verify
from sacho.operations.copying import Copied, copy, copy_behind
from sacho.operations.pipeline import Progress
from sacho.operations.positions import PositionMap, PositionRange

__all__ = [
    "BackedUp",
    "Copied",
    "Digest",
    "PositionMap",
    "PositionRange",
    "Progress",
    "SupportsBackup",
    "back_up",
    "copy",
    "copy_behind",
    "digest",
    "verify",
]
