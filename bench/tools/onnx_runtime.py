"""The detector in ONNX Runtime beside Tapescope's, in turns, with the parameters of one run.

    pip install numpy onnx onnxruntime
    python bench/tools/onnx_runtime.py RUN [build/cpu/tools_bench]

Batch norms are folded into the convolutions, which is what ONNX Runtime's own optimiser does. First
both answer one picture and must agree; then tools_bench and ONNX Runtime take turns, five times.
"""
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

DTYPES = {"F32": np.float32, "I64": np.int64}


def read_safetensors(path):
    data = open(path, "rb").read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    meta = header.pop("__metadata__")
    return meta, {
        name: np.frombuffer(data, DTYPES[t["dtype"]],
                            offset=8 + size + t["data_offsets"][0],
                            count=int(np.prod(t["shape"]))).reshape(t["shape"])
        for name, t in header.items()}


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], []

    def node(self, op, inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def conv(self, x, name, norm=None, stride=1):
        w = self.weights[name + ".weight"]
        b = self.weights.get(name + ".bias", np.zeros(len(w), np.float32))
        if norm:
            scale = self.weights[norm + ".weight"] / np.sqrt(self.weights[norm + ".running_var"] + 1e-5)
            b = self.weights[norm + ".bias"] + (b - self.weights[norm + ".running_mean"]) * scale
            w = w * scale[:, None, None, None]
        k = w.shape[2]
        return self.node("Conv", [x, self.constant(w.astype(np.float32)), self.constant(b.astype(np.float32))],
                         kernel_shape=[k, k], strides=[stride, stride], pads=[k // 2] * 4)

    def unit(self, x, layer, at, stride=1):
        return self.node("Relu", [self.conv(x, f"{layer}.{at}", f"{layer}.{at + 1}", stride)])

    def block(self, x, name):
        y = self.node("Relu", [self.conv(x, name + ".conv1", name + ".bn1")])
        y = self.conv(y, name + ".conv2", name + ".bn2")
        return self.node("Relu", [self.node("Add", [x, y])])

    def upsampled(self, x):
        return self.node("Resize", [x, "", self.constant(np.array([1, 1, 2, 2], np.float32))],
                         mode="nearest", coordinate_transformation_mode="asymmetric",
                         nearest_mode="floor")


def detector(weights, height, width):
    g = Graph(weights)
    x = g.unit("image", "level4", 0, 2)
    x = c4 = g.block(g.unit(x, "level4", 3, 2), "level4.6")
    x = c8 = g.block(g.block(g.unit(x, "level8", 0, 2), "level8.3"), "level8.4")
    c16 = g.block(g.block(g.unit(x, "level16", 0, 2), "level16.3"), "level16.4")
    m = g.conv(c16, "lateral16")
    m = g.unit(g.node("Add", [g.upsampled(m), g.conv(c8, "lateral8")]), "smooth8", 0)
    m = g.unit(g.node("Add", [g.upsampled(m), g.conv(c4, "lateral4")]), "smooth4", 0)
    heat = g.node("Sigmoid", [g.conv(g.unit(m, "heat", 0), "heat.3")])
    sides = g.node("Relu", [g.conv(g.unit(m, "ltrb", 0), "ltrb.3")])
    peaks = g.node("MaxPool", [heat], kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    tensor = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    classes, h, w = len(weights["heat.3.bias"]), height // 4, width // 4
    graph = helper.make_graph(g.nodes, "centre-detector", [tensor("image", 1, 3, height, width)],
                              [tensor(heat, 1, classes, h, w), tensor(sides, 1, 4, h, w),
                               tensor(peaks, 1, classes, h, w)], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def write_png(path, pixels):
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunk = lambda kind, data: (struct.pack(">I", len(data)) + kind + data
                                + struct.pack(">I", zlib.crc32(kind + data)))
    open(path, "wb").write(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def agree(run, bench, model, config):
    """The highest probabilities of both for one picture."""
    height, width = config["height"], config["width"]
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    pixels = np.repeat(np.repeat(coarse, 20, 0), 20, 1)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        write_png(file.name, pixels)
        tapescope = bench.rsplit("/", 1)[0] + "/tapescope"
        out = subprocess.run([tapescope, "detect", "--run", run, file.name, "--json", "--threshold",
                              "0.001"], check=True, capture_output=True, text=True).stdout
    ours = [b["probability"] for b in json.loads(out)["boxes"]][:20]
    x = ((pixels / 255 - 0.5) / 0.25).astype(np.float32).transpose(2, 0, 1)[None]
    heat, _, peaks = session(model, 1).run(None, {"image": x})
    theirs = np.sort(heat[heat == peaks])[::-1][:len(ours)]
    difference = np.abs(np.array(ours) - theirs).max()
    print(f"{len(ours)} highest peaks from {max(ours):.3f} to {min(ours):.3f}: "
          f"largest difference {difference:.1e}")
    assert ours and difference < 1e-4


def main():
    run = sys.argv[1]
    bench = sys.argv[2] if len(sys.argv) > 2 else "build/cpu/tools_bench"
    meta, weights = read_safetensors(run + "/checkpoints/best.safetensors")
    config = json.loads(meta["tapescope.detector"])
    model = detector(weights, config["height"], config["width"])
    agree(run, bench, model, config)
    x = np.random.default_rng(1).standard_normal((1, 3, config["height"], config["width"]),
                                                 dtype=np.float32)
    ours, theirs, share = {1: [], 2: []}, {1: [], 2: []}, {1: [], 2: []}
    for _ in range(5):
        out = subprocess.run([bench, "--benchmark_filter=detector", "--benchmark_format=json"],
                             check=True, capture_output=True, text=True).stdout
        for threads, b in zip((1, 2), json.loads(out)["benchmarks"]):
            ours[threads].append(b["real_time"])
            share[threads].append(b["convolutions_%"])
        for threads in (1, 2):
            s = session(model, threads)
            for _ in range(20):
                s.run(None, {"image": x})
            times = []
            end = time.perf_counter() + 2
            while time.perf_counter() < end:
                began = time.perf_counter()
                s.run(None, {"image": x})
                times.append(1e3 * (time.perf_counter() - began))
            theirs[threads].append(statistics.mean(times))
    for threads in (1, 2):
        a, b = statistics.median(ours[threads]), statistics.median(theirs[threads])
        print(f"{threads} threads: Tapescope {a:.2f} ms ({statistics.median(share[threads]):.0f} % in "
              f"convolutions), ONNX Runtime {onnxruntime.__version__} {b:.2f} ms, ratio {b / a:.2f}")


main()
