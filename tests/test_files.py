import errno
import json
import os
import stat
from pathlib import Path

import pytest

from segjax.errors import SegjaxError
from segjax.files import replacing, replacing_folder, write_json

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def entries(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- one file -------------------------------------------------------------------------------


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "a.txt"
    with replacing(path) as beside:
        assert beside.parent == path.parent and beside.suffix == ".txt"
        beside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert entries(path.parent) == ["a.txt"]


def test_a_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "a") as beside:
        beside.write_text("new")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a")}
    assert len(modes) == 1


@pytest.mark.parametrize("end", [FULL, KeyboardInterrupt(), ValueError("mine")])
def test_an_older_file_stays_when_the_new_one_fails(tmp_path: Path, end: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    expected = SegjaxError if end is FULL else type(end)
    with pytest.raises(expected), replacing(path) as beside:
        beside.write_text("ne")
        raise end
    assert path.read_text() == "old" and entries(tmp_path) == ["a.txt"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    words = f"^cannot write {tmp_path}/a: No space left on device; choose an output on a writable"
    with pytest.raises(SegjaxError, match=words), replacing(tmp_path / "a"):
        raise FULL
    assert not entries(tmp_path)


@pytest.mark.parametrize("manager", [replacing, replacing_folder])
def test_a_place_where_no_folder_can_be(tmp_path: Path, manager) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(SegjaxError, match=r"cannot write .*file/a: "),
        manager(tmp_path / "file" / "a"),
    ):
        raise AssertionError("nothing is to be done for it")


def test_a_folder_is_no_file_and_says_so_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(SegjaxError, match="a: Is a directory"), replacing(tmp_path / "a"):
        raise AssertionError("nothing is to be done for it")
    assert entries(tmp_path) == ["a"]


def test_json_is_indented_and_ends_with_a_line(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2.5], "y": "z"})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"x": [1, 2.5], "y": "z"}
    assert text.startswith('{\n  "x"') and text.endswith("}\n")


def test_what_is_no_json_leaves_the_older_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == 1
    assert entries(tmp_path) == ["a.json"]


# --- a folder -------------------------------------------------------------------------------


def test_a_folder_gets_its_files_when_all_are_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "kept").write_text("old")
    (out / "again").write_text("old")
    with replacing_folder(out) as beside:
        (beside / "again").write_text("new")
        (beside / "sub").mkdir()
        (beside / "sub" / "b").write_text("new")
        assert entries(out) == ["again", "kept"]
    texts = {name: (out / name).read_text() for name in ("kept", "again", "sub/b")}
    assert texts == {"kept": "old", "again": "new", "sub/b": "new"}
    assert entries(tmp_path) == ["out", "out/again", "out/kept", "out/sub", "out/sub/b"]


@pytest.mark.parametrize("end", [FULL, KeyboardInterrupt(), ValueError("mine")])
def test_a_folder_is_not_made_when_a_file_fails(tmp_path: Path, end: BaseException) -> None:
    expected = SegjaxError if end is FULL else type(end)
    with pytest.raises(expected), replacing_folder(tmp_path / "out") as beside:
        (beside / "a").write_text("new")
        raise end
    assert not entries(tmp_path)


def test_a_file_is_no_folder_and_says_so_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    with (
        pytest.raises(SegjaxError, match="out: Not a directory"),
        replacing_folder(tmp_path / "out"),
    ):
        raise AssertionError("nothing is to be done for it")
    assert entries(tmp_path) == ["out"] and (tmp_path / "out").read_text() == "old"
