"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ParanasalSSLLib.errors import UnsafeOutput
from ParanasalSSLLib.files import alone, keep_users_files, sha256, write_whole, write_whole_folder


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


# ------------------------------------------------------------------------------- whole folders


def replace(older: Path, new: Path) -> None:
    """Nothing of the older folder is wanted."""


def test_failed_writing_keeps_the_older_result(tmp_path: Path) -> None:
    target = tmp_path / "sub-0001"
    with write_whole_folder(target, replace) as folder:
        (folder / "old.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), write_whole_folder(target, replace) as folder:
        (folder / "new.txt").write_text("half of it")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["sub-0001"]
    assert [path.name for path in target.iterdir()] == ["old.txt"]


def test_finished_writing_replaces_the_older_result_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "sub-0001"
    for name in ("old.txt", "new.txt"):
        with write_whole_folder(target, replace) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in tmp_path.iterdir()] == ["sub-0001"]
    assert [path.name for path in target.iterdir()] == ["new.txt"]


def test_a_filled_folder_is_refused_and_an_empty_one_taken(tmp_path: Path) -> None:
    for name in ("filled", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "filled" / "mine.txt").write_text("mine")
    with (
        pytest.raises(UnsafeOutput, match="there already"),
        write_whole_folder(tmp_path / "filled"),
    ):
        pass
    with write_whole_folder(tmp_path / "empty") as folder:
        (folder / "new.txt").write_text("new")
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert names == ["empty", "empty/new.txt", "filled", "filled/mine.txt"]


def test_what_users_put_in_or_changed_comes_along(tmp_path: Path) -> None:
    older, new = tmp_path / "older", tmp_path / "new"
    (older / "notes" / "deep").mkdir(parents=True)
    new.mkdir()
    for name in ("report.txt", "same.txt", "changed.txt", "edited_changed.txt"):
        (older / name).write_text(name)
    (older / "notes" / "deep" / "a.txt").write_text("a")
    (older / "link").symlink_to("nowhere")
    sums = {name: sha256(older / name) for name in ("same.txt", "changed.txt")}
    (older / "changed.txt").write_text("by a user")
    keep_users_files(older, new, sums | {"report.txt": None})
    names = ["2_edited_changed.txt", "edited_changed.txt", "link", "notes"]
    assert sorted(path.name for path in new.iterdir()) == names
    assert (new / "edited_changed.txt").read_text() == "by a user"
    assert (new / "link").readlink() == Path("nowhere")
    assert (new / "notes" / "deep" / "a.txt").read_text() == "a"


def test_what_a_killed_process_left_is_put_right(tmp_path: Path) -> None:
    (tmp_path / ".[x].0badcafe.old").mkdir()
    (tmp_path / ".[x].0badcafe.old" / "old.txt").write_text("old")
    (tmp_path / ".[x].0badcafe.new").mkdir()
    (tmp_path / ".[x].lock").touch()
    with pytest.raises(KeyboardInterrupt), write_whole_folder(tmp_path / "[x]", replace):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["[x]"]
    assert (tmp_path / "[x]" / "old.txt").read_text() == "old"


def test_what_is_only_called_alike_is_left_alone(tmp_path: Path) -> None:
    """`x.y` is another folder than `x`, and its unfinished work another process's."""
    names = [".x.y.0badcafe.new", ".x.y.0badcafe.old", ".x.mine.old", ".x.new"]
    for name in names:
        (tmp_path / name).mkdir()
    with write_whole_folder(tmp_path / "x", replace):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "x"])


def test_a_half_removed_older_folder_never_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it removes the older result; then the user deletes the new one."""
    target = tmp_path / "x"
    for name in ("a", "b"):
        with monkeypatch.context() as patch, write_whole_folder(target, replace) as folder:
            (folder / name).touch()
            patch.setattr(shutil, "rmtree", lambda *a, **k: None)
    shutil.rmtree(target)
    with write_whole_folder(target, replace) as folder:
        (folder / "c").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert [path.name for path in target.iterdir()] == ["c"]


def test_a_link_to_a_folder_stays_and_leads_to_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "disk" / "big").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "big")
    with write_whole_folder(tmp_path / "link") as folder:
        (folder / "a").touch()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "big" / "a").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["big"]


def test_a_file_is_no_folder_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with (
        pytest.raises(UnsafeOutput, match="no folder"),
        write_whole_folder(tmp_path / "x", replace),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


SLOW_WRITER = """
import sys, time
from pathlib import Path
from ParanasalSSLLib.files import write_whole_folder
with write_whole_folder(Path(sys.argv[1]), lambda older, new: None) as folder:
    (folder / "a.txt").write_text(sys.argv[2])
    time.sleep(0.5)
    (folder / "b.txt").write_text(sys.argv[2])
"""


def test_several_processes_make_one_folder_one_after_the_other(tmp_path: Path) -> None:
    target = tmp_path / "x"
    program = [sys.executable, "-c", SLOW_WRITER, str(target)]
    running = [
        subprocess.Popen([*program, str(n)], stderr=subprocess.PIPE, text=True) for n in range(4)
    ]
    for process in running:
        _, words = process.communicate(timeout=60)
        assert process.returncode == 0, words
    assert (target / "a.txt").read_text() == (target / "b.txt").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_who_does_not_wait_is_refused(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "x"),
        pytest.raises(UnsafeOutput, match="another process"),
        alone(tmp_path / "x", wait=False),
    ):
        pass
    with alone(tmp_path / "x", wait=False):
        pass
    assert not list(tmp_path.iterdir())
