"""What reacts to events: consumers, projections and process managers, driven by one runner; checkpoints, leases, parked events."""

from sacho.reacting.administration import Administration, PartitionStatus, Status
from sacho.reacting.application import Application
from sacho.reacting.bookkeeping import Parked
from sacho.reacting.changes import Changes
from sacho.reacting.comparing import Comparison, Difference, TableComparison
from sacho.reacting.consumer import Consumer, Delivery
from sacho.reacting.declaring import handles
from sacho.reacting.documents import Documents, DocumentView, EntityView
from sacho.reacting.folding import Folded, fold
from sacho.reacting.handled import HandledIds
from sacho.reacting.messaging import (
    Accepted,
    Context,
    Inbox,
    JetStreamSource,
    JetStreamTarget,
    LogTarget,
    Message,
    PublicEvent,
    Relay,
    Target,
    WebhookTarget,
    accepts,
    one_by_one,
    publishes,
    verify_webhook,
)
from sacho.reacting.processes import (
    Become,
    CancelDeadline,
    Done,
    Moment,
    ProcessManager,
    Reaction,
    Send,
    SetDeadline,
    continues,
    on_deadline,
    on_refusal,
    starts,
)
from sacho.reacting.processes.overview import ProcessDetail, Processes, ProcessStatus
from sacho.reacting.projection import Projection
from sacho.reacting.runner import Runner
from sacho.reacting.tables import Generation
from sacho.reacting.viewing import DocumentReader, View

__all__ = [
    "Accepted",
    "Administration",
    "Application",
    "Become",
    "CancelDeadline",
    "Changes",
    "Comparison",
    "Consumer",
    "Context",
    "Delivery",
    "Difference",
    "DocumentReader",
    "DocumentView",
    "Documents",
    "Done",
    "EntityView",
    "Folded",
    "Generation",
    "HandledIds",
    "Inbox",
    "JetStreamSource",
    "JetStreamTarget",
    "LogTarget",
    "Message",
    "Moment",
    "Parked",
    "PartitionStatus",
    "ProcessDetail",
    "ProcessManager",
    "ProcessStatus",
    "Processes",
    "Projection",
    "PublicEvent",
    "Reaction",
    "Relay",
    "Runner",
    "Send",
    "SetDeadline",
    "Status",
    "TableComparison",
    "Target",
    "View",
    "WebhookTarget",
    "accepts",
    "continues",
    "fold",
    "handles",
    "on_deadline",
    "on_refusal",
    "one_by_one",
    "publishes",
    "starts",
    "verify_webhook",
]
