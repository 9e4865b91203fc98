#!/usr/bin/env python3
"""Writes the node cases of the installed `onnx` package, whose operator sets are newer than those of
Debian's libonnx-testdata, for the same test to read:

    python3 -m venv venv && venv/bin/pip install onnx
    venv/bin/python tests/interop/node_cases.py CASES
    TAPESCOPE_ONNX_CASES=CASES build/cpu/tools_test --gtest_filter='OnnxCases*'

Cases with sequences, optional values or types that protobuf's numpy helper does not write are counted
and left out.
"""
import pathlib
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

warnings.filterwarnings("ignore")


def main():
    folder = pathlib.Path(sys.argv[1])
    written = left_out = 0
    opsets = {}
    for case in collect_testcases(None):
        data = folder / case.name / "test_data_set_0"
        try:
            model = case.model
            tensors = {}
            inputs, outputs = case.data_sets[0]
            for kind, values in (("input", inputs), ("output", outputs)):
                for i, value in enumerate(values):
                    tensors[f"{kind}_{i}.pb"] = numpy_helper.from_array(np.asarray(value))
        except Exception:
            left_out += 1
            continue
        data.mkdir(parents=True, exist_ok=True)
        onnx.save(model, data.parent / "model.onnx")
        for name, tensor in tensors.items():
            (data / name).write_bytes(tensor.SerializeToString())
        written += 1
        version = model.opset_import[0].version
        opsets[version] = opsets.get(version, 0) + 1
    print(f"onnx {onnx.__version__}: {written} cases written, {left_out} left out;",
          "by operator set:", dict(sorted(opsets.items())))


if __name__ == "__main__":
    main()
