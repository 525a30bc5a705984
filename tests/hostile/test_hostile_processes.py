"""Commands in a process of their own, started under conditions that a person does not choose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

pytestmark = [
    pytest.mark.slow,  # half a second each
    pytest.mark.skipif(sys.platform != "linux", reason="a shell's words, and limits of Linux"),
]
ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """A line of shell in which $P starts pepr-edge, its status, and a word that stdout and stderr hold."""

    line: str
    status: int
    word: str = ""


PREDICT = "predict 01-tiny@16-fp32 good.png"
ROWS: dict[str, Row] = {
    "warnings are errors": Row(f"$PYTHON -W error -m pepr_edge {PREDICT}", 0, "probability"),
    "no stdout": Row(f"$P {PREDICT} >&-", 0),
    "no stderr": Row(f"$P {PREDICT} 2>&-", 0, "probability"),
    "no stdin": Row(f"$P {PREDICT} <&-", 0, "probability"),
    "no streams at all": Row(f"$P {PREDICT} <&- >&- 2>&-", 0),
    "no stderr and an error": Row("$P predict none good.png 2>&-", 1),
    "a full disk behind stdout": Row(f"$P {PREDICT} > /dev/full", 1, "the disk is full"),
    "a reader that ends": Row("$P recipes show quickstart | true", 0),
    "no home": Row(f"env -u HOME $P {PREDICT}", 0, "probability"),
    "a home that is not there": Row(f"HOME=/none $P {PREDICT}", 0, "probability"),
    "the C locale": Row(f"LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $P {PREDICT}", 0, "probability"),
    "a terminal of ASCII": Row(f"PYTHONIOENCODING=ascii $P {PREDICT}", 0, "probability"),
    "no environment": Row(f"env -i PYTHONPATH=$PYTHONPATH $P {PREDICT}", 0, "probability"),
    "one core": Row(f"taskset -c 0 $P {PREDICT}", 0, "probability"),
    "a working directory that was deleted": Row(
        "mkdir gone; cd gone; rmdir ../gone; $P recipes show quickstart", 0, "quickstart"
    ),
    "little memory for doctor": Row("ulimit -v 400000; $P doctor", 0),
    "little memory for rank": Row("ulimit -v 400000; $P rank none", 1, "not a run directory"),
    "little memory for predict": Row(f"ulimit -v 60000; $P {PREDICT}", 1, "error: "),
    "few open files": Row(f"ulimit -n 24; $P {PREDICT}", 0, "probability"),
    "few open files for evaluate": Row(
        "ulimit -n 12; $P evaluate 01-tiny@16-fp32 site --out e.json", 0, "accuracy"
    ),
    "no byte of a table may be written": Row(
        "ulimit -f 0; $P score table.csv --performance val_01 --resource E=energy_kwh --out s.csv;"
        " s=$?; ls -A | grep -q s.csv && exit 99; exit $s",
        1,
        "s.csv: File too large",
    ),
    "no byte of a key may be written": Row(
        "ulimit -f 0; $P keys make key; s=$?; ls -A | grep -q key && exit 99; exit $s", 1, "File too large"
    ),
    "no byte of a dossier may be written": Row(
        "ulimit -f 0; $P dossier 01-tiny@16-fp32 --out papers", 1, "File too large"
    ),
    "Python without assertions and docstrings": Row(f"$PYTHON -OO -m pepr_edge {PREDICT}", 0, "probability"),
    "help without docstrings": Row("$PYTHON -OO -m pepr_edge --help", 0, "doctor"),
    "Python that shows all warnings": Row(f"$PYTHON -X dev -bb -m pepr_edge {PREDICT}", 0, "probability"),
    "odd numbers in the environment": Row(
        f"COLUMNS=-5 LINES=abc TERM=nope OMP_NUM_THREADS=abc TZ=x/y LC_ALL=xx $P {PREDICT}", 0, "probability"
    ),
    "no date of build": Row("SOURCE_DATE_EPOCH=abc $P data check images", 1, "SOURCE_DATE_EPOCH"),
    "a date of build in the year 3e9": Row(
        "SOURCE_DATE_EPOCH=99999999999999999999999999 $P doctor", 1, "SOURCE_DATE_EPOCH"
    ),
    "an empty date of build": Row("SOURCE_DATE_EPOCH= $P doctor", 1, "SOURCE_DATE_EPOCH"),
    "a date of build": Row(f"SOURCE_DATE_EPOCH=1700000000 $P {PREDICT}", 0, "probability"),
    "no core of a crash": Row(f"ulimit -c 0; $P {PREDICT}", 0, "probability"),
    "an interrupt": Row(f"timeout -s INT 0.15 $P {PREDICT}; test $? -ne 0", 0),
    "a module of the working directory": Row(
        f"echo 'import os; os._exit(66)' > json.py; $PYTHON -P -m pepr_edge {PREDICT};"
        " s=$?; rm json.py; exit $s",
        0,
        "probability",
    ),
}


# Each command under each condition: its status, and a word that it must say.
TABLE = "model,energy_kwh,val_00,val_01\na,1,0.5,0.9\nb,2,0.5,0.8\nc,3,0.6,0.7\n"
COMMANDS: dict[str, tuple[str, str]] = {
    "verify": ("verify 01-tiny@16-fp32", "passed"),
    "data check": ("data check images", "no problems"),
    "score": ("score table.csv --performance val_01 --resource E=energy_kwh --out s.csv", "0.9000"),
    "recipes copy": ("recipes copy quickstart --out c.toml", "c.toml"),
    "keys make": ("keys make key", "SHA256"),
    "evaluate": ("evaluate 01-tiny@16-fp32 site --out e.json", "accuracy"),
    "dossier": ("dossier 01-tiny@16-fp32 --out papers", "label.html"),
    "search": ("search replay table.csv", "policy bounded"),
}
CONDITIONS: dict[str, str] = {
    "warnings are errors": "$PYTHON -W error -m pepr_edge {0}",
    "warnings are errors everywhere": "PYTHONWARNINGS=error $P {0}",
    "no stdout": "$P {0} >&-",
    "no stderr": "$P {0} 2>&-",
    "no home": "env -u HOME $P {0}",
    "the C locale": "LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $P {0}",
    "one core": "taskset -c 0 $P {0}",
}


def condition_rows() -> dict[str, Row]:
    made: dict[str, Row] = {}
    for condition, line in CONDITIONS.items():
        for command, (words, said) in COMMANDS.items():
            word = "" if condition == "no stdout" else said
            made[f"{command}: {condition}"] = Row(line.format(words), 0, word)
    for command, words in {"a list": "zoo list", "JSON": "zoo list --json"}.items():
        # The status of what writes into a pipe is lost, so stderr has it.
        line = f"{{ $P {words}; echo status $? >&2; }} | true"
        made[f"a reader that ends at once, {command}"] = Row(line, 0, "status 1")
    return made


ROWS |= condition_rows()


@pytest.mark.parametrize("name", ROWS)
def test_a_command_under_odd_conditions(name: str, here: Path) -> None:
    row = ROWS[name]
    if "-P -m" in row.line and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 has no -P")
    done = shell(row.line, here)
    said = done.stdout + done.stderr
    assert done.returncode == row.status, said[:1000]
    assert row.word in said
    assert "Traceback" not in said


@pytest.fixture
def here(home: Path, tmp_path: Path) -> Path:
    """A folder with a bundle, an image, images of two classes and a table."""
    folder = Path(shutil.copytree(home, tmp_path / "here"))
    (folder / "table.csv").write_text(TABLE)
    for label, grey in (("images/a", 40), ("images/b", 160), ("site/normal", 40), ("site/pneumonia", 160)):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            picture = Image.effect_noise((32, 32), grey + number)
            picture.save(folder / label / f"{number}.png")
    return folder


def shell(
    line: str, here: Path, python: str = sys.executable, path: str = str(ROOT)
) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in a folder."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=here,
        env={
            **os.environ,
            "PYTHON": python,
            "P": f"{python} -m pepr_edge",
            "PYTHONPATH": path,
            "READ_ONLY": READ_ONLY,
        },
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
    )


# What only reads goes on; what writes ends in one line that names the file.
WITHOUT_WRITING: dict[str, Row] = {
    "predict": Row(PREDICT, 0, "probability"),
    "verify": Row("verify 01-tiny@16-fp32", 0, "passed"),
    "data check": Row("data check images", 0, "no problems"),
    "recipes show": Row("recipes show quickstart", 0, "quickstart"),
    "doctor": Row("doctor", 0),
    "bench": Row("bench --quick --no-extras 01-tiny@16-fp32 --out r.json", 1, "r.json"),
    "score": Row(COMMANDS["score"][0], 1, "s.csv: "),
    "recipes copy": Row(COMMANDS["recipes copy"][0], 1, "error: c.toml: "),
    "recipes schema": Row("recipes schema --out s.json", 1, "s.json: "),
    "keys make": Row(COMMANDS["keys make"][0], 1, "key: "),
    "init": Row("init images --out i.toml --no-time", 1, "i.toml: "),
    "evaluate": Row(COMMANDS["evaluate"][0], 1, "e.json: "),
    "dossier": Row(COMMANDS["dossier"][0], 1, "papers"),
    "run": Row("run quickstart --out new", 1, "new: "),
}
# Every mounted file system, /dev/shm and /tmp included, becomes read-only for what follows.
READ_ONLY = """
mount --make-rprivate / || exit 99
for folder in $(awk '{print $2}' /proc/mounts | grep -v '^/proc\\|^/sys'); do
    mount -o remount,ro,bind $folder 2>/dev/null
done
exec "$@"
"""
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"


@cache
def can_be_read_only() -> bool:
    """True if this user may make file systems read-only for a process."""
    try:
        test = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", "test", "!", "-w", "/tmp"]
        return subprocess.run(test, capture_output=True).returncode == 0
    except OSError:
        return False


@cache
def python_of_nobody() -> str | None:
    """Return a Python that a user without rights can start, with our packages; None if there is none."""
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        return None
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        # It must be able to start another of its kind.
        code = "import sys, subprocess, pepr_edge, onnxruntime; subprocess.check_call([sys.executable, '-V'])"
        test = [*NOBODY.split(), python, "-c", code]
        environment = {**os.environ, "PYTHONPATH": path_of_nobody()}
        if subprocess.run(test, env=environment, capture_output=True).returncode == 0:
            return python
    return None


def path_of_nobody() -> str:
    packages = [folder for folder in sys.path if folder.endswith("site-packages")]
    return os.pathsep.join([str(ROOT), *packages])


@pytest.mark.parametrize("name", WITHOUT_WRITING)
def test_everything_is_read_only(name: str, here: Path) -> None:
    if not can_be_read_only():
        pytest.skip("this user cannot make file systems read-only")
    row = WITHOUT_WRITING[name]
    done = shell(f'unshare -m sh -c "$READ_ONLY" sh $P {row.line}', here)
    check_without_writing(row, names(here), done)


@pytest.mark.parametrize("name", WITHOUT_WRITING)
def test_another_user_without_rights(name: str, here: Path) -> None:
    check_without_writing(WITHOUT_WRITING[name], *as_nobody(WITHOUT_WRITING[name], here, 0o755))


@pytest.mark.parametrize("name", ["predict", "verify", "data check", "bench", "score", "init"])
def test_another_user_who_may_not_even_read(name: str, here: Path) -> None:
    row = WITHOUT_WRITING[name]._replace(status=1, word="")
    check_without_writing(row, *as_nobody(row, here, 0o711, "0700"))


def as_nobody(
    row: Row, here: Path, mode: int, inside: str = ""
) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Run a row as a user without rights, in a copy of a folder; return the names there, and how it ended.

    Args:
        row: the command.
        here: copied, as pytest's own folders are closed to others.
        mode: of the copy.
        inside: of what is in it; "": as it is.
    """
    python = python_of_nobody()
    if python is None:
        pytest.skip("needs root, setpriv and a Python that another user can start")
    with tempfile.TemporaryDirectory() as opened:
        Path(opened).chmod(0o755)
        there = Path(shutil.copytree(here, Path(opened) / "there"))
        there.chmod(mode)
        for path in there.iterdir() if inside else ():
            path.chmod(int(inside, 8))
        done = shell(f"{NOBODY} $P {row.line}", there, python, path_of_nobody())
        return names(there), done


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def check_without_writing(row: Row, left: set[str], done: subprocess.CompletedProcess[str]) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == row.status, said[:1000]
    assert row.word in said
    assert "Traceback" not in said
    if row.status:
        assert "error: " in done.stderr.splitlines()[-1]
    assert left == {"01-tiny@16-fp32", "good.png", "images", "site", "table.csv"}
