"""The machine's memory of what takes time to find out: where the setting says, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.utils.json_cache import JsonCache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path / "caches"))
    return tmp_path / "caches"


def test_values_are_found_again_where_the_setting_says(folder: Path) -> None:
    cache = JsonCache("below/some.json")
    assert "a" not in cache
    cache.put("a", [1, "x"])
    cache.put("none", None)
    cache.save()
    assert [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()] == ["below/some.json"]
    again = JsonCache("below/some.json")
    assert again.get("a") == [1, "x"]
    assert "none" in again
    assert again.get("none") is None
    assert again.get("missing") is None


def test_nothing_is_written_where_nothing_was_added(folder: Path) -> None:
    JsonCache("some.json").save()
    assert not folder.exists()


def test_what_another_command_saved_meanwhile_stays(folder: Path) -> None:
    first, second = JsonCache("some.json"), JsonCache("some.json")
    first.put("a", 1)
    second.put("b", 2)
    first.save()
    second.save()
    found = JsonCache("some.json")
    assert (found.get("a"), found.get("b")) == (1, 2)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_as_none_and_written_anew(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "some.json").write_bytes(content)
    cache = JsonCache("some.json")
    assert "a" not in cache
    cache.put("a", 1)
    cache.save()
    assert JsonCache("some.json").get("a") == 1


def test_a_cache_that_cannot_be_written_is_none_and_no_error(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    cache = JsonCache("some.json")
    cache.put("a", 1)
    cache.save()
    assert cache.get("a") == 1
    assert "a" not in JsonCache("some.json")
