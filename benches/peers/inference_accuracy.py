"""Compares what ours and onnxruntime say of real pictures: the same label, probabilities within 0.001 of each other.

    cargo build --release && python3 benches/peers/lite0.py && python3 benches/peers/inference_accuracy.py [DIRECTORY...]

Twice: once with the same pixels for both (cut and resized by Pillow), once from the files on, where the other side is Pillow
and NumPy. JPEG decoders differ by up to 4 of 255 where colour is stored at half the resolution, so there the distance
is only told, and the label must be the same unless the reference itself is within 0.02 of another; PNG must agree to the bar
from the files on, too. Pictures are those that come with scikit-image and scikit-learn and those of the directories given (the examples of
Debian's opencv-doc, say); if they are fewer than 50, quarters of the larger ones count as pictures too, and the line says so.
Ours is ROUNDTABLE_BIN, by default target/release/roundtable.
"""

import inference_venv

inference_venv.enter()

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime
import skimage
import sklearn
from PIL import Image, ImageOps

LITE0 = inference_venv.TARGET / "lite0"
OURS = os.environ.get("ROUNDTABLE_BIN", str(inference_venv.TARGET / "release" / "roundtable"))
WANTED, BAR, NEAR = 50, 1e-3, 0.02


def pictures(directories):
    found = []
    for directory in directories:
        for path in sorted(path for path in pathlib.Path(directory).rglob("*") if path.suffix in (".png", ".jpg", ".jpeg")):
            with Image.open(path) as image:
                if image.mode in ("L", "RGB", "RGBA", "P") and min(image.size) >= 64:
                    found.append(path)
    return found


def quarters(paths, wanted):
    """Quarters of the larger pictures, every other one as JPEG."""
    made, place = [], LITE0 / "quarters"
    place.mkdir(exist_ok=True)
    for path in paths:
        image = Image.open(path).convert("RGB")
        width, height = image.size
        for number in range(4 if min(image.size) >= 256 else 0):
            if len(made) == wanted:
                return made
            left, top = number % 2 * width // 2, number // 2 * height // 2
            name = place / f"{path.stem}-{number}.{'jpg' if number % 2 else 'png'}"
            image.crop((left, top, left + width // 2, top + height // 2)).save(name, quality=92)
            made.append(name)
    return made


def cut(path):
    """The reference: upright, the middle 87.5% of the shorter side, 224 x 224 by Pillow's bicubic."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    width, height = image.size
    side = int(0.875 * min(width, height))
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)


def theirs(session, image):
    pixels = (np.asarray(image, np.float32) - 127) / 128
    logits = session.run(None, {"input": pixels.transpose(2, 0, 1)[None]})[0][0].astype(np.float64)
    e = np.exp(logits - logits.max())
    return e / e.sum()


def ours(paths, card):
    command = [OURS, "predict-locally", LITE0 / "lite0.onnx", *paths, "--card", card, "--top", "1000", "--json"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    answers = np.zeros((len(lines), 1000))
    for row, line in zip(answers, lines, strict=True):
        for answer in json.loads(line)["top"]:
            row[answer["class"]] = answer["probability"]
    return answers


def compare(what, ours, theirs, paths, bar=BAR):
    same = ours.argmax(1) == theirs.argmax(1)
    far = abs(ours - theirs).max(1)
    worst = int(far.argmax())
    print(f"{what}: same label {same.sum()} of {len(paths)}, probabilities at most {far.max():.2e} apart "
          f"({paths[worst].name}), median {np.median(far):.1e}")
    margins = np.diff(np.sort(theirs, 1)[:, -2:])[:, 0]
    for row in np.flatnonzero(~same):
        print(f"  another label: {paths[row].name}, where the reference's first two are {margins[row]:.4f} apart")
    good = same if bar == BAR else same | (margins < NEAR)
    return good.all() and far.max() <= bar


def main():
    package = lambda module: pathlib.Path(module.__file__).parent
    whole = pictures([package(skimage) / "data", package(sklearn) / "datasets" / "images", *sys.argv[1:]])
    made = quarters(whole, max(0, WANTED - len(whole)))
    paths = whole + made
    print(f"{len(whole)} pictures and {len(made)} quarters of them; onnxruntime {onnxruntime.__version__}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(LITE0 / "lite0.onnx", options)

    prepared = LITE0 / "prepared"
    prepared.mkdir(exist_ok=True)
    cuts = [cut(path) for path in paths]
    right = np.array([theirs(session, image) for image in cuts])
    small = [prepared / f"{number}.png" for number in range(len(paths))]
    for name, image in zip(small, cuts):
        image.save(name)
    card = prepared / "same.toml"
    card.write_text('range = "0-255"\nmean = [127]\nstd = [128]\nresize = "stretch"\n')
    good = compare("same pixels", ours(small, card), right, paths)
    whole = ours(paths, LITE0 / "lite0.toml")
    for kind, suffixes, bar in (("PNG", (".png",), BAR), ("JPEG", (".jpg", ".jpeg"), 1)):
        rows = [row for row, path in enumerate(paths) if path.suffix in suffixes]
        good &= compare(f"from {kind} files", whole[rows], right[rows], [paths[row] for row in rows], bar)
    sys.exit(not good)


if __name__ == "__main__":
    main()
