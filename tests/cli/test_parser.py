"""Arguments as a new user meets them: help, versions, completion, and errors that name what was meant."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import ocrslim
from ocrslim.cli import main, run_script
from ocrslim.cli.commands import COMMANDS
from ocrslim.cli.parser import command_parser, parse

REPO = Path(__file__).resolve().parents[2]
MAIN = str(REPO / "configs/det/det_mv3_db.yml")
SCRIPTS = {"sensitivity_anal": "sensitivity", "pruning_and_finetune": "prune", "export_prune_model": "export"}
EXAMPLES = {"sensitivity_anal": 2, "pruning_and_finetune": 2, "export_prune_model": 3}


def refused(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def printed(capsys, run, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code in (0, None)
    out, err = capsys.readouterr()
    assert not err
    return out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "STAGE"),
        (["senstivity"], "unknown command 'senstivity': did you mean sensitivity?"),
        (["import_weights", "a", "b"], "did you mean import-weights?"),
        (["frobnicate"], "expected one of compress, sensitivity, prune, export"),
        (["eval"], "no model is named: expected MODEL"),
        (["eval", "-c", MAIN, "--jsn"], "unknown option '--jsn': did you mean --json? (ocrslim eval --help"),
        (["eval", "-c", MAIN, "--dry-run"], "unknown option '--dry-run'"),
        (["eval", "--confg", MAIN], "unknown option '--confg': did you mean --config?"),
        (["predict", "--imags=x", "model"], "unknown option '--imags': did you mean --images?"),
        (["--verison"], "unknown option '--verison': did you mean --version? (ocrslim --help"),
        (["eval", "-c", MAIN, "-x"], "unknown option '-x'"),
        (["eval", "-c", MAIN, "--js", "--nothing"], "unknown option '--nothing'"),
        (["config", "a.jpg", "-c", MAIN], "unknown argument 'a.jpg'"),
        (["eval", "a.jpg", "-c", MAIN], "a.jpg: not found"),
        (["merge", "a"], "the following arguments are required: -c/--config"),
        (["--print-completion", "cmd"], "invalid choice: 'cmd'"),
        (["eval", "-c", MAIN, "-q", "-v"], "not allowed with"),
        (["eval\nerror: no", "-c", MAIN], "unknown command"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_was_meant(capsys, arguments, expected):
    assert expected in refused(capsys, *arguments)


@pytest.mark.parametrize("stage", COMMANDS)
def test_every_help_has_examples_that_parse(capsys, stage):
    out = printed(capsys, main, [stage, "--help"])
    examples = re.findall(r"^  (ocrslim .*)", out.partition("examples:\n")[2].replace("\\\n", ""), re.MULTILINE)
    assert len(examples) == len(set(examples)) >= 2
    assert max(map(len, out.splitlines())) <= 100
    for example in examples:
        words = shlex.split(example)
        assert parse(command_parser(), words[1:]).stage == stage
        assert not [word for word in words if word.startswith("configs/") and not (REPO / word).is_file()]


def test_the_examples_name_keys_that_there_are(monkeypatch):
    from ocrslim.config import load_config

    monkeypatch.chdir(REPO)
    for command in COMMANDS.values():
        for words in command.examples.values():
            options = shlex.split(words.partition(" -o ")[2])
            assert load_config(MAIN, options).given or not options


def test_the_help_of_ocrslim_lists_every_command(capsys):
    out = printed(capsys, main, ["--help"])
    assert all(re.search(rf"^ +{stage} ", out, re.MULTILINE) for stage in COMMANDS)
    assert out.count("\n  ocrslim ") == 3


@pytest.mark.parametrize(("script", "stage"), SCRIPTS.items())
def test_the_examples_of_a_script_call_the_script(capsys, monkeypatch, script, stage):
    monkeypatch.setattr(sys, "argv", [f"deploy/slim/prune/{script}.py"])
    out = printed(capsys, run_script, stage, ["--help"])
    assert out.count(f"\n  python deploy/slim/prune/{script}.py -c configs/det/det_mv3_db.yml") == EXAMPLES[script]
    assert "Stage " in out and "ocrslim " not in out.partition("examples:")[2]


def test_versions_show_at_once_and_without_importing_paddle():
    code = (
        "import sys; from ocrslim.cli import main\ntry: main(['--version'])\nfinally: sys.exit('paddle' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours, python, *others = done.stdout.splitlines()
    assert ours == f"ocrslim {ocrslim.__version__}" and python.startswith("Python 3.")
    names = ("paddlepaddle", "paddleslim", "paddleocr")
    assert others == [f"{name} {version(name)}" for name in names]


def test_the_version_shows_before_a_command_too(capsys):
    assert printed(capsys, main, ["--version", "eval"]).startswith("ocrslim ")


def test_a_package_that_is_missing_is_said_to_be(capsys, monkeypatch):
    monkeypatch.setattr("ocrslim.cli.versions._DISTRIBUTIONS", (("no-such-paddle", "nor-this"),))
    assert printed(capsys, main, ["--version"]).splitlines()[-1] == "no-such-paddle not installed"


def test_the_version_is_that_of_the_installed_package_and_written_once():
    assert re.fullmatch(r"\d+\.\d+\.\d+", ocrslim.__version__)
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == ocrslim.__version__
    assert ocrslim.__version__ not in (REPO / "setup.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_each_shell_gets_a_script_with_every_command(capsys, shell):
    script = printed(capsys, main, ["--print-completion", shell])
    assert all(stage in script for stage in COMMANDS) and "print-completion" in script


def test_bash_completes_commands_and_options(capsys, tmp_path):
    script = tmp_path / "completion.sh"
    script.write_text(printed(capsys, main, ["--print-completion", "bash"]), encoding="utf-8")

    def completed(*words: str) -> list[str]:
        line = " ".join(words)
        code = (
            f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; "
            "COMP_POINT=${#COMP_LINE}; _shtab_ocrslim; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
        return [word.strip() for word in done.stdout.splitlines() if word.strip()]

    assert completed("ocrslim", "sens") == ["sensitivity"]
    assert completed("ocrslim", "prune", "--dry") == ["--dry-run"]


def test_completion_without_shtab_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "pip install shtab" in refused(capsys, "--print-completion", "bash")


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["groups"], logging.INFO),
        (["groups", "-v"], logging.DEBUG),
        (["-v", "groups"], logging.DEBUG),
        (["groups", "--quiet"], logging.WARNING),
        (["-q", "groups"], logging.WARNING),
        (["-q", "groups", "-v"], logging.DEBUG),
    ],
)
def test_levels_of_the_log_before_and_behind_the_command(monkeypatch, words, level):
    monkeypatch.setattr("ocrslim.cli.running._run", lambda *_: 0)
    assert main([*words, "-c", MAIN]) == 0
    assert logging.getLogger("ocrslim").level == level


@pytest.mark.parametrize("stage", SCRIPTS.values())
def test_scripts_have_levels_too(monkeypatch, stage):
    monkeypatch.setattr("ocrslim.cli.running._run", lambda *_: 0)
    for option, level in (("-v", logging.DEBUG), ("-q", logging.WARNING)):
        assert run_script(stage, ["-c", MAIN, option]) == 0
        assert logging.getLogger("ocrslim").level == level


@pytest.mark.parametrize("option", ["-v", "-q"])
def test_only_verbose_errors_have_a_traceback(option):
    words = [sys.executable, "-m", "ocrslim", "groups", "-c", "/nowhere/c.yml", option]
    done = subprocess.run(words, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and lines[-1].startswith("error: /nowhere/c.yml: not found")
    assert ("Traceback" in done.stderr) == (option == "-v") and (len(lines) == 1) == (option == "-q")


def test_quiet_has_no_progress_bar(capsys):
    from ocrslim.utils import progress_bar

    for level, shown in ((logging.INFO, True), (logging.WARNING, False)):
        logging.getLogger("ocrslim").setLevel(level)
        list(progress_bar(range(3), desc="work"))
        assert ("work" in capsys.readouterr().err) == shown


@pytest.mark.parametrize("words", [["--version"], ["eval", "--help"], ["-c"], ["eval", "-c", "/nowhere.yml"]])
def test_nothing_heavy_is_imported_before_the_configuration_is_read(words):
    code = (
        "import sys\nfrom ocrslim.cli import main\nheavy = ('paddle', 'ppocr', 'scipy', 'matplotlib')\n"
        "early = [m for m in ('numpy', 'tqdm', 'yaml', *heavy) if m in sys.modules]\nassert not early, early\n"
        f"try: main({words!r})\nfinally: assert not [m for m in heavy if m in sys.modules]"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode in (0, 2)


def test_opencv_is_not_imported_before_its_limits_are_set():
    """OpenCV reads the variables that `import_paddle` sets when it is loaded, and never again."""
    code = "import sys, ocrslim.config; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
