"""Chances: how often what goes wrong in a simulation."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

_FACTORS: Final = (0.0, 0.5, 1.0, 2.0)


class Chances(msgspec.Struct, frozen=True):
    """How likely what is, from 0 to 1. Each seed has its own weather: some of these twice as likely, some not at all.

    At each write of a worker: `crash` before, amid or after it; `unreachable`, the log gives no answer, whether it wrote or
    not; `race`, another worker does something between what was read and the write.

    At each delivery: `again`, what was delivered since the checkpoint is delivered once more, by any worker; `late`, the
    event comes once more some time later, by a worker that lost its lease and does not know.

    `doubled`: a command from outside comes once more. At each step: `clock`, a worker's clock is set back by up to an hour;
    `time` goes on although there is something to do.
    """

    crash: float = 0.02
    unreachable: float = 0.02
    race: float = 0.05
    again: float = 0.05
    late: float = 0.02
    doubled: float = 0.1
    clock: float = 0.01
    time: float = 0.1

    def weather(self, dice: Random) -> Chances:
        """Return the chances of one seed."""
        return Chances(*(value * dice.choice(_FACTORS) for value in msgspec.structs.astuple(self)))


CALM: Final = Chances(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Nothing goes wrong. Deliveries still come in any order across keys."""
