"""Makes the ONNX graphs of this directory and what onnxruntime says of them: `python3 make.py`.

Needs the packages `numpy`, `onnx` and `onnxruntime`. For each graph NAME.onnx there is NAME.f32: two images of
little-endian floats, then the outputs for them.
"""

import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))


class Graph:
    def __init__(self, name, dims, opset=17):
        self.name, self.dims, self.opset = name, dims, opset
        self.nodes, self.constants = [], []
        self.random = np.random.default_rng(len(name))

    def constant(self, array):
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *dims, scale=None):
        scale = scale or (2 / max(1, np.prod(dims[1:]))) ** 0.5
        return self.constant((self.random.standard_normal(dims) * scale).astype("f"))

    def positive(self, *dims):
        return self.constant(self.random.uniform(0.5, 1.5, dims).astype("f"))

    def ints(self, *values):
        return self.constant(np.array(values, "int64"))

    def __call__(self, operator, *inputs, outputs=1, **attributes):
        names = [f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, outputs, channels, kernel, **attributes):
        groups = attributes.get("group", 1)
        return self("Conv", x, self.weights(outputs, channels // groups, *kernel), self.weights(outputs, scale=0.1), **attributes)

    def norm(self, x, channels):
        scale, shift, mean, variance = self.positive(channels), self.weights(channels, scale=0.1), self.weights(channels, scale=0.1), self.positive(channels)
        return self("BatchNormalization", x, scale, shift, mean, variance)

    def save(self, output):
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"] + self.dims)
        made = helper.make_empty_tensor_value_info(output)
        graph = helper.make_graph(self.nodes, self.name, [given], [made], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        del model.graph.value_info[:]
        path = os.path.join(HERE, self.name)
        onnx.save(model, path + ".onnx")
        images = self.random.standard_normal([2] + self.dims).astype("f")
        said = onnxruntime.InferenceSession(path + ".onnx").run(None, {"x": images})[0]
        with open(path + ".f32", "wb") as file:
            file.write(images.tobytes() + said.astype("f").tobytes())


def mobilenet():
    g = Graph("mobilenet_v3", [3, 16, 16])
    x = g("HardSwish", g.norm(g.conv("x", 8, 3, [3, 3], strides=[2, 2], pads=[1] * 4), 8))
    y = g("HardSwish", g.conv(x, 20, 8, [1, 1]))
    y = g.conv(y, 20, 20, [5, 5], group=20, pads=[2] * 4)
    # Squeeze and excitation.
    s = g("Relu", g.conv(g("GlobalAveragePool", y), 4, 20, [1, 1]))
    s = g("HardSigmoid", g.conv(s, 20, 4, [1, 1]), alpha=1 / 6)
    x = g("Add", x, g.conv(g("Mul", s, y), 8, 20, [1, 1]))
    # Swish, and hard swish in pieces, as old exporters write it.
    y = g.conv(x, 12, 8, [3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    y = g("Mul", y, g("Sigmoid", y))
    z = g("Clip", g("Add", y, g.constant(np.float32(3))), g.constant(np.float32(0)), g.constant(np.float32(6)))
    y = g("Div", g("Mul", y, z), g.constant(np.float32(6)))
    y = g("Flatten", g("GlobalAveragePool", y))
    g.save(g("Gemm", y, g.weights(10, 12), g.weights(10), transB=1))


def inception():
    g = Graph("inception_v3", [3, 13, 13])
    x = g("Relu", g.norm(g("Conv", "x", g.weights(12, 3, 3, 3)), 12))
    a = g("Relu", g.conv(g.conv(x, 6, 12, [1, 7], pads=[0, 3, 0, 3]), 6, 6, [7, 1], pads=[3, 0, 3, 0]))
    b = g.conv(g("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4), 5, 12, [1, 1])
    c = g("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    x = g("Concat", a, g("LeakyRelu", b, alpha=0.1), c, axis=1)
    x = g("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=1, pads=[0, 0, 1, 1])
    x = g("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = g("Dropout", g("GlobalAveragePool", x))
    x = g("Reshape", x, g.ints(-1, 23))
    g.save(g("Softmax", g("Gemm", x, g.weights(23, 9), alpha=0.5)))


def shufflenet():
    g = Graph("shufflenet_v2", [4, 12, 10])
    x = g("Relu", g.conv("x", 24, 4, [3, 3], strides=[2, 2], pads=[1] * 4))
    # As exporters write a shuffle of channels: sizes are computed.
    shape = g("Shape", x)
    n, h, w = (g("Gather", shape, g.constant(np.int64(i))) for i in (0, 2, 3))
    zero = g.ints(0)
    n, h, w = (g("Unsqueeze", size, zero) for size in (n, h, w))
    x = g("Reshape", g.conv(x, 24, 24, [1, 1], group=4), g("Concat", n, g.ints(4), g("Div", g.ints(24), g.ints(4)), h, w, axis=0))
    x = g("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = g("Reshape", x, g("Concat", n, g.ints(-1), h, w, axis=0))
    a, b = g("Split", x, g.ints(12, 12), outputs=2, axis=1)
    a = g.conv(a, 12, 12, [3, 3], group=6, pads=[2] * 4, dilations=[2, 2])
    b = g("Slice", b, g.ints(1, 1), g.ints(-1, 6), g.ints(2, 3))
    a = g("Slice", a, g.ints(0), g.ints(4), g.ints(2))
    a = g("Slice", a, g.ints(3), g.ints(-6), g.ints(3), g.ints(-1))
    x = g("Concat", g("Tanh", a), b, axis=1)
    g.save(g("ReduceMean", x, axes=[2, 3], keepdims=0))


def keras():
    g = Graph("keras", [11, 9, 3], 13)
    x = g("Div", g("Sub", "x", g.weights(3)), g.positive(1, 1, 1, 3))
    x = g("Transpose", x, perm=[0, 3, 1, 2])
    x = g("Pad", x, g.ints(0, 0, 0, 1, 0, 0, 2, 1))
    x = g("Relu", g.norm(g.conv(x, 10, 3, [3, 3], strides=[2, 2]), 10))
    x = g.conv(x, 10, 10, [3, 3], group=10, auto_pad="SAME_UPPER", strides=[2, 2])
    x = g("Min", g("Max", x, g.constant(np.float32(0))), g.constant(np.float32(6)))
    x = g.conv(x, 14, 10, [2, 2], auto_pad="SAME_LOWER")
    x = g("Transpose", x, perm=[0, 2, 3, 1])
    x = g("ReduceMean", x, axes=[1, 2], keepdims=0)
    x = g("Add", g("MatMul", x, g.weights(14, 6)), g.weights(6))
    g.save(g("Softmax", x))


def alexnet():
    g = Graph("alexnet", [3, 15, 15], 9)
    x = g("LRN", g("Relu", g.conv("x", 10, 3, [5, 5], strides=[2, 2])), size=5, alpha=0.5, beta=0.75)
    x = g("LRN", g.conv(x, 16, 10, [3, 3], group=2, pads=[1] * 4), size=3, alpha=1.0, beta=0.6, bias=2.0)
    x = g("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = g("Relu", g("Gemm", g("Reshape", x, g.ints(-1, 64)), g.weights(64, 12), g.weights(12)))
    g.save(g("LogSoftmax", g("Gemm", g("Dropout", x), g.weights(7, 12), g.weights(7), transB=1), axis=1))


def densenet():
    g = Graph("densenet", [3, 8, 8], 9)
    x = g.conv("x", 16, 3, [3, 3], pads=[1] * 4)
    for channels in (16, 20, 24):
        y = g("Mul", g.norm(x, channels), g("Unsqueeze", g.positive(channels), axes=[1, 2]))
        y = g("Relu", g("Add", y, g("Unsqueeze", g.weights(channels), axes=[1, 2])))
        x = g("Concat", x, g.conv(y, 4, channels, [3, 3], pads=[1] * 4), axis=1)
    x = g("Sum", x, g("Abs", x), g("Neg", x))
    g.save(g("GlobalMaxPool", x))


def elements():
    g = Graph("elements", [2, 3, 5])
    x = g("Add", "x", g.weights(2, 3, 5))
    x = g("Sub", g.weights(5), g("Mul", x, g.weights(2, 1, 1)))
    y = g("Sqrt", g("Exp", g("Clip", x, "", g.constant(np.float32(2)))))
    z = g("Reciprocal", g("Add", g("Abs", x), g.constant(np.float32(1))))
    x = g("Mul", g("Mul", y, g("Expand", g("ReduceSum", z, g.ints(1)), g.ints(1, 2, 3, 5))), g("Max", z, y))
    x = g("Div", g.constant(np.float32(1)), g("Add", g("Mul", x, x), g.positive(3, 1)))
    x = g("Gather", x, g.ints(1, 0, 1), axis=3)
    x = g("Unsqueeze", x, g.ints(1))
    x = g("Squeeze", x, g.ints(1))
    x = g("Identity", g("Cast", x, to=1))
    g.save(g("Flatten", g("HardSigmoid", x), axis=1))


def features():
    g = Graph("features", [6])
    x = g("Relu", g.norm(g("Gemm", "x", g.weights(20, 6), g.weights(20), transB=1), 20))
    x = g("Mul", x, g("Sigmoid", x))
    x = g("Concat", x, g("Gemm", x, g.weights(20, 3)), "x", axis=1)
    g.save(g("MatMul", x, g.weights(29, 4)))


for make in (mobilenet, inception, shufflenet, keras, alexnet, densenet, elements, features):
    make()
