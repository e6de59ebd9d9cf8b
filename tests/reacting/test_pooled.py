"""Pooled: consumers and views work through PgBouncer, too, and keep to their own schema."""

from __future__ import annotations

import psycopg
import pytest

from tests.reacting.conftest import Place
from tests.reacting.domain import Scores, caught_up, expected_scores, is_serving, scored, scores, until
from tests.storage.test_postgres_failures import connected
from tests.storage.test_postgres_failures import pooler as pooler  # noqa: PLC0414 - the fixture


@pytest.mark.parametrize("pooler", ["session", "transaction"], indirect=True)
def test_views_of_two_logs_go_through_one_pooler(pooler: str, postgres_server_url: str) -> None:
    try:
        with connected(f"{pooler}?schema=pooled_a") as one, connected(f"{pooler}?schema=pooled_b") as other:
            with Place(one, None).running(Scores) as first, Place(other, None).running(Scores) as second:
                for _ in range(20):
                    one.append("game-1", scored("ann", 1))
                    other.append("game-1", scored("bob", 2))
                for app in (first, second):
                    caught_up(app, Scores)
                    until(lambda: is_serving(app))  # noqa: B023
                    assert scores(app) == expected_scores(app.store)
    finally:
        with psycopg.connect(postgres_server_url) as connection:
            connection.execute("DROP SCHEMA IF EXISTS pooled_a, pooled_b, pooled_a_views, pooled_b_views CASCADE")
