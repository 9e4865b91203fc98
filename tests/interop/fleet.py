#!/usr/bin/env python3
"""Exports 30 classifiers with random weights by both of torch's exporters and compares what the
program answers with ONNX Runtime.

    python3 -m venv venv && venv/bin/pip install torch torchvision timm onnx onnxscript onnxruntime
    venv/bin/python tests/interop/fleet.py build/cpu/tapescope [--models resnet18,...] [--keep FOLDER]

The exports are kept in a folder, so that a second run only compares. A row per file: nodes, operator
set, the largest difference of a logit, relative to the largest logit, and the outcome. Ends with
status 1 where one differs by more than 1e-4.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import torch

warnings.filterwarnings("ignore")

TORCHVISION = {name: 224 for name in [
    "alexnet", "vgg16", "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d", "squeezenet1_0",
    "densenet121", "googlenet", "mobilenet_v2", "mobilenet_v3_large", "mnasnet1_0",
    "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "shufflenet_v2_x1_0",
    "convnext_tiny"]} | {"inception_v3": 299}
TIMM = ["efficientnet_lite0", "mobilenetv3_large_100", "mobilenetv4_conv_small", "convnextv2_atto",
        "ghostnet_100", "repvgg_a0", "seresnet50", "hrnet_w18", "nfnet_l0", "lcnet_100",
        "rexnet_100", "fastvit_t8"]


def make(name):
    """The net, with statistics that are not those of a fresh one, and the size of its pictures."""
    torch.manual_seed(0)
    if name in TORCHVISION:
        import torchvision
        extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        net, size = torchvision.models.get_model(name, weights=None, **extra), TORCHVISION[name]
    else:
        import timm
        net = timm.create_model(name, pretrained=False)
        size = net.pretrained_cfg.get("input_size", (3, 224, 224))[-1]
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.7, 1.4)
    return net.eval(), size


def export(name, way, folder):
    path = folder / f"{name}-{way}.onnx"
    picture = folder / f"{name}.npy"
    if path.exists() and picture.exists():
        return path, picture
    net, size = make(name)
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    np.save(picture, x.numpy())
    with torch.no_grad():
        if way == "old":
            torch.onnx.export(net, x, str(path), opset_version=17, dynamo=False,
                              input_names=["input"], output_names=["output"],
                              dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}})
        else:
            given = dict(dynamo=True, verbose=False, input_names=["input"], output_names=["output"])
            try:
                torch.onnx.export(net, (x,), str(path), **given,
                                  dynamic_shapes=({0: torch.export.Dim("batch")},))
            except Exception:  # torch.export cannot have every net with a batch of any size
                torch.onnx.export(net, (x,), str(path), **given)
    return path, picture


def ours(program, path, picture):
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run([program, "predict", "--model", path, "--raw", picture, "--out", out],
                              capture_output=True, text=True)
        if done.returncode != 0:
            return done.stderr.strip().splitlines()[-1]
        return np.load(os.path.join(out, "output.npy"))


def compare(program, name, way, folder):
    path, picture = export(name, way, folder)
    model = onnx.load(path, load_external_data=False)
    opset = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")][0]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {session.get_inputs()[0].name: np.load(picture)})[0]
    answer = ours(program, path, picture)
    facts = f"| {name} | {way} | {len(model.graph.node)} | {opset} |"
    if isinstance(answer, str):
        print(f"{facts} | {answer}", flush=True)
        return False
    worst = float(np.abs(answer - theirs).max() / max(np.abs(theirs).max(), 1e-30))
    same = answer.shape == theirs.shape and worst <= 1e-4
    print(f"{facts} {worst:.1e} | {'same' if same else 'DIFFERS'} |", flush=True)
    return same


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--models", default="")
    parser.add_argument("--ways", default="old,new")
    parser.add_argument("--keep", default="")
    parser.add_argument("--export-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.models.split(",") if options.models else [*TORCHVISION, *TIMM]
    folder = pathlib.Path(options.keep or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in names:
        for way in options.ways.split(","):
            try:
                if options.export_only:
                    export(name, way, folder)
                    print(name, way, flush=True)
                elif not compare(options.program, name, way, folder):
                    failed += 1
            except Exception as error:  # an exporter's own failure is a row too
                failed += 1
                print(f"| {name} | {way} | | | | {type(error).__name__}: {str(error)[:120]!r} |",
                      flush=True)
    if not options.export_only:
        print(f"{failed} of {len(names) * len(options.ways.split(','))} differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
