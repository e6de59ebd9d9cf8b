"""Process managers: what one event leads to, across entities and across time. Each step is one append."""

from sacho.reacting.processes.declaring import continues, on_deadline, on_refusal, starts
from sacho.reacting.processes.process_manager import ProcessManager
from sacho.reacting.processes.reactions import Become, CancelDeadline, Done, Moment, Reaction, Send, SetDeadline

__all__ = [
    "Become",
    "CancelDeadline",
    "Done",
    "Moment",
    "ProcessManager",
    "Reaction",
    "Send",
    "SetDeadline",
    "continues",
    "on_deadline",
    "on_refusal",
    "starts",
]
