from __future__ import annotations

import ast
import ensurepip
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pepr_edge.kit import install


def facts(**changes: Any) -> dict[str, Any]:
    """Return kit.json for this machine."""
    document = {
        "platform": "this one",
        "pythons": ["%d.%d" % sys.version_info[:2]],  # noqa: UP031
        "floor": None,
        "system": platform.system(),
        "machines": [platform.machine()],
    }
    return {**document, **changes}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A kit with a file that is no wheel."""
    folder = tmp_path / "a kit's folder"
    (folder / "wheels").mkdir(parents=True)
    (folder / "bundles" / "01-a@32-fp32").mkdir(parents=True)
    (folder / "bundles" / ".DS_Store").write_bytes(b"")
    (folder / "wheels" / "pip-1-py3-none-any.whl").write_bytes(b"no wheel")
    (folder / install.KIT).write_text(json.dumps(facts()))
    seal(folder)
    return folder


def seal(folder: Path) -> None:
    names = (install.KIT, "wheels/pip-1-py3-none-any.whl")
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / install.CHECKSUMS).write_text("".join(lines))


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(install.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pythons": ["3.1", "3.2"]}, "3.1 or 3.2"),
        ({"machines": ["vax"]}, "for this one"),
        ({"system": "Plan 9"}, "for this one"),
        ({"floor": "999.0"}, "999.0 or later"),
    ],
)
def test_another_machine_is_refused(
    changes: dict[str, Any],
    said: str,
    kit: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (kit / install.KIT).write_text(json.dumps(facts(**changes)))
    monkeypatch.setattr(install, "install", lambda folder: pytest.fail("installed"))
    assert install.main(kit) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


def test_the_floor_is_compared_as_numbers() -> None:
    assert install.numbers("2.9") < install.numbers("2.28") == install.numbers("2.28.1")


def test_a_file_that_was_altered_is_named_and_nothing_installed(
    kit: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "install", lambda folder: pytest.fail("installed"))
    (kit / "wheels" / "pip-1-py3-none-any.whl").write_bytes(b"torn")
    assert install.main(kit) == 1
    assert "wheels/pip-1-py3-none-any.whl was changed" in capsys.readouterr().err
    (kit / "wheels" / "pip-1-py3-none-any.whl").unlink()
    assert install.main(kit) == 1
    assert "pip-1-py3-none-any.whl is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a\\\\b", "wheels/../kit.json", "C:x", ""])
def test_checksums_of_files_outside_the_folder_are_refused(name: str, kit: Path) -> None:
    (kit / install.CHECKSUMS).write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(install.NotInstalled, match="outside"):
        install.check_files(kit)


def test_a_link_is_not_followed(kit: Path, tmp_path: Path) -> None:
    (kit / "wheels").rename(tmp_path / "elsewhere")
    (kit / "wheels").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(install.NotInstalled, match="is a link"):
        install.check_files(kit)


def test_a_wheel_that_is_not_the_kits_is_named(kit: Path) -> None:
    install.check_files(kit)
    (kit / "wheels" / "._pip-1-py3-none-any.whl").write_bytes(b"a Mac's")
    install.check_files(kit)
    (kit / "wheels" / "numpy-99-py3-none-any.whl").write_bytes(b"planted")
    with pytest.raises(install.NotInstalled, match=r"numpy-99-py3-none-any\.whl"):
        install.check_files(kit)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b"[" * 5000, b"\xff", b'{"pythons": 3}', b" " * (1 << 17)]
)
def test_a_faulty_kit_file_is_an_error_on_one_line(
    text: bytes, kit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kit / install.KIT).write_bytes(text)
    assert install.main(kit) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: kit.json")
    assert err.count("\n") == 1


def test_a_pip_that_fails_leaves_nothing(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install.main(kit) == 1
    assert "the wheels cannot be installed" in capsys.readouterr().err
    assert {path.name for path in kit.iterdir()} == {"wheels", "bundles", install.KIT, install.CHECKSUMS}


def test_a_full_disk_is_an_error(
    kit: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "SIZE_FACTOR", 1 << 60)
    assert install.main(kit) == 1
    assert "free space" in capsys.readouterr().err


def test_an_interrupt_leaves_nothing(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*words: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", stop)
    assert install.main(kit) == 130
    assert not list(kit.glob(f"{install.WORK}*"))
    assert not (kit / install.PEPR).exists()


@pytest.mark.skipif(os.name == "nt", reason="the launcher is a shell's")
def test_the_launcher_starts_the_installed_program_from_any_folder(kit: Path, tmp_path: Path) -> None:
    (kit / install.PEPR).mkdir()
    program = "import sys, json, own; print(sys.argv[1:], sys.flags.isolated, own.__name__)"
    (kit / install.PEPR / "__main__.py").write_text(program)
    (kit / install.PEPR / "own.py").write_text("")
    plant(tmp_path)
    launcher = install.write_launcher(kit)
    done = subprocess.run(
        ["sh", str(launcher), "bench", "a b"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "json.py")},
    )
    assert done.stdout == "['bench', 'a b'] 1 own\n"


def plant(folder: Path) -> None:
    """Write modules under the names of Python's own that end a program that imports them."""
    for name in ("json", "hashlib", "subprocess", "stat", "platform", "sitecustomize"):
        (folder / f"{name}.py").write_text("import os; print('planted', flush=True); os._exit(66)\n")


@pytest.mark.parametrize("options", [(), ("-I",)])
def test_modules_beside_the_installer_are_not_run(options: tuple[str, ...], kit: Path) -> None:
    shutil.copy(install.__file__, kit / "install.py")
    plant(kit)
    command = [sys.executable, *options, str(kit / "install.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=kit)
    assert done.returncode == 1
    assert "planted" not in done.stdout
    assert "cannot be installed" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a shell's")
def test_the_shell_starts_the_installer_isolated(kit: Path) -> None:
    version = "%d.%d" % sys.version_info[:2]  # noqa: UP031
    script = (Path(install.__file__).parent / "install.sh").read_text()
    (kit / "install.sh").write_text(script.replace("{{versions}}", version).replace("{{pythons}}", version))
    (kit / "install.py").write_text("import sys; print(sys.flags.isolated)")
    plant(kit)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(kit), "PATH": path}
    done = subprocess.run(
        ["sh", str(kit / "install.sh")], capture_output=True, text=True, env=environment, cwd=kit
    )
    assert (done.stdout, done.returncode) == ("1\n", 0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("name", [install.KIT, install.CHECKSUMS, "wheels/pip-1-py3-none-any.whl"])
def test_a_pipe_in_place_of_a_file_does_not_block(
    name: str, kit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kit / name).unlink()
    os.mkfifo(kit / name)
    assert install.main(kit) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_texts_of_the_kit_cannot_move_the_cursor(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    platform_name = "\x1b[2J\u202e" + "x" * 5000
    (kit / install.KIT).write_text(json.dumps(facts(system="other", platform=platform_name)))
    assert install.main(kit) == 1
    err = capsys.readouterr().err
    assert err.strip().isprintable()
    assert len(err) < 1000


def test_a_folder_whose_name_is_not_text_is_refused(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a\udcff", "a\x1b[2J"):
        assert install.main(kit.with_name(name)) == 1
        err = capsys.readouterr().err
        assert "Rename the folder" in err
        assert err.strip().isprintable()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a[b", "k*?['#%41 x]", "-a", "a;b&c"])
def test_pip_installs_into_a_folder_of_any_name(name: str, kit: Path) -> None:
    folder = kit.rename(kit.with_name(name))
    bundled = Path(ensurepip.__file__).parent / "_bundled"
    (folder / "wheels" / "pip-1-py3-none-any.whl").unlink()
    (pip,) = bundled.glob("pip-*.whl")
    shutil.copy(pip, folder / "wheels")
    with zipfile.ZipFile(folder / "wheels" / "pepr_edge-0.1-py3-none-any.whl", "w") as wheel:
        info = "pepr_edge-0.1.dist-info"
        wheel.writestr("pepr_edge/__init__.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pepr_edge\nVersion: 0.1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        names = ("pepr_edge/__init__.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")
        wheel.writestr(f"{info}/RECORD", "".join(f"{member},,\n" for member in names))
    install.install(folder)
    assert (folder / install.PEPR / "pepr_edge" / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("status", "ended", "said"),
    [(0, 0, "Installed"), (3, 3, "does not pass"), (132, 1, "does not run")],
)
def test_it_verifies_the_bundles(
    status: int,
    ended: int,
    said: str,
    kit: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[list[str]] = []

    def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        return subprocess.CompletedProcess(words, status)

    monkeypatch.setattr(subprocess, "run", run)
    assert install.verify_bundles(kit, kit / "pepr-edge") == ended
    assert ran[0][-2:] == ["verify", "bundles/01-a@32-fp32"]
    output = capsys.readouterr()
    assert said in output.out + output.err
