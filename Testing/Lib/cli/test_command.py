"""One command line for all commands: help, suggestions, files of options, missing packages."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ParanasalSSLLib.cli import main as cli
from ParanasalSSLLib.cli.command import Call, Command, load
from ParanasalSSLLib.cli.main import find_commands, main, run_command
from ParanasalSSLLib.cli.options import option_groups

HEAVY = ("torch", "pytorch_lightning", "lightning", "pandas", "matplotlib", "monai", "sklearn")


@dataclass(frozen=True)
class Inner:
    """Options inside."""

    lr: float = 0.1
    """Learning rate, above 0."""
    steps: int = 5
    """Steps, 1 or more."""


@dataclass(frozen=True)
class Outer:
    """Says back what it was told."""

    name: str
    """Name of something."""
    inner: Inner = field(default_factory=Inner)
    """Inner things."""
    maybe: Inner | None = None
    """Things that may be missing."""
    files: list[Path] | None = None
    """File, any number."""
    later: Inner = field(default_factory=lambda: Inner(steps=50))
    """Things inside with a default of their own."""
    two_words: tuple[int, int] = (1, 2)
    """Two numbers."""
    fast: bool = False
    """Whether to hurry."""

    def __post_init__(self) -> None:
        if self.inner.lr <= 0:
            raise ValueError("lr is above 0")


told: dict[str, Any] = {}


def note(config: Outer, call: Call) -> Path | None:
    told.update(config=config, call=call)
    return Path(config.name)


HERE = __name__
ECHO = Command("echo", "says it back", "Tests", f"{HERE}:Outer", f"{HERE}:note", "name")


def echo(*words: str) -> Outer:
    assert run_command(ECHO, words) == 0
    return told["config"]


def test_options_in_any_spelling_and_order() -> None:
    assert echo("--two_words", "[3,4]", "a", "--fast").two_words == (3, 4)
    assert echo("--two-words=[3,4]", "--name", "a").two_words == (3, 4)
    given = echo("--files", "1", "a", "--files", "[null]", "--inner.steps", "7")
    assert given.files == [Path("1"), Path("[null]")] and given.inner == Inner(steps=7)
    assert given.name == "a" and given.maybe is None


def test_a_group_that_may_be_missing_is_there_when_it_is_named() -> None:
    assert echo("a", "--maybe.lr", "2").maybe == Inner(lr=2)
    assert echo("a", "--maybe.steps", "0").maybe == Inner(steps=0)


def test_a_group_keeps_the_default_that_its_field_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert echo("a").later == Inner(steps=50)
    assert echo("a", "--later.lr", "2").later == Inner(lr=2, steps=50)
    with pytest.raises(SystemExit):
        run_command(ECHO, ["--help"])
    assert "(default: 50)" in capsys.readouterr().out


def test_options_come_from_a_file_and_the_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("name: b\ninner: {lr: 3, steps: 4}\nmaybe: null\nfast: true\nfiles: [x, y]\n")
    given = echo("--config", str(file), "--inner.steps", "9")
    assert given.inner == Inner(3, 9) and given.fast and given.name == "b"
    assert given.files == [Path("x"), Path("y")] and given.maybe is None


def test_result_is_told_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    echo("a")
    assert capsys.readouterr().out == "Wrote a\n"
    echo("a", "--quiet")
    assert capsys.readouterr().out == "" and told["call"] == Call(quiet=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "NAME must be given"),
        (["a", "b"], "more than one NAME"),
        (["a", "--inner.lrr", "3"], "Did you mean --inner.lr?"),
        (["a", "--inner.steps", "x"], "--inner.steps takes N, not x"),
        (["a", "--inner.lr", "0"], "lr is above 0"),
        (["a", "--two-words", ""], "empty value"),
        (["a", "--inner.lr"], "expected one argument"),
    ],
)
def test_wrong_usage_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_command(ECHO, words)
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed and len(printed.splitlines()) <= 3


def test_a_mistyped_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predcit"]) == 2
    assert "Did you mean predict?" in capsys.readouterr().err
    assert main([]) == 2


def test_missing_packages_are_named_with_the_line_that_installs_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs(config: Outer) -> None:
        import a_package_that_is_not_there  # noqa: F401

    monkeypatch.setattr(sys.modules[__name__], "note", needs)
    command = Command(
        "echo", "", "Tests", f"{HERE}:Outer", f"{HERE}:note", "name", extra="training"
    )
    assert run_command(command, ["a"]) == 1
    printed = capsys.readouterr().err
    assert "a_package_that_is_not_there" in printed and "[training]" in printed
    assert f"{sys.executable} -m pip install" in printed
    gone = Command("echo", "", "Tests", "not_there:Config", "not_there:run", extra="training")
    assert run_command(gone, ["--help"]) == 1
    assert "[training]" in capsys.readouterr().err


def test_packages_that_cannot_be_loaded_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point = EntryPoint("training", "a_package_that_is_not_there:register", cli.COMMANDS_GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [point])
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "predict" in printed and "a_package_that_is_not_there" in printed


def test_other_packages_add_their_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("a_package_with_a_command")
    module.register = lambda: (ECHO,)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    point = EntryPoint("greet", "a_package_with_a_command:register", cli.COMMANDS_GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [point])
    assert main(["echo", "seven"]) == 0
    assert told["config"].name == "seven"


# ------------------------------------------------------------------------ all commands there are

COMMANDS = {command.name: command for command in find_commands()[0]}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_has_a_sentence(name: str) -> None:
    groups = option_groups(load(COMMANDS[name].config))
    lacking = [o.flag for group in groups for o in group.options if not o.help.endswith(".")]
    assert lacking == []


def test_help_of_every_command_imports_nothing_heavy() -> None:
    program = f"""
import contextlib, io, json, sys
from ParanasalSSLLib.cli.main import main
found = {{}}
for name in {["", *COMMANDS]!r}:
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        main([name, "--help"] if name else ["--help"])
    assert "usage: paranasal" in text.getvalue()
    found[name] = sorted({{m.split(".")[0] for m in sys.modules}} & set({HEAVY!r}))
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heavy = {name: found for name, found in json.loads(done.stdout).items() if found}
    assert heavy == {}
