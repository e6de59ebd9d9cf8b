"""The read side: consumers and projections, driven by one runner, with checkpoints, leases, retries and parked events."""

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
from sacho.reacting.projection import Projection
from sacho.reacting.runner import Runner
from sacho.reacting.tables import Generation
from sacho.reacting.viewing import DocumentReader, View

__all__ = [
    "Administration",
    "Application",
    "Changes",
    "Comparison",
    "Consumer",
    "Delivery",
    "Difference",
    "DocumentReader",
    "DocumentView",
    "Documents",
    "EntityView",
    "Folded",
    "Generation",
    "HandledIds",
    "Parked",
    "PartitionStatus",
    "Projection",
    "Runner",
    "Status",
    "TableComparison",
    "View",
    "fold",
    "handles",
]
