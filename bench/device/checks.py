"""Checks of tools/gpu-check that are more than one command of device_bench. Each prints rows, JSON objects
of a line each: name, result (passed, measured, missing, failed), figures named by their units.

    python3 bench/device/checks.py machine --build build/cpu --rehearse
    python3 bench/device/checks.py losses --dtype bf16 --build build/cpu --data ../shared/data/mnist --rehearse
"""
import argparse
import collections
import csv
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# How far the first 20 losses may be from the CPU's, relative. On the emulator they are 8e-7 apart in f32 and,
# since a sum in another order is rounded another way, 3e-2 in bf16.
APART = {"f32": 1e-3, "bf16": 1e-1}
LEAST_ACCURACY = {"mnist": 0.985, "fashion-mnist": 0.88}  # of lenet after two epochs; on the CPU 0.991 of MNIST


def row(name, result, **figures):
    print(json.dumps({"name": name, "result": result, **figures}), flush=True)


def output_of(*words):
    """What a command prints, or None where it is not here or fails."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def tool(name):
    return shutil.which(name) or next((path for path in (f"/usr/local/cuda/bin/{name}",) if os.path.exists(path)), None)


def machine(args):
    """What is here, and what everything else is measured by."""
    program = str(args.build / "tapescope")
    for name in ("tapescope", "device_bench", "libtapescope_cuda.so"):
        lost = [line.split()[0] for line in (output_of("ldd", str(args.build / name)) or "").splitlines() if "not found" in line]
        if lost:
            row(name, "failed", detail=f"wants {', '.join(lost)}, which are not found")
    said = subprocess.run([program, "kernels"], capture_output=True, text=True)
    device = next((line for line in said.stdout.splitlines() if line.startswith(f"device {args.device}: ")), said.stderr)
    row(f"device {args.device}", "failed" if "not available" in device or said.returncode else "passed",
        detail=device.partition(": ")[2] or device)
    kernels = json.loads(output_of(program, "kernels", "--json") or '{"kernels": []}')["kernels"]
    for family, library in (("conv2d", "cudnn"), ("matmul", "cublas")):
        rows = [k for k in kernels if (k["family"], k["variant"], k["device"]) == (family, library, "cuda")]
        there = bool(rows) and rows[0]["available"]
        row(library, "passed" if there else "missing", detail="" if there else rows[0]["reason"] if rows else "not built")
    gpu = output_of("nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.draw,power.limit,"
                    "memory.used,temperature.gpu", "--format=csv,noheader")
    row("nvidia-smi", "passed" if gpu else "missing", detail=gpu or "it is not here, or does not answer")
    for name in ("ncu", "compute-sanitizer"):
        path = tool(name)
        row(name, "passed" if path else "missing", detail=path or "neither on PATH nor in /usr/local/cuda/bin")


def trained(args, device, data, out, batch, *options):
    """The command of a training of lenet on MNIST."""
    return [str(args.build / "tapescope"), "train", "--data", str(data), "--model", "lenet", "--batch-size", str(batch),
            "--log-every", "1", "--seed", "0", "--precision", args.dtype, "--device", device, "--out", str(out), *options]


def little_of(data, folder):
    """The first 120 examples for training and 20 for testing: 10,000 would take the emulator two minutes."""
    folder.mkdir()
    for file in sorted(pathlib.Path(data).glob("*-ubyte*")):
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as source:
            head, count = source.read(8), 120 if file.name.startswith("train") else 20
            content = source.read(8 + 28 * 28 * count if "images" in file.name else count)
        (folder / file.name.removesuffix(".gz")).write_bytes(head[:4] + count.to_bytes(4, "big") + content)
    return folder


def losses_in(folder):
    lines = (json.loads(line) for line in open(folder / "history.jsonl", encoding="utf-8"))
    return [line["loss"] for line in lines if "loss" in line and "learning_rate" in line][:20]


def losses(args):
    """The first 20 losses on the device and on the CPU, both at once."""
    name = f"first 20 losses, {args.dtype}"
    if not args.data:
        return row(name, "missing", detail="no MNIST here; give --data")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folders = {device: folder / device for device in (args.device, "cpu")}
        data, batch = (little_of(args.data, folder / "data"), 4) if args.rehearse else (args.data, 64)
        running = {device: subprocess.Popen(
            trained(args, device, data, out, batch, "--epochs", "1", "--limit", str(25 * batch), "--schedule", "constant",
                    "--lr", "0.01"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for device, out in folders.items()}
        said = {device: process.communicate()[1] for device, process in running.items()}
        for device, process in running.items():
            if process.returncode != 0:
                return row(name, "failed", detail=f"on {device}: {said[device].strip().splitlines()[-1:]}")
        got, want = (losses_in(folders[device]) for device in (args.device, "cpu"))
    if not len(got) == len(want) == 20:
        return row(name, "failed", detail=f"{len(got)} losses on {args.device}, {len(want)} on the CPU")
    apart = max(abs(a - b) / abs(b) for a, b in zip(got, want))
    row(name, "passed" if apart <= APART[args.dtype] else "failed", apart=apart, allowed=APART[args.dtype])


def mnist(args):
    """A whole training, to an accuracy."""
    name = f"lenet on MNIST, {args.dtype}"
    if not args.data:
        return row(name, "missing", detail="no MNIST here; give --data")
    least = 0 if args.rehearse else LEAST_ACCURACY["fashion-mnist" if "fashion" in args.data else "mnist"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data, epochs = (little_of(args.data, folder / "data"), "1") if args.rehearse else (args.data, "2")
        out = folder / "run"
        done = subprocess.run(trained(args, args.device, data, out, 16 if args.rehearse else 64, "--epochs", epochs), capture_output=True, text=True)
        if done.returncode != 0:
            sys.stderr.write(done.stderr)
            return row(name, "failed", detail=f"the training ended with status {done.returncode}")
        metrics = json.loads((out / "metrics.json").read_text())
    row(name, "passed" if metrics["test_accuracy"] >= least else "failed", accuracy=metrics["test_accuracy"],
        least=least, s=metrics["seconds"])


def by_kernel(text):
    """Of ncu's CSV: by kernel, seconds and launches."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    kernels = collections.defaultdict(lambda: [0.0, 0])
    scale = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3, "s": 1, "second": 1}
    for line in csv.DictReader(lines):
        if line.get("Metric Name") != "gpu__time_duration.sum":
            continue
        # Its template's arguments without their types, and not those of the function.
        name = re.sub(r"\((anonymous namespace|<unnamed>)\)::|\([\w: ]+\)(?=-?\d)|void |tapescope::", "", line["Kernel Name"])
        name = name.partition("(")[0]
        kernels[name][0] += float(line["Metric Value"].replace(",", "")) * scale[line["Metric Unit"]]
        kernels[name][1] += 1
    return kernels


REHEARSED = '''==PROF== Connected to process 7
"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"
"0","void tapescope::(anonymous namespace)::gemm<float, (int)64>(const float *)","gpu__time_duration.sum","ns","2,048"
"1","void tapescope::(anonymous namespace)::gemm<float, (int)64>(const float *)","gpu__time_duration.sum","ns","952"
"2","void cudnn::ops::(anonymous namespace)::k<(cudnn::Mode)1, (bool)0>(int)","gpu__time_duration.sum","ns","1,000"
'''


def ncu(args):
    """The kernels of a training step of resnet18 in bf16, as the profiler times them."""
    command = [str(args.build / "device_bench"), "step", "lenet" if args.rehearse else "resnet18", "--dtype", "bf16",
               "--steps", "1", "--device", args.device] + (["--small"] if args.rehearse else [])
    if not args.rehearse and not tool("ncu"):
        return row("ncu", "missing", detail="no times of kernels; those by node are above")
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "ncu.csv"
        if args.rehearse:  # the text of ncu stands in for it
            log.write_text(REHEARSED)
        else:  # the clocks stay as they are
            command = [tool("ncu"), "--clock-control", "none", "--metrics", "gpu__time_duration.sum", "--csv",
                       "--print-units", "base", "--log-file", str(log), *command]
        done = subprocess.run(command, capture_output=True, text=True)
        sys.stderr.write(done.stderr)
        if done.returncode != 0 or not log.exists():
            said = (log.read_text() if log.exists() else done.stdout).strip().splitlines()[-1:]
            return row("ncu", "missing", detail=f"status {done.returncode}: {said}")
        kernels = by_kernel(log.read_text())
    total = sum(seconds for seconds, _ in kernels.values())
    if total == 0:
        return row("ncu", "missing", detail="it told of no kernel")
    row("all kernels", "measured", ms=total * 1e3, launches=sum(n for _, n in kernels.values()))
    for name, (seconds, launches) in sorted(kernels.items(), key=lambda item: -item[1][0])[:20]:
        row(name[:100], "measured", ms=seconds * 1e3, launches=launches, **{"%": 100 * seconds / total})


def sanitize(args):
    """An op of device_bench under compute-sanitizer. No cuDNN and cuBLAS: they would be instrumented, too."""
    name, command = f"{args.tool} {args.op}", [str(args.build / "device_bench"), "check", args.op, "--own", "--device", args.device]
    if not args.rehearse:  # which runs the op alone
        if not tool("compute-sanitizer"):
            return row(name, "missing", detail="no compute-sanitizer")
        command = [tool("compute-sanitizer"), "--tool", args.tool, "--error-exitcode", "9", *command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    sys.stderr.write(done.stdout)
    said = [line for line in done.stdout.splitlines() if "ERROR SUMMARY" in line or done.returncode and ("Error" in line or line.startswith("{"))]
    row(name, "failed" if done.returncode else "passed", detail=" ".join(said[:2])[:300])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    checks = {"machine": machine, "losses": losses, "mnist": mnist, "ncu": ncu, "sanitize": sanitize}
    parser.add_argument("check", choices=checks)
    parser.add_argument("--dtype", default="f32", choices=APART, help="of losses and mnist")
    parser.add_argument("--tool", default="memcheck", help="of sanitize")
    parser.add_argument("--op", default="matmul", help="of sanitize")
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--data", default="")
    parser.add_argument("--rehearse", action="store_true")
    args = parser.parse_args()
    args.device = "emulated" if args.rehearse else "cuda"
    checks[args.check](args)


if __name__ == "__main__":
    main()
