"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ParanasalSSLLib.files import write_whole


@pytest.mark.parametrize("name", ["a.json", "scan.seg.nrrd", "map.nii.gz", "plain"])
def test_the_temporary_name_keeps_all_suffixes_and_goes_away(tmp_path: Path, name: str) -> None:
    with write_whole(tmp_path / name) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name != name and temporary.name.endswith(f".{name}")
        temporary.write_text("content", encoding="utf-8")
        assert not (tmp_path / name).exists(), "nothing is seen before it is whole"
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "content"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), write_whole(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text(encoding="utf-8") == "old"


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")
    with write_whole(str(path)) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "new"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with write_whole(tmp_path / "a" / "b" / "c.txt") as temporary:
        temporary.write_text("x", encoding="utf-8")
    assert (tmp_path / "a" / "b" / "c.txt").is_file()


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "same.txt"
    with write_whole(path) as one, write_whole(path) as other:
        assert one != other
        one.write_text("one", encoding="utf-8")
        other.write_text("other", encoding="utf-8")
    assert os.listdir(tmp_path) == ["same.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "nothing.txt"):
        pass
