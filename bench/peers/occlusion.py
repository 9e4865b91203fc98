"""Occlusion's map beside Captum's, value by value, on a CPU: resnet18 at 224x224 with the same weights, picture,
baseline and target, windows of 16 at a stride of 8 (729), each in f32; Captum's in f64 judges both.

    pip install torch torchvision captum onnx
    cmake --build --preset cpu --target tapescope
    python bench/peers/occlusion.py [--program build/cpu/tapescope] [--threads 2]

The weights are random, batch norm's too, and its statistics those of three batches, so that every layer's values have
the size of a trained net's. Prints the greatest difference, absolute and as a share of the map's range, and ends with
status 1 if ours is more than 1e-5 from Captum's."""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import captum.attr
import numpy as np
import torch
import torchvision

TARGET, WINDOW, STRIDE, LIMIT = 3, 16, 8, 1e-5


def net_and_picture():
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=1000).train()
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias, std=0.2)
            part.momentum = None  # the mean over all batches
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(8, 3, 224, 224))
    blots = torch.nn.functional.interpolate(torch.rand(1, 3, 14, 14), 224, mode="bicubic")
    return net.eval(), (255 * blots.clamp(0, 1)).round().to(torch.uint8)


def captums(net, picture, dtype):
    net = net.to(dtype)
    with torch.no_grad():
        logit = net(picture.to(dtype) / 255)[0, TARGET].item()
        map_ = captum.attr.Occlusion(net).attribute(
            picture.to(dtype) / 255, target=TARGET, baselines=0, sliding_window_shapes=(3, WINDOW, WINDOW),
            strides=(3, STRIDE, STRIDE), perturbations_per_eval=27)[0].numpy()
    assert (map_ == map_[:1]).all()  # a window takes all channels, so each has the same map
    return map_[0].astype(np.float64), logit


def ours(program, threads, net, picture):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        torch.onnx.export(net, (picture / 255,), str(folder / "net.onnx"), dynamo=False,
                          training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
        (folder / "picture.ppm").write_bytes(b"P6 224 224 255\n" + picture[0].permute(1, 2, 0).numpy().tobytes())
        subprocess.run([program, "explain", "--model", folder / "net.onnx", "--mean", "0", "--std", "1",
                        "--method", "occlusion", "--window", str(WINDOW), "--stride", str(STRIDE), "--budget", "1000",
                        "--baseline", "zero", "--target", f"#{TARGET}", "--threads", str(threads),
                        "--out", folder / "maps", folder / "picture.ppm"], check=True, stdout=subprocess.DEVNULL)
        return np.load(folder / "maps" / "picture.occlusion.npy").reshape(224, 224).astype(np.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/cpu/tapescope")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    net, picture = net_and_picture()
    our_map = ours(args.program, args.threads, net, picture)
    their_map, _ = captums(net, picture, torch.float32)
    judge, logit = captums(net, picture, torch.float64)
    reach = np.ptp(judge)
    print(f"torch {torch.__version__}, Captum {captum.__version__}; logit {logit:.4f}, map from {judge.min():.4f} "
          f"to {judge.max():.4f}\n\n| of {judge.size} values | greatest difference | of the range |\n|---|---|---|")
    for what, a, b in (("ours, Captum f32", our_map, their_map), ("ours, Captum f64", our_map, judge),
                       ("Captum f32, Captum f64", their_map, judge)):
        most = np.abs(a - b).max()
        print(f"| {what} | {most:.2e} | {most / reach:.2e} |")
    sys.exit(bool(not np.abs(our_map - their_map).max() <= LIMIT))  # not a number, too, is no success


main()
