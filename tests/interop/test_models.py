"""Models go to other programs and come from them: safetensors, ONNX and NPZ, with one answer from all of them.

A model is made here with NumPy and written by the `safetensors` package; `examples/convert.rs` writes the other two
formats. What our `predict` says must be what onnxruntime says and what a plain forward pass in NumPy says.
"""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors import numpy as safetensors_numpy

from conftest import ROOT, binary


#: Answers of different programs may differ by this much.
TOLERANCE = 1e-5
#: `--proba` has six decimals.
ROUNDED = 0.5e-6


@functools.cache
def converter():
    # As the binary was built: another profile would take a build of its own.
    profile = "debug" if "debug" in pathlib.Path(binary()).parts else "release"
    command = ["cargo", "build", "--quiet", "--locked", "--example", "convert"]
    command += ["--release"] if profile == "release" else []
    subprocess.run(command, cwd=ROOT, check=True, timeout=1200)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / profile / "examples" / "convert"


@dataclasses.dataclass
class Network:
    """A network as its user sees it: `x @ weight.T + bias`, and what is around that."""

    activation: str
    weights: list
    biases: list
    mean: np.ndarray | None
    deviation: np.ndarray | None
    value: tuple | None
    classes: list

    @classmethod
    def random(cls, sizes, activation, scaled, value=False, seed=1):
        draw = np.random.default_rng(seed)
        pairs = list(zip(sizes, sizes[1:]))
        far = np.abs(draw.normal(size=sizes[0])) * 1e4
        return cls(
            activation=activation,
            weights=[draw.normal(size=(o, i), scale=(2 / i) ** 0.5).astype(np.float32) for i, o in pairs],
            biases=[draw.normal(size=o, scale=0.1).astype(np.float32) for _, o in pairs],
            # Features far from 0, where 32 bits are few.
            mean=far if scaled else None,
            deviation=draw.uniform(0.1, 3.0, size=sizes[0]) if scaled else None,
            value=(-12.25, 1 / 3) if value else None,
            classes=[] if value else [f'ß"{i}' for i in range(sizes[-1])],
        )

    def rows(self, count=301):
        draw = np.random.default_rng(7).normal(size=(count, self.weights[0].shape[1]))
        if self.mean is not None:
            draw = draw * self.deviation + self.mean
        return draw.astype(np.float32)

    def answers(self, rows):
        """Probabilities or values, in double precision."""
        x = rows.astype(np.float64)
        if self.mean is not None:
            x = (x - self.mean) / self.deviation
        activate = {
            "relu": lambda x: np.maximum(x, 0),
            "tanh": np.tanh,
            "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        }[self.activation]
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = activate(x) if index else x
            x = x @ weight.T.astype(np.float64) + bias
        if self.value:
            return x * self.value[1] + self.value[0]
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def arrays(self):
        arrays = {}
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            arrays |= {f"layers.{layer}.weight": weight, f"layers.{layer}.bias": bias}
        if self.mean is not None:
            arrays |= {"inputs.mean": self.mean, "inputs.deviation": self.deviation}
        return arrays

    def description(self):
        description = {"activation": self.activation, "notes": {"made by": "NumPy"}}
        if self.value:
            return description | {"value": {"mean": self.value[0], "deviation": self.value[1]}}
        return description | {"classes": self.classes}


NETWORKS = {
    f"{activation}{'-scaled' if scaled else ''}{'-value' if value else ''}": (sizes, activation, scaled, value)
    for activation in ["relu", "tanh", "gelu"]
    for scaled in [False, True]
    for sizes, value in [([5, 33, 17, 4], False), ([3, 20, 1], True)]
}


@pytest.fixture(params=NETWORKS)
def made(request, tmp_path):
    """A network, its rows, and its files by their endings."""
    network = Network.random(*NETWORKS[request.param])
    first = tmp_path / "model.safetensors"
    metadata = {"roundtable": json.dumps(network.description())}
    safetensors_numpy.save_file(network.arrays(), first, metadata=metadata)
    files = {"safetensors": first}
    for extension in ["onnx", "npz"]:
        files[extension] = tmp_path / f"model.{extension}"
        subprocess.run([converter(), first, files[extension]], check=True, timeout=60)
    rows = network.rows()
    np.savetxt(tmp_path / "rows.csv", rows, fmt="%.9g", delimiter=",")
    return network, rows, files, tmp_path


def predict(model, rows, *options):
    words = [binary(), "predict", model, rows, *options]
    return subprocess.run(words, capture_output=True, check=True, timeout=60, text=True).stdout


def test_all_say_the_same(made):
    network, rows, files, directory = made
    expected = network.answers(rows)
    session = onnxruntime.InferenceSession(files["onnx"], providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"features": rows})
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected, rtol=0, atol=TOLERANCE)
    for path in files.values():
        if network.value:
            ours = np.array(predict(path, directory / "rows.csv").split(), dtype=float)[:, None]
        else:
            header, *lines = predict(path, directory / "rows.csv", "--proba").splitlines()
            ours = np.loadtxt(lines, delimiter=",", ndmin=2)
            assert header == ",".join('"' + name.replace('"', '""') + '"' for name in network.classes)
        np.testing.assert_allclose(ours, output, rtol=0, atol=TOLERANCE + ROUNDED)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE + ROUNDED)


def test_onnx_is_valid_and_says_what_it_is(made):
    network, _, files, _ = made
    model = onnx.load(files["onnx"])
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version <= 17
    session = onnxruntime.InferenceSession(files["onnx"], providers=["CPUExecutionProvider"])
    (feature,), (output,) = session.get_inputs(), session.get_outputs()
    assert (feature.name, feature.shape) == ("features", ["batch", network.weights[0].shape[1]])
    name = "value" if network.value else "probabilities"
    assert (output.name, output.shape) == (name, ["batch", network.weights[-1].shape[0]])
    told = json.loads(session.get_modelmeta().custom_metadata_map["roundtable"])
    inputs = told.pop("inputs", None)
    assert told == network.description()
    if network.mean is not None:
        assert inputs == {"mean": network.mean.tolist(), "deviation": network.deviation.tolist()}


def test_onnx_that_another_program_saved_is_read(made):
    _, _, files, directory = made
    again = directory / "again.onnx"
    onnx.save(onnx.load(files["onnx"]), again)
    rows = directory / "rows.csv"
    assert predict(again, rows) == predict(files["onnx"], rows)


def test_npz_is_numpys(made):
    network, _, files, directory = made
    with np.load(files["npz"]) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    assert json.loads(arrays.pop("roundtable.json")) == network.description()
    expected = network.arrays()
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name])
    # Saved by NumPy it has all but the description, which is put beside the arrays again.
    again = directory / "again.npz"
    np.savez(again, **arrays)
    with zipfile.ZipFile(again, "a") as archive:
        archive.writestr("roundtable.json", json.dumps(network.description()))
    rows = directory / "rows.csv"
    assert predict(again, rows) == predict(files["npz"], rows)


def test_safetensors_come_back(made):
    network, _, files, directory = made
    again = directory / "again.safetensors"
    subprocess.run([converter(), files["onnx"], again], check=True, timeout=60)
    arrays, expected = safetensors_numpy.load_file(again), network.arrays()
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name])


def test_foreign_graphs_are_refused(tmp_path):
    float32, helper = onnx.TensorProto.FLOAT, onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Relu", ["features"], ["value"])],
        "foreign",
        [helper.make_tensor_value_info("features", float32, ["batch", 2])],
        [helper.make_tensor_value_info("value", float32, ["batch", 2])],
    )
    onnx.save(helper.make_model(graph), tmp_path / "foreign.onnx")
    (tmp_path / "rows.csv").write_text("1,2\n")
    words = [binary(), "predict", tmp_path / "foreign.onnx", tmp_path / "rows.csv"]
    run = subprocess.run(words, capture_output=True, timeout=60, text=True)
    assert run.returncode == 2 and "roundtable did not write" in run.stderr
