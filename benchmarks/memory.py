"""How much memory this process holds, and has held at most. Read from the kernel: nothing is sampled or missed."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_mib() -> float:
    """Return the resident size now (where the system does not tell, the largest so far)."""
    return _from_status("VmRSS") if _STATUS.exists() else _largest()


def peak_mib() -> float:
    """Return the largest resident size since the process began."""
    return _from_status("VmHWM") if _STATUS.exists() else _largest()


def _from_status(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{_STATUS} has no {name}")
    return int(found[1]) / 1024


def _largest() -> float:
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
