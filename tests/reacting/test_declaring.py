"""Declaring: what cannot be meant is refused with a word on what to do; changed code and other logs are told from the old."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import sacho
from sacho.errors import (
    CheckpointAhead,
    DuplicateConsumer,
    ForeignCheckpoint,
    InvalidConsumer,
    PartitionsDiffer,
    ProjectionChanged,
)
from sacho.reacting import Application, Changes, Consumer, Delivery, Projection, continues, handles, publishes, starts
from tests.reacting.conftest import Place
from tests.reacting.domain import Left, Scored, Scores, expected_scores, is_serving, scored, scores, until

# --- declarations -------------------------------------------------------------------------------------


def test_a_handler_for_a_type_that_no_class_stands_for_is_refused() -> None:
    class Lost(Projection):
        @handles("ReactingNoSuchType")
        def no(self, event: object, changes: Changes) -> None: ...

    with pytest.raises(InvalidConsumer, match="'ReactingNoSuchType', a type that no class stands for"):
        Application("memory://", consumers=[Lost])


def test_a_type_may_be_handled_by_its_name() -> None:
    class Named(Consumer):
        @handles("ReactingScored")
        def scored(self, event: Scored, delivery: Delivery) -> None: ...

    assert set(Named.handlers) == {"ReactingScored"}
    Application("memory://", consumers=[Named]).close()


def test_two_handlers_of_one_type_are_refused() -> None:
    with pytest.raises(InvalidConsumer, match="both one and other"):

        class Twice(Consumer):
            @handles(Scored)
            def one(self, event: Scored, delivery: Delivery) -> None: ...

            @handles(Left, Scored)
            def other(self, event: Scored, delivery: Delivery) -> None: ...


def test_a_handler_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidConsumer, match="names no event"):

        class Nothing(Consumer):
            @handles()
            def one(self, event: Scored, delivery: Delivery) -> None: ...


def test_a_class_is_named_by_its_own_words() -> None:
    class HTTPNoticesOfScores(Consumer):
        pass

    assert HTTPNoticesOfScores.name == "http-notices-of-scores"


@pytest.mark.parametrize(
    "declared",
    [
        {"name": "Größe"},
        {"name": "a" * 41},
        {"name": "1st"},
        {"version": 0},
        {"version": "2"},
        {"version": True},
        {"partitions": 0},
        {"partitions": 257},
        {"query": "all"},
        {"retry": 5},
        {"most_parked": "5"},
        {"most_parked": -1},
    ],
)
def test_a_declaration_out_of_rules_is_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(InvalidConsumer, match=next(iter(declared))):
        type("Wrong", (Consumer,), declared)


def test_a_word_that_does_not_say_how_to_take_over_is_refused() -> None:
    with pytest.raises(InvalidConsumer, match="takes_over"):
        type("Wrong", (Projection,), {"takes_over": "manuel"})


@pytest.mark.parametrize("base", [Consumer, Projection])
def test_a_key_that_would_be_passed_over_is_refused(base: type[Consumer]) -> None:
    @handles(Scored, key="who")
    def scored(self: Any, event: Scored, given: Any) -> None: ...

    with pytest.raises(InvalidConsumer, match="for document views"):
        type("Wrong", (base,), {"scored": scored})


@pytest.mark.parametrize(
    "table",
    [
        sa.Table("x" * 49, sa.MetaData(), sa.Column("a", sa.Text)),
        sa.Table("sacho_events", sa.MetaData(), sa.Column("a", sa.Text)),
        sa.Table("reacting_elsewhere", sa.MetaData(schema="other"), sa.Column("a", sa.Text)),
        sa.Table("reacting_child", sa.MetaData(), sa.Column("a", sa.Text, sa.ForeignKey("parent.a"))),
    ],
)
def test_a_table_out_of_rules_is_refused(table: sa.Table) -> None:
    with pytest.raises(InvalidConsumer, match=table.name):
        type("Wrong", (Projection,), {"table": table})


def test_a_class_that_needs_arguments_is_refused_in_words() -> None:
    class Needy(Consumer):
        def __init__(self, target: object) -> None: ...

    with pytest.raises(InvalidConsumer, match="'target'; hand over an object"):
        Application("memory://", consumers=[Needy])


def test_two_consumers_of_one_name_are_refused() -> None:
    class First(Consumer):
        name = "same"

    class Second(Consumer):
        name = "same"

    with pytest.raises(DuplicateConsumer, match="Second"):
        Application("memory://", consumers=[First, Second])


def test_a_consumer_and_a_projection_of_one_name_are_refused_in_either_order() -> None:
    class Plain(Consumer):
        name = "same"

    class View(Projection):
        name = "same"
        version = 2

    for both in ([View, Plain], [Plain, View]):
        with pytest.raises(DuplicateConsumer, match="'same'"):
            Application("memory://", consumers=both)


def test_two_projections_of_one_table_are_refused() -> None:
    class Other(Projection):
        scores = Scores.scores

    with pytest.raises(DuplicateConsumer, match="reacting_scores"):
        Application("memory://", consumers=[Scores, Other])


@pytest.mark.parametrize("wrong", ["scores", object, 7])
def test_what_is_no_consumer_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidConsumer, match="no Consumer"):
        Application("memory://", consumers=[wrong])


# --- changed code -------------------------------------------------------------------------------------


class ChangedScores(Scores):
    name = "scores"

    def worth(self, event: Scored) -> int:
        return 3 * event.points


def test_changed_code_under_an_old_version_is_refused_until_it_is_accepted(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    place.store.append("game-1", scored("ann", 2))
    with place.application(ChangedScores) as app:
        with pytest.raises(ProjectionChanged, match="version = 2"):
            app.run(once=True)
        assert scores(app) == {"ann": (1, 1)}
        app.administration.accept(ChangedScores)
        app.run(once=True)
        assert scores(app) == {"ann": (7, 2)}
    with pytest.raises(ProjectionChanged):
        place.run(Scores)


def test_other_tables_under_an_old_version_are_refused(place: Place) -> None:
    class Wider(Scores):
        name = "scores"
        more = sa.Table("reacting_more", sa.MetaData(), sa.Column("a", sa.Text))

    place.run(Scores)
    with pytest.raises(ProjectionChanged):
        place.run(Wider)


def test_comments_docstrings_and_layout_are_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    head = "from sacho.reacting import Consumer, handles\nfrom tests.reacting.domain import Scored\n\n"
    first = "class Told(Consumer):\n    @handles(Scored)\n    def told(self, event, delivery):\n        return 1 + 1\n"
    second = first.replace("1 + 1", "(1 +\n            1)  # two").replace("def told", "def told").replace(
        "(Consumer):\n", '(Consumer):\n    """What it is."""\n\n'
    )  # fmt: skip
    third = first.replace("1 + 1", "1 + 2")
    found = []
    for number, text in enumerate((first, second, third)):
        (tmp_path / f"reacting_told_{number}.py").write_text(head + text)
        found.append(__import__(f"reacting_told_{number}").Told.fingerprint())
    assert found[0] == found[1] != found[2]


def test_a_changed_plain_consumer_goes_on(place: Place) -> None:
    class Plain(Consumer):
        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None: ...

    class Changed(Plain):
        name = "plain"
        version = 2

    place.store.append("game-1", scored("ann", 1))
    place.run(Plain)
    with place.application(Changed) as app:
        app.run(once=True)
        (found,) = app.administration.status()
        assert (found.position, found.handled) == (1, 1)


def test_settings_that_make_no_difference_to_the_tables_are_no_change(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "from sacho.reacting import Projection\n\nclass Settings(Projection):\n    {}\n    def prepare(self):\n        self.x = 1\n"
    found = []
    for number, setting in enumerate(("most_parked = 7", "most_parked = 8", 'takes_over = "manual"', "partitions = 4")):
        (tmp_path / f"reacting_settings_{number}.py").write_text(text.format(setting))
        found.append(__import__(f"reacting_settings_{number}").Settings.fingerprint())
    assert len(set(found)) == 1


# --- partitions ---------------------------------------------------------------------------------------


class Dealt(Consumer):
    partitions = 4

    @handles(Scored)
    def scored(self, event: Scored, delivery: Delivery) -> None: ...


class DealtOtherwise(Dealt):
    name = "dealt"
    partitions = 2


def test_partitions_may_change_where_all_stand_at_one_position(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Dealt)
    place.store.append("game-1", scored("ann", 2))
    with place.application(DealtOtherwise) as app:
        app.run(once=True)
        (found,) = app.administration.status()
        assert [one.position for one in found.partitions] == [2, 2]


def test_partitions_may_not_change_where_they_stand_apart(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Dealt)
    with place.application(Dealt) as app, app.views.writing() as connection:
        connection.execute(sa.text("UPDATE sacho_partitions SET position = 0 WHERE partition = 1"))
    with pytest.raises(PartitionsDiffer, match="those of 4") as told:
        place.run(DealtOtherwise)
    assert (told.value.kept, told.value.declared) == (4, 2)
    place.run(Dealt)
    place.run(DealtOtherwise)


# --- other logs ---------------------------------------------------------------------------------------


def test_a_new_epoch_is_told_and_accepted(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    place.store.storage.begin_epoch()
    with place.application(Scores) as app:
        with pytest.raises(ForeignCheckpoint, match="epoch 1"):
            app.run(once=True)
        app.administration.accept(Scores)
        place.store.append("game-1", scored("ann", 2))
        app.run(once=True)
        assert scores(app) == expected_scores(place.store)


def test_a_new_epoch_is_taken_care_of_by_a_rebuild(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    place.store.storage.begin_epoch()
    with place.application(Scores) as app:
        build = app.administration.rebuild(Scores).build
        with app.running():
            until(lambda: is_serving(app, 1, build))
            assert scores(app) == expected_scores(place.store)


def test_a_new_epoch_is_taken_care_of_by_a_new_version(place: Place) -> None:
    from tests.reacting.domain import DoubledScores

    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    place.store.storage.begin_epoch()
    place.run(DoubledScores)
    with place.application(DoubledScores) as app:
        assert scores(app) == expected_scores(place.store, 2)


def test_the_views_of_another_log_are_told(tmp_path: Path) -> None:
    views = f"sqlite:///{tmp_path}/views.db"
    for number in (1, 2):
        with sacho.connect(f"sqlite:///{tmp_path}/log{number}.db") as store:
            place = Place(store, views)
            if number == 1:
                place.run(Scores)
            else:
                with pytest.raises(ForeignCheckpoint, match=str(store.identity.id)):
                    place.run(Scores)


def copied(source: Path, target: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(source, target)


def test_a_log_that_was_copied_back_is_told_and_gone_on_from_its_end_when_accepted(tmp_path: Path) -> None:
    log, saved, views = tmp_path / "log.db", tmp_path / "saved.db", f"sqlite:///{tmp_path}/views.db"
    with sacho.connect(f"sqlite:///{log}") as store:
        store.append("game-1", scored("ann", 1, 2))
    copied(log, saved)
    with sacho.connect(f"sqlite:///{log}") as store:
        store.append("game-1", scored("ann", 3))
        Place(store, views).run(Scores)
    copied(saved, log)
    with sacho.connect(f"sqlite:///{log}") as store, Place(store, views).application(Scores) as app:
        with pytest.raises(CheckpointAhead, match="the log ends at 2") as told:
            app.run(once=True)
        assert (told.value.position, told.value.head) == (3, 2)
        app.administration.accept(Scores)
        store.append("game-1", scored("ann", 10))
        app.run(once=True)
        assert scores(app) == {"ann": (16, 4)}


def test_a_log_that_was_copied_back_is_taken_care_of_by_a_rebuild(tmp_path: Path) -> None:
    log, saved, views = tmp_path / "log.db", tmp_path / "saved.db", f"sqlite:///{tmp_path}/views.db"
    with sacho.connect(f"sqlite:///{log}") as store:
        store.append("game-1", scored("ann", 1, 2))
    copied(log, saved)
    with sacho.connect(f"sqlite:///{log}") as store:
        store.append("game-1", scored("ann", 3))
        Place(store, views).run(Scores)
    copied(saved, log)
    with sacho.connect(f"sqlite:///{log}") as store, Place(store, views).application(Scores) as app:
        build = app.administration.rebuild(Scores).build
        with app.running():
            until(lambda: is_serving(app, 1, build))
            assert scores(app) == expected_scores(store)


@pytest.mark.parametrize("statement", ["CREATE TABLE {} (a INTEGER)", "CREATE VIEW {} AS SELECT 1 AS a"])
@pytest.mark.parametrize("name", ["reacting_scores", "reacting_scores_v1"])
def test_what_stands_in_the_database_by_a_tables_name_is_left_alone_and_told(
    place: Place, statement: str, name: str
) -> None:
    with place.application(Scores) as app:
        app.prepare()
        with app.views.writing() as connection:
            connection.exec_driver_sql(statement.format(name))
        with pytest.raises(DuplicateConsumer, match=f"'{name}' belongs to something else"):
            app.run(once=True)
        with app.views.reading() as connection:
            assert connection.exec_driver_sql(f"SELECT a FROM {name}").keys() == {"a"}


@pytest.mark.parametrize("wrong", [Dealt, Dealt(), "scores", Scored])
def test_what_has_no_view_cannot_be_read(place: Place, wrong: Any) -> None:
    with place.application(Scores, Dealt) as app, pytest.raises(InvalidConsumer, match="no view to read"):
        app.reading(wrong)


def test_a_consumer_after_a_restore_is_offered_to_go_on_and_no_rebuild(place: Place) -> None:
    heard: list[int] = []

    class Hearing(Consumer):
        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            heard.append(event.points)

    place.store.append("game-1", scored("ann", 1))
    place.run(Hearing)
    place.store.storage.begin_epoch()
    with place.application(Hearing) as app:
        with pytest.raises(ForeignCheckpoint, match="Go on from the log's end") as told:
            app.run(once=True)
        assert "rebuild" not in str(told.value)
        app.administration.accept(Hearing)
        place.store.append("game-1", scored("ann", 2))
        app.run(once=True)
    assert heard == [1, 2]


def test_a_method_with_the_name_of_one_that_every_consumer_has_is_refused() -> None:
    with pytest.raises(InvalidConsumer, match=r"key\(\) is a method of every consumer"):

        class Hiding(Consumer):
            @handles("SomethingHappened")
            def key(self, event, delivery):  # type: ignore[no-untyped-def, override]
                pass


@pytest.mark.parametrize(
    "mark", [handles, publishes, starts, continues], ids=["handles", "publishes", "starts", "continues"]
)
def test_a_key_that_is_no_field_of_the_event_is_refused_where_it_is_declared(mark: Callable[..., Any]) -> None:
    with pytest.raises(InvalidConsumer, match="Scored: has no field 'scorer'"):
        mark(Scored, key="scorer")(lambda self, event, more: None)
