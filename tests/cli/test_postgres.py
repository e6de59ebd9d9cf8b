"""The command line over PostgreSQL: the same commands by another URL."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

import sacho
from sacho import RawEvent
from sacho.operations import verify
from servers.postgres import GIVEN_URL, PASSWORD, PASSWORD_IN_URL
from tests.cli.program import SECONDS, line, read_lines, run, started
from tests.cli.test_ending import told


def test_a_log_is_appended_to_read_and_told_of(postgres_url: str) -> None:
    done = run(postgres_url, "append", "seats-1", "--expected", "none", lines=line("A", 1) + line("B", "a\x00b"))
    assert (done.returncode, done.stderr) == (0, "")
    assert [event["data"] for event in read_lines(postgres_url, "read", "seats-1")] == [1, "a\x00b"]
    assert [event["position"] for event in read_lines(postgres_url, "read-all", "--type", "B")] == [2]
    assert [stream["stream"] for stream in read_lines(postgres_url, "streams")] == ["seats-1"]
    (info,) = read_lines(postgres_url, "info")
    assert (info["engine"], info["head"], info["epoch"]) == ("postgres", 2, 1)


def test_the_log_is_followed_across_processes(postgres_url: str) -> None:
    with sacho.connect(postgres_url) as store:
        store.append("seats-1", [RawEvent("Before", None)])
        with started(postgres_url, "tail", "--after", "0", "--limit", "2", "--json") as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["type"] == "Before"
            store.append("seats-1", [RawEvent("Live", None)])
            assert json.loads(process.stdout.readline())["type"] == "Live"
            assert process.wait(SECONDS) == 0


def test_looking_for_a_log_makes_none(postgres_url: str, postgres_server_url: str) -> None:
    for command in ("head", "streams", "info", "tail"):
        done = run(postgres_url, command)
        assert done.returncode == 5
        assert "sacho migrate" in told(done)
    schema = postgres_url.rpartition("schema=")[2]
    with psycopg.connect(postgres_server_url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone()
    assert row == (0,)


def test_migrate_makes_the_log_and_its_roles(postgres_url: str, postgres_server_url: str) -> None:
    schema = postgres_url.rpartition("schema=")[2]
    (first,) = read_lines(f"{postgres_url}&migrate=no", "migrate")
    done = run(postgres_url, "migrate", "--roles")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"GRANT {schema}_writer TO" in done.stdout
    (again,) = read_lines(postgres_url, "migrate", "--roles")
    assert again == {**first, "roles": [f"{schema}_reader", f"{schema}_writer"]}
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        for role in again["roles"]:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def test_roles_are_refused_where_there_are_none(tmp_path: object) -> None:
    done = run(f"sqlite:///{tmp_path}/log.db", "migrate", "--roles")
    assert done.returncode == 2
    assert "'roles'" in told(done)


@pytest.mark.skipif(bool(GIVEN_URL), reason="the given server may let everybody in")
@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ((PASSWORD_IN_URL, "hunter2"), 5, "password"),
        (("/postgres?", "/nowhere?"), 5, "does not exist"),
        (("127.0.0.1:", "127.0.0.1:1"), 5, "127.0.0.1"),
        (("schema=", "colour="), 2, "colour"),
        (("schema=", "schema=A"), 2, "schema"),
        (("127.0.0.1:", "[::1:"), 2, "port"),
    ],
)
def test_what_cannot_be_connected_to_is_one_line_without_secrets(
    postgres_url: str, change: tuple[str, str], code: int, text: str
) -> None:
    url = postgres_url.replace(*change)
    done = run(url, "head")
    assert done.returncode == code
    message = told(done)
    assert text in message
    secrets = [PASSWORD, PASSWORD_IN_URL, "hunter2", urlsplit(postgres_url).netloc]
    assert [secret for secret in secrets if secret in message] == []


def test_a_log_is_copied_to_the_server_and_back_without_a_word_of_the_password(url: str, postgres_url: str) -> None:
    back = f"{url}-back"
    with sacho.connect(url) as store:
        store.append("seats-1", [RawEvent("A", "a\x00b"), RawEvent("B", 2)])
    for one, other in ((url, postgres_url), (postgres_url, back)):
        done = run(None, "copy", one, other)
        assert (done.returncode, done.stderr) == (0, "")
        assert PASSWORD_IN_URL not in done.stdout
    with sacho.connect(url) as store, sacho.connect(back) as copied:
        assert verify(store, copied).events == 2
        copied.append("seats-1", [RawEvent("Own", 1)])
    refused = run(None, "copy", back, postgres_url)
    assert refused.returncode == 0
    with sacho.connect(url) as store:
        store.append("seats-1", [RawEvent("Other", 1)])
    refused = run(None, "copy", url, postgres_url)
    assert refused.returncode == 3
    assert PASSWORD_IN_URL not in told(refused)
    assert PASSWORD not in told(refused)


def test_a_backup_is_left_to_the_servers_own_tools(postgres_url: str, tmp_path: Path) -> None:
    with sacho.connect(postgres_url) as store:
        store.append("seats-1", [RawEvent("A", 1)])
    done = run(postgres_url, "backup", str(tmp_path / "backup.db"))
    assert done.returncode == 2
    assert "pg_dump" in told(done)
    assert list(tmp_path.iterdir()) == []


def test_a_new_epoch_is_begun_on_the_server(postgres_url: str) -> None:
    with sacho.connect(postgres_url) as store:
        epoch = store.identity.epoch
    (found,) = read_lines(postgres_url, "new-epoch")
    assert found["epoch"] == epoch + 1
