"""Comparing: what a changed projection would change, before it takes over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

import sacho
from sacho import Event
from sacho.errors import CannotSwitch
from sacho.reacting import Application, Changes, Projection, handles
from tests.conftest import ENGINES


class Sold(Event, type="ComparedSold"):
    what: str
    price: int


class Prices(Projection):
    """The last price of each thing."""

    name = "prices"
    prices = sa.Table(
        "compared_prices",
        sa.MetaData(),
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("price", sa.BigInteger, nullable=False),
    )

    @handles(Sold)
    def sold(self, event: Sold, changes: Changes) -> None:
        self.put(event, changes)

    def put(self, event: Sold, changes: Changes) -> None:
        changes.execute(self.prices.delete().where(self.prices.c.what == event.what))
        changes.execute(self.prices.insert().values(what=event.what, price=event.price))


class PricesWithTax(Prices):
    """The same with tax, without what was given away."""

    name = "prices"
    version = 2
    takes_over = "manual"

    def put(self, event: Sold, changes: Changes) -> None:
        if event.price:
            super().put(Sold(event.what, event.price + 1 if event.what == "chair" else event.price), changes)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_that_a_new_version_has_otherwise_are_told(engine: str, url_of: Callable[[str], str]) -> None:
    with Application(url_of(engine), consumers=[Prices, PricesWithTax]) as app:
        app.store.append("sales-1", [Sold("table", 5), Sold("chair", 3), Sold("gift", 0)])
        app.run(once=True)
        found = app.administration.compare("prices")
        (table,) = found.tables
        assert (str(found.old), str(found.new), found.position_old, found.position_new) == (
            "prices@1",
            "prices@2",
            3,
            3,
        )
        assert (table.rows_old, table.rows_new, table.added, table.removed, table.changed) == (3, 2, 0, 1, 1)
        assert [(one.key, one.old, one.new) for one in table.shown] == [
            ({"what": "gift"}, {"what": "gift", "price": 0}, None),
            ({"what": "chair"}, {"price": 3}, {"price": 4}),
        ]
        app.administration.switch("prices", 2)
        with app.reading(PricesWithTax) as view:
            rows = view.execute(sa.select(Prices.prices))
            assert {row.what: row.price for row in rows} == {"chair": 4, "table": 5}


def test_without_a_second_version_there_is_nothing_to_compare() -> None:
    with Application("memory://", consumers=[Prices]) as app:
        app.run(once=True)
        with pytest.raises(CannotSwitch, match="no two builds"):
            app.administration.compare(Prices)


class RenamedPrices(Prices):
    """The second version, whose table has another name."""

    name = "prices"
    version = 2
    takes_over = "manual"
    prices = Prices.prices.to_metadata(sa.MetaData(), name="compared_price_list")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_of_another_name_is_compared_as_long_as_the_class_before_is_known(
    engine: str, url_of: Callable[[str], str]
) -> None:
    with sacho.connect(url_of(engine)) as store:
        with Application(store, consumers=[Prices, RenamedPrices]) as app:
            store.append("sales-1", [Sold("table", 5)])
            app.run(once=True)
            (table,) = app.administration.compare("prices").tables
            assert (table.table, table.is_equal, table.rows_new) == ("compared_price_list", True, 1)
            if engine == "memory":
                return
        with Application(store, consumers=[RenamedPrices]) as app:
            with pytest.raises(CannotSwitch, match="keep that class"):
                app.administration.compare("prices")


class Described(Prices):
    """What is known of each thing, as JSON, which PostgreSQL cannot compare by itself."""

    name = "described"
    things = sa.Table(
        "compared_things",
        sa.MetaData(),
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("facts", sa.JSON, nullable=False),
    )
    factor = 1

    def put(self, event: Sold, changes: Changes) -> None:
        facts = {"price": event.price * (self.factor if event.what == "chair" else 1)}
        changes.execute(self.things.insert().values(what=event.what, facts=facts))


class DescribedAnew(Described):
    name = "described"
    version = 2
    takes_over = "manual"
    factor = 2


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_of_json_are_compared(engine: str, url_of: Callable[[str], str]) -> None:
    with Application(url_of(engine), consumers=[Described, DescribedAnew]) as app:
        app.store.append("sales-1", [Sold("table", 5), Sold("chair", 3)])
        app.run(once=True)
        things = next(one for one in app.administration.compare("described").tables if one.table == "compared_things")
        assert [(one.key, one.old, one.new) for one in things.shown] == [
            ({"what": "chair"}, {"facts": {"price": 3}}, {"facts": {"price": 6}})
        ]
