"""Settings that stay: written by --save, read at the start, overridden by flags."""

from dataclasses import replace
from pathlib import Path

import pytest

from segjax.cli import serve, settings
from segjax.cli.serve import NEVER_KEPT, Options, parse
from segjax.errors import SegjaxError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "segjax" / "settings.toml"
    monkeypatch.setenv("SEGJAX_SETTINGS", str(path))
    return path


def test_what_was_kept_is_there_again(file: Path, tmp_path: Path) -> None:
    beach = tmp_path / "beach.jpg"
    beach.touch()
    kept = Options(
        source="HD Pro Webcam",
        background=str(beach),
        sinks=("virtual-camera", "window"),
        camera_rate=25.0,
        smoothing=False,
        port=9000,
        backgrounds=tmp_path,
    )
    settings.save(file, kept, never=NEVER_KEPT)
    assert parse([], "serve") == kept


def test_only_what_differs_is_written_and_nothing_of_one_run(file: Path) -> None:
    options = Options(background="studio", max_frames=5, report=Path("r.json"), save=True)
    settings.save(file, options, never=NEVER_KEPT)
    assert file.read_text() == (
        '# Read by `segjax serve`; flags override it.\nbackground = "studio"\n'
    )


def test_a_file_is_kept_by_its_whole_path(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("beach.jpg").touch()
    settings.save(file, Options(background="beach.jpg"), never=NEVER_KEPT)
    assert parse([], "serve").background == str(tmp_path / "beach.jpg")


def test_flags_override_what_was_kept(file: Path) -> None:
    kept = Options(background="studio", sinks=("virtual-camera", "window"), smoothing=False)
    settings.save(file, kept, never=NEVER_KEPT)
    for flags in (["--sink", "null"], ["--sink=null"]):
        assert parse(flags, "serve").sinks == ("null",)
    both = parse(["--sink", "null", "--sink", "window", "--background", "dusk"], "serve")
    assert (both.sinks, both.background, both.smoothing) == (("null", "window"), "dusk", False)
    assert parse(["--smoothing"], "serve").smoothing
    assert parse(["--background", "dusk"], "serve").sinks == kept.sinks


def test_without_a_file_the_defaults_hold(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse([], "serve") == Options()
    monkeypatch.setenv("SEGJAX_SETTINGS", "off")
    assert settings.settings_file() is None
    monkeypatch.delenv("SEGJAX_SETTINGS")
    place = "APPDATA" if settings.os.name == "nt" else "XDG_CONFIG_HOME"
    monkeypatch.setenv(place, "/somewhere")
    assert settings.settings_file() == Path("/somewhere/segjax/settings.toml")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("background = studio", "they are TOML; mend or delete the file"),
        ("backgruond = 'studio'", "hold 'backgruond'; they may hold source, background, sinks"),
        ("max-frames = 3", "hold 'max-frames'"),
        ("background = 3", "background = 3; it is a text in quotes"),
        ("smoothing = 1", "smoothing = 1; it is true or false"),
        ("port = true", "port = True; it is a whole number"),
        ("port = 80.5", "it is a whole number"),
        ("camera-rate = '30'", "it is a number"),
        ("sinks = 'null'", "it is a list of texts"),
        ("sinks = ['null', 3]", "it is a list of texts"),
        ("cert = 3", "it is a text in quotes"),
        ("\udcff", "they are TOML"),
    ],
)
def test_settings_that_are_not_usable_are_one_line(file: Path, text: str, line: str) -> None:
    file.parent.mkdir()
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SegjaxError) as caught:
        parse([], "serve")
    assert line in str(caught.value) and str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_save_keeps_only_what_runs(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ran(Exception):
        pass

    def load_matting(*_: object) -> None:
        raise Ran

    monkeypatch.setattr(serve, "load_matting", load_matting)
    flags = ["--source", "sample", "--sink", "null", "--save", "--background"]
    with pytest.raises(SegjaxError, match="got the background 'kitchen'"):
        serve.main(parse([*flags, "kitchen"], "serve"))
    with pytest.raises(SegjaxError, match="got --person me; known are all, largest, central"):
        serve.main(replace(parse([*flags, "evening"], "serve"), person="me"))
    assert not file.exists()
    with pytest.raises(Ran):
        serve.main(parse([*flags, "evening"], "serve"))
    assert f"kept for the next time: {file}" in capsys.readouterr().err
    assert parse([], "serve") == Options(source="sample", sinks=("null",), background="evening")
    assert f"settings of {file}" in capsys.readouterr().err
    monkeypatch.setenv("SEGJAX_SETTINGS", "off")
    with pytest.raises(SegjaxError, match="got --save while SEGJAX_SETTINGS is off"):
        serve.main(parse([*flags, "evening"], "serve"))
