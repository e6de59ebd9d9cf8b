"""Views' databases that are not reachable: told by name, nothing lost, and what lives elsewhere goes on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

import sacho
from sacho.errors import ConfigurationError, InvalidURL, StoreForked, ViewsUnreachable
from sacho.reacting import Application
from tests.reacting.domain import PATIENCE, Scores, caught_up, expected_scores, scored, scores, until


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    views = "postgresql://me:geheim@127.0.0.1:1/views"
    with sacho.connect("memory://") as store, Application(store, consumers=[Scores], views=views) as app:
        store.append("game-1", scored("ann", 1))
        for attempt in (lambda: app.run(once=True), lambda: app.administration, lambda: scores(app)):
            with pytest.raises(ViewsUnreachable, match="127.0.0.1:1/views") as told:
                attempt()
            assert "geheim" not in f"{told.value} {told.value!r}"
        assert store.append("game-1", scored("ann", 2)).position == 2


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with sacho.connect("memory://") as store:
        with pytest.raises((ViewsUnreachable, ConfigurationError), match="nowhere"):
            with Application(store, consumers=[Scores], views=f"sqlite:///{tmp_path}/nowhere/views.db") as app:
                app.run(once=True)


@contextmanager
def a_database(url: str) -> Iterator[tuple[str, psycopg.Connection[object]]]:
    """A database of its own on the server; give its URL, and a connection to another one."""
    server = url.partition("?")[0]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE views_apart")
        try:
            yield server.rpartition("/")[0] + "/views_apart", connection
        finally:
            connection.execute("DROP DATABASE views_apart WITH (FORCE)")


def test_a_database_that_goes_away_and_comes_back_loses_nothing_and_holds_up_nobody_else(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with a_database(postgres_url) as (views, server), sacho.connect(f"sqlite:///{tmp_path}/log.db") as store:
        apart = Application(store, consumers=[Scores], views=views)
        beside = Application(store, consumers=[Scores])
        with apart, beside, apart.running(lease_seconds=1.0), beside.running(lease_seconds=1.0):
            store.append("game-1", scored("ann", 1))
            caught_up(apart, Scores)
            with caplog.at_level(logging.WARNING, "sacho.reacting"):
                server.execute("ALTER DATABASE views_apart ALLOW_CONNECTIONS false")
                server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'views_apart'")
                done = store.append("game-1", scored("ann", 2, 3))
                assert beside.wait_for(Scores, done.position, PATIENCE)
                assert scores(beside) == expected_scores(store)
                with pytest.raises(ViewsUnreachable):
                    scores(apart)
                until(lambda: "ViewsUnreachable" in caplog.text or "views_apart cannot be used" in caplog.text)
            server.execute("ALTER DATABASE views_apart ALLOW_CONNECTIONS true")
            caught_up(apart, Scores)
            assert scores(apart) == expected_scores(store)
        assert "Traceback" not in caplog.text


def test_views_of_another_log_in_the_schema_public_are_no_business_of_ones_own(postgres_database_url: str) -> None:
    elsewhere, beside = "memory://", f"{postgres_database_url}?schema=shop"
    with Application(elsewhere, consumers=[Scores], views=postgres_database_url) as app:
        app.store.append("game-1", scored("ann", 1))
        app.run(once=True)
    with Application(beside, consumers=[Scores]) as app:
        assert app.administration.status() == []
        app.store.append("game-1", scored("bob", 2))
        app.run(once=True)
        assert scores(app) == {"bob": (2, 1)}


def test_a_schema_in_the_url_of_views_is_refused_by_name() -> None:
    with pytest.raises(InvalidURL, match="search_path") as told:
        Application("memory://", consumers=[Scores], views="postgresql://me:geheim@127.0.0.1:1/views?schema=shop")
    assert "geheim" not in str(told.value)


def test_a_forked_process_does_not_use_the_connections_of_its_parent(tmp_path: Path) -> None:
    views = f"sqlite:///{tmp_path}/views.db"
    with Application("memory://", consumers=[Scores], views=views) as app:
        app.store.append("game-1", scored("ann", 1))
        app.run(once=True)
        child = os.fork()
        if not child:
            ending = 1
            try:
                app.administration.parked(Scores)
            except StoreForked:
                app.views.close()
                ending = 0
            finally:
                os._exit(ending)
        assert os.waitpid(child, 0)[1] == 0
        assert scores(app) == {"ann": (1, 1)}
