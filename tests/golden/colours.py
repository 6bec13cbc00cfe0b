"""Makes colours.onnx: input n x 3 x 8 x 8; three outputs, ten times the mean of each channel, through a softmax.

    python3 tests/golden/colours.py    # needs onnx
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

nodes = [
    helper.make_node("GlobalAveragePool", ["x"], ["p"]),
    helper.make_node("Flatten", ["p"], ["f"], axis=1),
    helper.make_node("Gemm", ["f", "w"], ["y"]),
    helper.make_node("Softmax", ["y"], ["z"], axis=1),
]
weights = numpy_helper.from_array(10 * np.eye(3, dtype=np.float32), "w")
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3])
graph = helper.make_graph(nodes, "colours", [x], [z], [weights])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
model.ir_version = 8
onnx.checker.check_model(model, full_check=True)
onnx.save(model, str(pathlib.Path(__file__).with_name("colours.onnx")))
