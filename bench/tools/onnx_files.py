"""One picture at a time through ONNX files: Tapescope beside ONNX Runtime and OpenVINO, in turns.

    pip install numpy onnxruntime openvino
    python bench/tools/onnx_files.py build/cpu/tapescope FILE.onnx... [--size 224] [--threads 2]

Tapescope's time is that of `predict` (`detect` for a file of whose outputs the first has three axes) on 240
pictures less that on 40, so what is loaded and prepared once does not count, and reading a picture and
making it ready does; the others' is their run alone. Medians of five turns.
"""
import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime
import openvino

FEW, MANY = 40, 240


def write_pictures(folder, size):
    random = np.random.default_rng(0)
    for i in range(MANY):
        pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        header = f"P6 {size} {size} 255\n".encode()
        (folder / f"{i:03}.ppm").write_bytes(header + pixels.tobytes())


def ours(program, file, size, threads, detects, folder):
    words = [program, "detect" if detects else "predict", "--model", file, "--image-size", str(size),
             "--mean", "0", "--std", "1", "--threads", str(threads), "--json"]
    seconds = []
    for count in (FEW, MANY):
        pictures = [str(folder / f"{i:03}.ppm") for i in range(count)]
        began = time.perf_counter()
        subprocess.run(words + pictures, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return 1e3 * (seconds[1] - seconds[0]) / (MANY - FEW)


def timed(run):
    for _ in range(10):
        run()
    times, end = [], time.perf_counter() + 2
    while time.perf_counter() < end:
        began = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.mean(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    for file in args.files:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        x = np.random.default_rng(1).random((1, 3, args.size, args.size), dtype=np.float32)
        feed = {session.get_inputs()[0].name: x}
        core = openvino.Core()
        model = core.read_model(file)
        model.reshape([1, 3, args.size, args.size])
        compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": args.threads,
                                                     "INFERENCE_PRECISION_HINT": "f32",
                                                     "PERFORMANCE_HINT": "LATENCY"})
        request = compiled.create_infer_request()
        theirs = session.run(None, feed)[0]
        assert np.abs(request.infer([x])[compiled.output(0)] - theirs).max() <= 1e-3 * np.abs(theirs).max()
        detects = theirs.ndim == 3
        times = {"Tapescope": [], "ONNX Runtime": [], "OpenVINO": []}
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            write_pictures(folder, args.size)
            for _ in range(args.turns):
                times["Tapescope"].append(
                    ours(args.program, file, args.size, args.threads, detects, folder))
                times["ONNX Runtime"].append(timed(lambda: session.run(None, feed)))
                times["OpenVINO"].append(timed(lambda: request.infer([x])))
        print(file, f"{args.size}x{args.size}, {args.threads} threads:",
              ", ".join(f"{who} {statistics.median(all_):.2f} ms" for who, all_ in times.items()), flush=True)


main()
