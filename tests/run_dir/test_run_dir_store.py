from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import made_records
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge.errors import RunError
from pepr_edge.records import Artifact, Bound, Failure, Record
from pepr_edge.run_dir import store
from pepr_edge.run_dir.layout import PRIVATE
from pepr_edge.run_dir.store import (
    is_intact,
    locked,
    log_event,
    read_current,
    read_record,
    sha256_file,
    stage_key,
    write_bytes,
    write_record,
    write_text,
)

FAILURE = Failure(
    key="k", candidate=made_records.candidate("small"), stage="train", reason="out of memory: 3 Ω"
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path / "deep" / "er" / "failure.json", FAILURE)
    assert read_record(tmp_path / "deep" / "er" / "failure.json", Failure) == FAILURE
    text = (tmp_path / "deep" / "er" / "failure.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert json.loads(text)["schema_version"] == 1


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"long content")
    write_text(tmp_path / "a", "é")
    assert (tmp_path / "a").read_bytes() == "é".encode()
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_bytes(tmp_path / "a", b"old")
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_failed_replacement_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(OSError):
        write_bytes(tmp_path / "a", b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_file_torn_anywhere_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path / "whole.json", FAILURE)
    whole = (tmp_path / "whole.json").read_bytes().rstrip()
    for end in range(len(whole)):
        (tmp_path / "torn.json").write_bytes(whole[:end])
        with pytest.raises(RunError, match=r"torn\.json: not a Failure record .*Delete it") as fault:
            read_record(tmp_path / "torn.json", Failure)
        assert "\n" not in str(fault.value)


def test_an_unreadable_record_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none\.json: no such file, expected a Failure record"):
        read_record(tmp_path / "none.json", Failure)
    with pytest.raises(RunError, match="cannot be read"):
        read_record(tmp_path, Failure)


def test_a_message_is_one_line_whatever_the_keys(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text('{"lo": 0, "hi": 1, "unit": "s", "a\\n b": 1}')
    with pytest.raises(RunError, match=r"not a Bound record \(a b: Extra inputs"):
        read_record(tmp_path / "odd.json", Bound)


def test_another_record_is_refused_and_the_key_named(tmp_path: Path) -> None:
    write_record(tmp_path / "bound.json", Bound(lo=0, hi=1, unit="s"))
    with pytest.raises(RunError, match=r"not a Failure record \(key: Field required, and 7 more\)"):
        read_record(tmp_path / "bound.json", Failure)


@settings(deadline=None)
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["lo", "hi", "unit", "a\nb"]), inner),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_a_record_or_a_run_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "strange.json"
        path.write_bytes(content)
        try:
            assert isinstance(read_record(path, Bound), Bound)
        except RunError as fault:
            message = str(fault)
            assert str(path) in message
            assert "\n" not in message


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"lo": ' * 5000,
        b'{"lo": 1' + b"0" * 5000 + b"}",
        b'{"lo": 1e999, "hi": 1, "unit": ""}',
    ],
)
def test_json_that_is_deep_or_has_huge_numbers_is_a_run_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "strange.json").write_bytes(content)
    with pytest.raises(RunError):
        read_record(tmp_path / "strange.json", Bound)


def test_only_a_whole_record_of_the_same_inputs_is_current(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    assert read_current(path, Artifact, "k") is None
    write_record(path, made_records.artifact("small", key="k"))
    assert read_current(path, Artifact, "k") == made_records.artifact("small", key="k")
    assert read_current(path, Artifact, "other") is None
    assert read_current(path, Failure, "k") is None
    path.write_bytes(path.read_bytes()[:-10])
    assert read_current(path, Artifact, "k") is None


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "large").write_bytes(bytes(3 << 20) + b"x")
    assert sha256_file(tmp_path / "large") == made_records.digest("\0" * (3 << 20) + "x")


def test_a_file_is_hashed_once_while_it_does_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    read_sha256 = store._read_sha256

    def counted(path: Path) -> str:
        read.append(path.name)
        return read_sha256(path)

    monkeypatch.setattr(store, "_read_sha256", counted)
    monkeypatch.setattr(store, "MIN_AGE_NS", 0)
    path = tmp_path / "a"
    path.write_text("first")
    first = sha256_file(path)
    assert (sha256_file(path), is_intact(path, first), read) == (first, True, ["a"])
    time.sleep(0.02)  # longer than a tick of the file system's clock
    path.write_text("other")
    os.utime(path, ns=(0, 0))
    assert sha256_file(path) == made_records.digest("other")
    write_text(path, "third")
    assert sha256_file(path) == made_records.digest("third")
    assert not is_intact(path, first)
    assert len(read) == 3
    path.unlink()
    assert not is_intact(path, first)


def test_the_hash_of_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("first")
    sha256_file(path)
    path.write_text("other")  # perhaps within the same tick of the file system's clock
    assert sha256_file(path) == made_records.digest("other")


def test_a_stage_key_depends_on_every_part_and_its_place() -> None:
    bound: Record = Bound(lo=0, hi=1, unit="s")
    key = stage_key("train", bound, 3, {"a": 1, "b": 2})
    assert len(key) == 64
    assert key == stage_key("train", Bound(lo=0, hi=1, unit="s"), 3, {"b": 2, "a": 1})
    others = [
        stage_key("export", bound, 3, {"a": 1, "b": 2}),
        stage_key("train", Bound(lo=0, hi=2, unit="s"), 3, {"a": 1, "b": 2}),
        stage_key("train", bound, 4, {"a": 1, "b": 2}),
        stage_key("train", bound, 3, {"a": 2, "b": 1}),
        stage_key(bound, "train", 3, {"a": 1, "b": 2}),
        stage_key("train", bound, None, {"a": 1, "b": 2}),
    ]
    assert len({key, *others}) == 7


def test_a_stage_key_is_the_same_in_every_process() -> None:
    code = """
from pepr_edge.run_dir.store import stage_key
print(stage_key("train", {"b": [1.5, None], "a": "é"}))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == stage_key("train", {"a": "é", "b": (1.5, None)})


def test_events_are_appended_as_lines_of_json(tmp_path: Path) -> None:
    before = time.time()
    log_event(tmp_path, "started", candidates=["a@64"])
    log_event(tmp_path, "measured", reason="two\nlines")
    lines = [
        json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["event"] for line in lines] == ["started", "measured"]
    assert lines[0]["candidates"] == ["a@64"]
    assert lines[1]["reason"] == "two\nlines"
    assert before - 1 <= lines[0]["time_s"] <= lines[1]["time_s"] <= time.time() + 1


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the folder until its stdin ends."""
    code = f"""
from pathlib import Path
from pepr_edge.run_dir.store import locked
with locked(Path({str(folder)!r})):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_with_the_pid_of_the_first_while_it_lives(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as first:
        for _ in range(2):
            with (
                pytest.raises(RunError, match=rf"in use by process {first.pid}\. Wait for it"),
                locked(tmp_path / "run"),
            ):
                pass
        # Killed, without a chance to clean up.
        first.kill()
        first.wait()
        with locked(tmp_path / "run"):
            assert (tmp_path / "run" / PRIVATE / "lock").read_text() == str(os.getpid())


def test_a_lock_ends_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with (
        locked(tmp_path),
        pytest.raises(RunError, match=f"in use by process {os.getpid()}"),
        locked(tmp_path),
    ):
        pass


def test_the_lock_of_one_folder_leaves_others_free(tmp_path: Path) -> None:
    with locked(tmp_path / "a"), locked(tmp_path / "b"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="flock and fsync of folders are POSIX")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_used(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    said: list[str] = []
    with locked(tmp_path / "run", said.append):
        pass
    assert len(said) == 1
    assert "no locks" in said[0]


@pytest.mark.skipif(os.name != "posix", reason="flock and fsync of folders are POSIX")
def test_a_lock_that_is_held_is_no_missing_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise BlockingIOError(errno.EWOULDBLOCK, "busy")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(RunError, match="in use"), locked(tmp_path / "run"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="flock and fsync of folders are POSIX")
@pytest.mark.parametrize(
    ("code", "is_used"), [(errno.EINVAL, True), (errno.ENOSYS, True), (errno.EIO, False)]
)
def test_folders_that_cannot_be_synced_are_used(
    code: int, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if is_used:
        write_text(tmp_path / "a.txt", "content")
    else:
        with pytest.raises(OSError, match=os.strerror(code)):
            write_text(tmp_path / "a.txt", "content")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "content"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_write_without_room_names_its_file(number: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"a\.txt"), store.atomic_writer(tmp_path / "a.txt"):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []
