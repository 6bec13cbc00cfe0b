"""Runs the calling script again with a virtual environment's Python, which has what tuning-requirements.txt names.

    import tuning_venv
    tuning_venv.enter()  # before anything of it is imported

PyTorch's wheel brings CUDA's libraries along: 3 GB to download, 5.6 GB on disk, none of it used.
"""

import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
VENV = HERE.parent.parent / "target" / "tuning-venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = HERE / "tuning-requirements.txt"


def enter():
    if pathlib.Path(sys.prefix) == VENV:
        return
    wanted, installed = REQUIREMENTS.read_bytes(), VENV / "installed.txt"
    if not installed.exists() or installed.read_bytes() != wanted:
        venv.create(VENV, with_pip=True)
        install = ["install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
        subprocess.run([PYTHON, "-m", "pip", *install], check=True)
        installed.write_bytes(wanted)
    os.execv(PYTHON, [str(PYTHON), *sys.argv])
