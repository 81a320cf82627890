import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from piavae_jax.data.atomic import new_file, new_folder
from piavae_jax.errors import UserError

MARKER = "marker"


def write(folder, text, *, overwrite=False):
    with new_folder(folder, overwrite=overwrite, marker=MARKER) as staging:
        (staging / MARKER).write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def abandon(folder, name, **content):
    """Lay out a workspace as a process killed with SIGKILL leaves it."""
    workspace = folder / name
    workspace.mkdir()
    (workspace / "lock").touch()
    for part, text in content.items():
        (workspace / part).mkdir()
        (workspace / part / MARKER).write_text(text)


def test_a_folder_is_replaced_whole(tmp_path):
    write(tmp_path / "set", "first")
    write(tmp_path / "set", "second", overwrite=True)
    assert (tmp_path / "set" / MARKER).read_text() == "second"
    assert names(tmp_path) == ["set"]


def test_a_link_to_an_empty_folder_stays_one(tmp_path):
    (tmp_path / "large_disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "large_disk")
    write(tmp_path / "set", "text")
    assert (tmp_path / "set").is_symlink()
    assert names(tmp_path / "large_disk") == [MARKER]


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path):
    code = (
        "import pathlib, sys, time; from piavae_jax.data.atomic import new_file, new_folder\n"
        "with new_folder(pathlib.Path(sys.argv[1]), overwrite=False, marker='marker') as staging:\n"
        "    (staging / 'large').write_bytes(bytes(1000)); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "set")], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    assert len(list(tmp_path.glob(".set.*/new/large"))) == 1
    write(tmp_path / "set", "whole")
    assert names(tmp_path) == ["set"]


def test_a_writer_that_lives_is_left_alone(tmp_path):
    with new_folder(tmp_path / "set", overwrite=True, marker=MARKER) as slow:
        (slow / MARKER).write_text("slow")
        write(tmp_path / "set", "fast")
        assert (tmp_path / "set" / MARKER).read_text() == "fast"
    assert (tmp_path / "set" / MARKER).read_text() == "slow"
    assert names(tmp_path) == ["set"]


def test_a_process_killed_between_the_renames_loses_nothing(tmp_path):
    abandon(tmp_path, ".set.abcdefgh.part", old="old", new="new")
    with pytest.raises(UserError, match="exists already"):
        write(tmp_path / "set", "newer")
    assert (tmp_path / "set" / MARKER).read_text() == "old"
    assert names(tmp_path) == ["set"]


def test_a_process_killed_after_the_renames_leaves_the_new_folder(tmp_path):
    write(tmp_path / "set", "new")
    abandon(tmp_path, ".set.abcdefgh.part", old="old")
    write(tmp_path / "set", "newer", overwrite=True)
    assert (tmp_path / "set" / MARKER).read_text() == "newer"
    assert names(tmp_path) == ["set"]


def test_the_old_folder_comes_back_where_the_new_one_cannot_be_moved(tmp_path, monkeypatch):
    write(tmp_path / "set", "old")
    rename = Path.rename

    def refuse(path, target):
        if path.name == "new":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="No space left on device"):
        write(tmp_path / "set", "new", overwrite=True)
    assert (tmp_path / "set" / MARKER).read_text() == "old"
    assert names(tmp_path) == ["set"]


@pytest.mark.parametrize("other", [".set.b.abcdefgh.part", ".set.abcdefgh", ".other.abcdefgh.part"])
def test_only_workspaces_of_the_folder_itself_are_removed(tmp_path, other):
    abandon(tmp_path, other, new="new")
    write(tmp_path / "set", "whole")
    assert names(tmp_path) == sorted(["set", other])


def test_a_folder_like_a_workspace_without_its_lock_stays(tmp_path):
    (tmp_path / ".set.abcdefgh.part").mkdir()
    write(tmp_path / "set", "whole")
    assert names(tmp_path) == [".set.abcdefgh.part", "set"]


def test_a_file_is_replaced_whole_or_keeps_what_it_held(tmp_path):
    path = tmp_path / "deep" / "page.html"
    for text in ("first", "second"):
        with new_file(path) as staged:
            staged.write_text(text)

    def fail_halfway():
        with new_file(path) as staged:
            staged.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text() == "second"
    assert names(path.parent) == ["page.html"]


def test_a_file_that_cannot_be_written_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match="is a folder"), new_file(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), new_file(tmp_path / "file" / "page.html"):
        pass


def test_what_another_process_made_meanwhile_is_kept(tmp_path):
    with pytest.raises(UserError, match="exists already"), new_folder(tmp_path / "set", overwrite=False, marker=MARKER):
        write(tmp_path / "set", "theirs")
    assert (tmp_path / "set" / MARKER).read_text() == "theirs"
    assert names(tmp_path) == ["set"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_a_users_error_where_polars_writes(tmp_path):
    full = r"cannot be written \(No space left on device\)"

    def fill(path):
        path.symlink_to("/dev/full")
        pl.DataFrame({"item": range(1000)}).write_parquet(path)

    with pytest.raises(UserError, match=full), new_folder(tmp_path / "set", overwrite=False, marker=MARKER) as staging:
        fill(staging / "table.parquet")
    with pytest.raises(UserError, match=full), new_file(tmp_path / "table.parquet") as staged:
        fill(staged)
    assert names(tmp_path) == []
