"""connect(): the URL picks the engine; what cannot be meant is refused, and credentials never show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import sacho
from sacho import RawEvent
from sacho.errors import InvalidURL, SachoError, StorageError, UnknownScheme


@pytest.mark.parametrize("url", ["oracle://host/db", "log.db", "", "/tmp/log.db", "://", "sqlite3:///log.db"])
def test_an_unknown_scheme_is_refused_and_the_known_ones_are_named(url: str) -> None:
    with pytest.raises(UnknownScheme) as caught:
        sacho.connect(url)
    assert {"memory", "sqlite"} <= set(caught.value.known)
    assert "sqlite://" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "memory://host",
        "memory:///path",
        "memory://?a=1",
        "memory://#part",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/log.db",
        "sqlite:///log.db?unknown=1",
        "sqlite:///log.db?timeout=soon",
        "sqlite:///log.db?timeout=-1",
        "sqlite:///log.db?timeout=nan",
        "sqlite:///log.db?timeout=",
        "sqlite:///log.db?timeout=inf",
        "sqlite:///log%00.db",
        "sqlite:///log\x00.db",
        "sqlite://[host/log.db",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_and_nothing_is_made(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidURL):
        sacho.connect(url)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["log#1.db", "log\n1.db", "log\t1.db"])
def test_a_url_never_opens_another_file_than_it_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        sacho.connect(f"sqlite:///{name}").close()
    except SachoError:
        assert os.listdir(tmp_path) == []
    else:
        assert [found for found in os.listdir(tmp_path) if found == name] == [name]


@pytest.mark.parametrize("url", [5, None, b"memory://", object()])
def test_what_is_no_text_is_refused(url: Any) -> None:
    with pytest.raises((SachoError, TypeError)):
        sacho.connect(url)


@pytest.mark.parametrize(
    "url",
    [
        "oracle://ann:s3cret@host/db",
        "oracle://s3cret@host",
        "sqlite://ann:s3cret@host/log.db",
        "sqlite://ann:s3cret@[::1/log.db",
        "sqlite://ann:[s3cret]@host/log.db",
        "sqlite://ann:s3cret@ho\u2100st/log.db",
        "memory://ann:s3cret@",
        "memory://ann:s3cret@host",
        "ann:s3cret@host",
    ],
)
def test_credentials_never_show_in_errors(url: str) -> None:
    with pytest.raises(SachoError) as caught:
        sacho.connect(url)
    assert "s3cret" not in f"{caught.value!s} {caught.value!r} {caught.value.args} {vars(caught.value)}"


def test_a_relative_path_has_three_slashes_and_an_absolute_one_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    sacho.connect("sqlite:///folder/relative.db").close()
    sacho.connect(f"sqlite:///{tmp_path}/absolute.db").close()
    assert (tmp_path / "folder" / "relative.db").exists()
    assert (tmp_path / "absolute.db").exists()


def test_a_relative_path_means_the_folder_at_the_time_of_connecting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with sacho.connect("sqlite:///log.db") as store:
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.append("a-1", [RawEvent("X", 1)])
        assert len(list(store.read("a-1", raw=True))) == 1
        with store.subscribe(raw=True) as live:
            assert live.next(timeout=60) is not None
    assert os.listdir(tmp_path / "elsewhere") == []


def test_each_memory_url_is_a_log_of_its_own() -> None:
    with sacho.connect("memory://") as one, sacho.connect("memory://") as other:
        one.append("a-1", [RawEvent("X", 1)])
        assert (one.head(), other.head()) == (1, 0)


def test_a_store_that_lacks_what_is_required_is_closed_again(tmp_path: Path) -> None:
    with pytest.raises(SachoError):
        sacho.connect(f"sqlite:///{tmp_path}/log.db", require=["telepathy"])
    (tmp_path / "log.db").unlink()
    assert os.listdir(tmp_path) == []


def test_a_block_that_raises_closes_the_store() -> None:
    with pytest.raises(RuntimeError), sacho.connect("memory://") as store:
        raise RuntimeError
    with pytest.raises(StorageError):
        store.head()
