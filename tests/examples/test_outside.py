"""What leaves the application, what its two neighbours make of it, and that they know nothing else of it."""

from __future__ import annotations

import ast
import email
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

import pytest

import sacho
from examples.conference.neighbours import neighbours
from examples.conference.neighbours.accounting import Ledger, balance, ledger
from examples.conference.neighbours.notices import Folder, Smtp
from examples.conference.orders import CancelOrder, OrderExpired
from examples.conference.outside import Outside
from examples.conference.payments import PaymentRefunded
from examples.conference.waiting import JoinWaitingList, SeatsOffered
from sacho.reacting import Application, LogTarget
from tests.examples.world import World, running

NEIGHBOURS = Path(__file__).parents[2] / "examples" / "conference" / "neighbours"


class Street:
    """The application, and its neighbours over a log of their own."""

    def __init__(self, world: World, next_door: Application, folder: Path) -> None:
        self.world = world
        self.next_door = next_door
        self.folder = folder

    def settle(self) -> None:
        """Wait until all that happened has been heard next door, and was seen to."""
        self.world.settle()
        for name in ("notices", "ledger"):
            assert self.next_door.wait_for(name, self.next_door.store.head(), timeout=180)

    def heard(self) -> list[str]:
        """The types of what was heard, in order."""
        return [recorded.type for recorded in self.next_door.store.read_all(raw=True)]

    def letters(self, order_id: str) -> list[str]:
        """The subjects of the letters about an order."""
        letters = [email.message_from_bytes(path.read_bytes()) for path in self.folder.rglob("*.eml")]
        return sorted(str(one["Subject"]) for one in letters if one["X-Order"] == order_id)


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    url = f"sqlite:///{tmp_path / 'neighbours.db'}"
    with sacho.connect(url) as store, neighbours(url, tmp_path) as next_door, next_door.running():
        relay = Outside(LogTarget(store, category="booking"))
        with running(f"sqlite:///{tmp_path / 'log.db'}", consumers=[relay]) as world:
            yield Street(world, next_door, tmp_path)


def bought(world: World, order_id: str, payment_id: str, **seats: int) -> None:
    world.register(order_id, **seats)
    world.pay(order_id, payment_id)
    world.provider.settle(payment_id)
    world.settle()


def test_an_order_that_is_bought_and_cancelled_is_written_of_and_booked(street: Street) -> None:
    street.world.open(GA=3)
    bought(street.world, "o1", "p1", GA=2)
    street.settle()
    assert street.letters("o1") == ["Your order is confirmed"]
    street.world.do(CancelOrder("o1"))
    street.settle()
    assert street.letters("o1") == ["Your money goes back", "Your order is cancelled", "Your order is confirmed"]
    with street.next_door.reading(Ledger) as view:
        assert [tuple(entry) for entry in ledger(view)] == [
            ("o1", "p1", Decimal("398.00"), "payment"),
            ("o1", "p1", Decimal("-398.00"), "refund: order cancelled"),
        ]
        assert balance(view) == 0


def test_what_leaves_of_an_order_is_said_in_order_and_all_at_once_when_it_is_confirmed(street: Street) -> None:
    street.world.open(GA=3)
    bought(street.world, "o1", "p1", GA=2)
    street.settle()
    assert street.heard() == [
        "conference.registrant-assigned",
        "conference.payment-received",
        "conference.order-confirmed",
    ]
    [confirmed] = [one for one in street.next_door.store.read("booking-o1", raw=True) if "confirmed" in one.type]
    assert confirmed.event.data == {
        "order_id": "o1",
        "conference_id": "c1",
        "first_name": "Bob",
        "last_name": "Kim",
        "email": "o1@example.org",
        "seats": {"GA": 2},
        "total": "398.00",
        "access_code": "CODEo1",
    }


def test_a_type_is_sold_out_when_its_last_seat_goes_and_once_until_one_comes_back(street: Street) -> None:
    world = street.world
    world.open(GA=3, WS=5)
    world.register("o1", GA=2)
    world.register("o2", GA=2, WS=1)
    world.register("o3", GA=1)
    street.settle()
    assert street.heard().count("conference.sold-out") == 1
    [told] = [one.event.data for one in street.next_door.store.read("booking-c1", raw=True)]
    assert told == {"conference_id": "c1", "seat_type": "GA"}
    world.register("o1", GA=1)
    world.register("o4", GA=1)
    street.settle()
    assert street.heard().count("conference.sold-out") == 2


def test_who_waits_is_told_of_an_offer_and_who_paid_too_late_that_the_money_goes_back(street: Street) -> None:
    world = street.world
    world.open(GA=2)
    world.register("o1", GA=2)
    world.pay("o1", "p1")
    world.register("o2", GA=2)
    world.pay("o2", "p2", "0.00")
    world.do(JoinWaitingList("c1", "GA", "o2", 2))
    world.clock.advance(minutes=30)
    world.until(OrderExpired, order_id="o1")
    world.until(SeatsOffered, order_id="o2")
    world.provider.settle("p1")
    world.until(PaymentRefunded, payment_id="p1", reason="seats gone")
    street.settle()
    assert "Seats for you" in street.letters("o2")
    assert street.letters("o1") == ["Your money goes back", "Your order is cancelled"]


def test_nobody_is_written_to_who_never_said_who_they_are(street: Street) -> None:
    street.world.open(GA=3)
    street.world.register("o1", GA=2)
    street.world.do(CancelOrder("o1"))
    street.settle()
    assert street.heard() == ["conference.order-cancelled"]
    assert street.letters("o1") == []


def test_neighbours_import_nothing_of_the_application() -> None:
    for path in NEIGHBOURS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith("examples") or name.startswith("examples.conference.neighbours"), path


# --- postboxes ----------------------------------------------------------------------------------------


def letter() -> EmailMessage:
    found = EmailMessage()
    found["From"], found["To"], found["Subject"] = "a@example.org", "b@example.org", "Hello"
    found.set_content("Hello")
    return found


def test_a_letter_that_is_posted_twice_is_one_file(tmp_path: Path) -> None:
    folder, id = Folder(tmp_path), uuid4()
    folder.post(letter(), id)
    folder.post(letter(), id)
    assert [path.name for path in tmp_path.iterdir()] == [f"{id}.eml"]


class Sink(socketserver.StreamRequestHandler):
    """Speaks as much SMTP as it takes to receive a letter."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                LETTERS.append(email.message_from_bytes(b"".join(lines)))
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 well\r\n")


LETTERS: list[object] = []


@contextmanager
def mail_server() -> Iterator[int]:
    with socketserver.TCPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_letter_may_go_to_a_mail_server() -> None:
    with mail_server() as port:
        Smtp("127.0.0.1", port).post(letter(), uuid4())
    [received] = LETTERS
    assert received["Subject"] == "Hello"  # type: ignore[index]
