"""A full disk, a failing disk, a file that may not be written: a clear error, nothing half there, and then on."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sacho
from sacho import RawEvent
from sacho.errors import StorageError, StorageFull, StorageReadOnly
from tests.proof.judging import check_all, check_file, check_log
from tests.proof.processes import WAIT, Count, Counted, run, started
from tests.proof.programs import in_threads, uses
from tests.proof.tracing import strace_or_skip


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "sacho", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small file system may be mounted here, so no disk can be filled")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all space that is left; return the file that does."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_a_full_disk_is_a_clear_error_and_the_log_goes_on_when_there_is_space(
    small_disk: Path, counted: Counted
) -> None:
    """Seen to fail with StorageFailed in place of StorageFull."""
    path, acknowledged, refused = small_disk / "log.db", 0, 0
    with sacho.connect(f"sqlite:///{path}") as store:
        for round in range(4):
            filler = fill(small_disk) if round else None
            with pytest.raises(StorageFull, match="no space left"):
                while True:
                    done = store.append("s-1", [RawEvent("Large", {"pad": "x" * 3_000})], expected=acknowledged)
                    acknowledged += 1
                    assert done.version == acknowledged
            for _ in range(5):
                with pytest.raises(StorageFull):
                    store.append("s-1", [RawEvent("Large", {"pad": "x" * 3_000})] * 20)
                refused += 1
            assert store.version("s-1") == acknowledged == store.head() == len(check_log(store))
            if filler is None:
                break_free(small_disk, path)
            else:
                filler.unlink()
            assert store.append("s-1", [RawEvent("Small", None)], expected=acknowledged).version == acknowledged + 1
            acknowledged += 1
    assert len(check_all(f"sqlite:///{path}")) == acknowledged
    counted("full disk: events acknowledged, appends refused", f"{acknowledged}, {refused}")


def break_free(folder: Path, path: Path) -> None:
    """Give the file system of a log twice the space that is used."""
    used = sum(file.stat().st_size for file in folder.iterdir())
    assert path.exists()
    subprocess.run(["mount", "-o", f"remount,size={2 * used}", str(folder)], check=True)


def test_a_log_is_opened_on_a_full_disk_or_says_that_it_is_full(small_disk: Path) -> None:
    """A new file, and one that was closed, with any little space left: StorageFull and nothing else, then it goes on."""
    path, errors, appended = small_disk / "log.db", list[str](), 1
    with sacho.connect(f"sqlite:///{path}") as store:
        store.append("s-1", [RawEvent("A", None)])
    filler = fill(small_disk)
    for left in range(0, 20 * 4_096, 4_096):
        os.truncate(filler, filler.stat().st_size - (4_096 if left else 0))
        for file in (path, small_disk / "new.db"):
            try:
                with sacho.connect(f"sqlite:///{file}") as store:
                    assert store.head() == (appended if file is path else 0)
                    if file is path:
                        store.append("s-1", [RawEvent("A", None)])
                        appended += 1
            except StorageFull:
                continue
            except StorageError as error:
                errors.append(f"{file.name} with {left} bytes left: {error}")
            fill(small_disk)
            os.truncate(filler, filler.stat().st_size - left)
    filler.unlink()
    with sacho.connect(f"sqlite:///{path}") as store:
        assert store.append("s-1", [RawEvent("A", None)], expected=appended).version == appended + 1
    check_file(path)
    assert errors == []


def test_threads_and_subscribers_of_a_full_disk_are_all_told_and_go_on(small_disk: Path, counted: Counted) -> None:
    """Eight threads write until each is refused, a subscriber follows; what was acknowledged is what it saw."""
    path, acknowledged, lock = small_disk / "log.db", [], threading.Lock()
    with sacho.connect(f"sqlite:///{path}") as store, store.subscribe(raw=True) as live:

        def write(number: int) -> None:
            with pytest.raises(StorageFull):
                while True:
                    done = store.append(f"s-{number}", [RawEvent("Large", "x" * 2_000)])
                    with lock:
                        acknowledged.append(done.position)

        in_threads(write, 8)
        break_free(small_disk, path)
        acknowledged.append(store.append("last-1", [RawEvent("Last", None)]).position)
        seen: list[int] = []
        while len(seen) < len(acknowledged):
            recorded = live.next(timeout=WAIT)
            assert recorded is not None
            seen.append(recorded.position)
        assert live.next(timeout=0) is None
    assert seen == sorted(acknowledged) == [one.position for one in check_all(f"sqlite:///{path}")]
    counted("full disk under eight threads: events acknowledged", len(acknowledged))


def test_a_log_that_may_not_grow_is_a_clear_error_wherever_the_test_runs(tmp_path: Path) -> None:
    """SQLite's own limit on the size of a file: needs no rights to mount anything."""
    path = tmp_path / "log.db"
    acknowledged = run("small_log", f"sqlite:///{path}")
    assert len(check_all(f"sqlite:///{path}")) == acknowledged > 10


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("pwrite64:error=ENOSPC:when=80+73", {"StorageFull False"}),
        ("pwrite64:error=EIO:when=80+73", {"StorageFailed False"}),
        ("fdatasync:error=EIO:when=9+4", {"StorageFailed True"}),
    ],
)
def test_a_disk_that_fails_now_and_then_leaves_nothing_half(
    tmp_path: Path, fault: str, told: set[str], soak_count: Count, counted: Counted
) -> None:
    """Writes and syncs of the log's files fail by force from outside, at every kind of place in a commit or checkpoint.

    Each append is repeated with the same ids until it is accepted; where nothing was to be written, nothing is there.
    Every 73rd write fails: that is more than one commit makes, so that one can succeed. Every fourth sync fails: a commit
    with its checkpoint makes three, so that of every third one none would ever end, and each would begin anew.
    """
    path, appends = tmp_path / "log.db", soak_count(2_000)
    files = [part for name in ("log.db", "log.db-wal") for part in ("-P", str(tmp_path / name))]
    call = fault.partition(":")[0]
    strace = [*strace_or_skip(), "-o", "/dev/null", *files, "-e", f"trace={call}", "-e", f"inject={fault}"]
    errors = run("write_among_faults", f"sqlite:///{path}", appends, before=strace)
    assert set(errors) == told
    events = check_all(f"sqlite:///{path}")
    assert [one.event.data["n"] for one in events if one.type == "Faulty"] == [n // 3 for n in range(3 * appends)]
    counted(f"appends among failures ({fault}), errors", f"{appends}, {sum(errors.values())}")


@pytest.mark.parametrize("left_open", [True, False], ids=["a WAL was left", "closed before"])
def test_a_log_on_a_read_only_disk_can_be_read_or_says_that_it_is_read_only(small_disk: Path, left_open: bool) -> None:
    """Where a writer left without closing its write-ahead log is still there, and has to be read too."""
    path = small_disk / "log.db"
    if left_open:
        with started("hold_the_lock", make_log(path, 2)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline()
    else:
        make_log(path, 2)
    assert path.with_name("log.db-wal").exists() is left_open
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    if left_open:
        assert uses(f"sqlite:///{path}") == {"read": [0, 1], "head": 2, "subscribe": 1, "append": "StorageReadOnly"}
    else:
        check_unwritable(uses(f"sqlite:///{path}"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")
@pytest.mark.parametrize("folder_mode", [0o555, 0o777])
@pytest.mark.parametrize("is_in_use", [True, False])
def test_one_without_rights_reads_or_is_told_that_the_log_is_read_only(
    tmp_path: Path, folder_mode: int, is_in_use: bool, counted: Counted
) -> None:
    folder = tmp_path / "owned"
    folder.mkdir()
    for above in (folder, *list(folder.parents)[:-2]):
        above.chmod(0o755)
    path = folder / "log.db"
    make_log(path, 2)
    with started("hold_the_lock", path) if is_in_use else started("try_to_append", "memory://") as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(folder_mode)
        found = run("use_as_nobody", f"sqlite:///{path}", f"sqlite:///{tmp_path / 'spare.db'}")
    check_unwritable(found)
    kind = f"{'in use' if is_in_use else 'closed'}, folder {folder_mode:o}"
    counted(f"a log of another user ({kind})", found)
    folder.chmod(0o755)
    assert len(check_all(f"sqlite:///{path}")) == 2


def check_unwritable(found: dict[str, object]) -> None:
    """Either all reading works and the append is refused, or opening says why."""
    whole = {"read": [0, 1], "head": 2, "subscribe": 1, "append": "StorageReadOnly"}
    assert found in (whole, {"error": StorageReadOnly.__name__})


def make_log(path: Path, events: int) -> Path:
    with sacho.connect(f"sqlite:///{path}") as store:
        for number in range(events):
            store.append("s-1", [RawEvent("A", number)])
    return path
