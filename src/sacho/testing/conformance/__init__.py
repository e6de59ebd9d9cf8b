"""The storage conformance suite: what every engine must do, as tests that anyone who writes an engine may run.

    class TestMyEngine(StorageConformance):
        @pytest.fixture
        def storage(self) -> Iterator[Storage]: ...            # a fresh, empty log for each test

        @pytest.fixture
        def reopen(self) -> Callable[[], Storage] | None: ...  # another engine on the log of `storage`; None: cannot be

It looks at an engine through the port only. Where an engine does not offer a capability, the suite asks for the clear
refusal, or says which test it leaves out and why. `pytest.register_assert_rewrite("sacho.testing.conformance")` before
the import makes failures tell more. Source of the form: Rails Event Store's shared "lint" specifications.
"""

from sacho.testing.conformance.appending import AppendingConformance
from sacho.testing.conformance.concurrency import ConcurrencyConformance
from sacho.testing.conformance.conditions import ConditionsConformance
from sacho.testing.conformance.idempotency import IdempotencyConformance
from sacho.testing.conformance.importing import ImportingConformance
from sacho.testing.conformance.inline_views import InlineViewsConformance
from sacho.testing.conformance.listing import ListingConformance
from sacho.testing.conformance.operating import OperatingConformance
from sacho.testing.conformance.reading import ReadingConformance
from sacho.testing.conformance.several import SeveralConformance


class StorageConformance(
    AppendingConformance,
    SeveralConformance,
    ConditionsConformance,
    IdempotencyConformance,
    ReadingConformance,
    ListingConformance,
    ImportingConformance,
    OperatingConformance,
    InlineViewsConformance,
    ConcurrencyConformance,
):
    """Every promise of the storage port. Subclass it and give the fixtures `storage` and `reopen`."""


__all__ = ["StorageConformance"]
