"""Fashion-MNIST for the peers and for ours, in target/fashion-mnist/: four IDX files, 60,000 rows to train with and
10,000 to validate.

Taken from Debian's package dataset-fashion-mnist (MIT licence, Zalando SE): where it is installed, from there, otherwise
downloaded with apt-get. Run as a program, it puts the files there; they are reused if they are there already.
"""

import contextlib
import gzip
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

TARGET = pathlib.Path(__file__).resolve().parents[2] / "target"
DIRECTORY = TARGET / "fashion-mnist"
PACKAGE, INSTALLED = "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"
#: The files and their sizes in bytes.
FILES = {
    "train-images-idx3-ubyte": 16 + 60_000 * 784,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 784,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}


def missing():
    sizes = {name: (DIRECTORY / name).stat().st_size for name in FILES if (DIRECTORY / name).is_file()}
    return [name for name, size in FILES.items() if sizes.get(name) != size]


@contextlib.contextmanager
def package():
    """The directory with the package's files."""
    if (root := pathlib.Path("/") / INSTALLED).is_dir():
        yield root
        return
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TARGET) as directory:
        subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=directory, check=True, stdout=sys.stderr)
        [archive] = pathlib.Path(directory).glob("*.deb")
        subprocess.run(["dpkg", "-x", archive, directory], check=True)
        yield pathlib.Path(directory) / INSTALLED


def fetch():
    if not missing():
        return
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with package() as source:
        for name in FILES:
            with gzip.open(source / f"{name}.gz") as packed, open(DIRECTORY / name, "wb") as plain:
                shutil.copyfileobj(packed, plain)
    if wrong := missing():
        sys.exit(f"{DIRECTORY}: not of the size that they should be: {', '.join(wrong)}")


def read(part):
    """Of "train" or "t10k": features from 0 to 1 in f32, and labels."""
    images = np.fromfile(DIRECTORY / f"{part}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 784)
    labels = np.fromfile(DIRECTORY / f"{part}-labels-idx1-ubyte", np.uint8)[8:]
    return images.astype(np.float32) / 255, labels.astype(np.int64)


if __name__ == "__main__":
    fetch()
    print(DIRECTORY, file=sys.stderr)
