"""The training steps of training_steps.cpp in PyTorch at its best settings (channels_last, cuDNN's
autotuner, a foreach optimiser), eager and as a CUDA graph. f32 is IEEE f32, no tf32, as there; bf16 is
autocast. `convolutions` stands for those of device_bench, at its shapes, over rotating buffers: cuDNN's fastest,
where ours takes the first that gives the same bits each time. Prints rows as checks.py does; where PyTorch or
its GPU is not here the row says "missing".

    python3 bench/device/pytorch_steps.py bf16 resnet18 resnet20 lenet convolutions
"""
import argparse
import itertools
import math
import pathlib
import subprocess
import sys
import time

from checks import row

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

NETS = {"lenet": ("lenet_28", 1, 28, 64), "resnet20": ("resnet20_32", 3, 32, 128),
        "resnet18": ("resnet18_224", 3, 224, 64)}  # its name in peers/train_step.py, channels, size, batch


def seconds_of(run, wait, steps):
    """Of one run: the best of three times `steps`."""
    best = 1e30
    for _ in range(3):
        wait()
        began = time.perf_counter()
        for _ in range(steps):
            run()
        wait()
        best = min(best, (time.perf_counter() - began) / steps)
    return best


def training(torch, name, dtype, device, small):
    """A function that does one step."""
    from train_step import make
    name, channels, size, batch = NETS[name]
    if small:
        size, batch = 28 if channels == 1 else 32, 2
    model = make(name).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True)
    x = torch.randn(batch, channels, size, size, device=device).to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,), device=device)

    def step():
        optimizer.zero_grad(set_to_none=False)
        # A graph must not keep the casts of one step for the next.
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bf16", cache_enabled=False):
            logits = model(x)
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()

    return step, batch


def captured(torch, step):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def time_net(torch, name, dtype, device, small):
    step, batch = training(torch, name, dtype, device, small)
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    steps = 1 if small else 20
    for _ in range(1 if small else 5):  # the autotuner's
        step()
    label = f"{name} batch {batch} {dtype}"
    row(f"{label} eager", "measured", ms=1e3 * seconds_of(step, wait, steps))
    if device == "cuda":
        row(f"{label} graph", "measured", ms=1e3 * seconds_of(captured(torch, step), wait, steps))
    else:
        row(f"{label} graph", "missing", detail="there are CUDA graphs on CUDA only")


def time_convolutions(torch, dtype, device, build, small):
    shapes = subprocess.run([f"{build}/device_bench", "shapes", "conv2d", *["--small"][:small]], capture_output=True,
                            text=True, check=True).stdout.split()
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)

    def noise(*sizes):
        made = torch.randn(*sizes, device=device, dtype=torch.bfloat16 if dtype == "bf16" else torch.float32)
        return made.to(memory_format=torch.channels_last)

    for shape in shapes:
        N, H, W, I, O, K, stride = map(int, shape.split("x"))
        geometry, rest = ([stride] * 2, [K // 2] * 2, [1, 1]), (False, [0, 0], 1)
        def forward(x, w, dy):
            return torch.ops.aten.convolution(x, w, None, *geometry, *rest)
        def gradient(of_x):
            return lambda x, w, dy: torch.ops.aten.convolution_backward(dy, x, w, None, *geometry, *rest, [of_x, not of_x, False])
        sets = []
        while not sets or len(sets) < (2 if small else math.ceil(256e6 / sum(t.nbytes for t in sets[0]))):
            x, w = noise(N, I, H, W), noise(O, I, K, K)
            sets.append((x, w, torch.randn_like(forward(x, w, None))))
        for name, call in (("conv2d", forward), ("conv2d_data_gradient", gradient(True)), ("conv2d_weight_gradient", gradient(False))):
            call(*sets[0])  # the autotuner's
            turn = itertools.cycle(sets)
            seconds = seconds_of(lambda: call(*next(turn)), wait, 2 if small else 30)
            P, Q = sets[0][2].shape[2:]
            row(f"{name} {shape} {dtype} PyTorch", "measured", ms=1e3 * seconds,
                **{"TFLOP/s": 2e-12 * N * P * Q * O * I * K * K / seconds})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dtype", choices=["f32", "bf16"])
    parser.add_argument("nets", nargs="+", choices=[*NETS, "convolutions"])
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, on tiny batches")
    parser.add_argument("--build", default="build/gpu-check", help="folder of device_bench, which knows the shapes")
    parser.add_argument("--data", help=argparse.SUPPRESS)  # what all scripts of tools/gpu-check are given
    args = parser.parse_args()
    try:
        import torch
        import torchvision  # train_step.py's nets are made of it
    except ImportError as error:
        return row(f"PyTorch {args.dtype}", "missing", detail=f"{sys.executable}: {error}")
    there = torch.cuda.is_available()
    row(f"PyTorch {args.dtype}", "passed" if there or args.rehearse else "missing", detail=f"{torch.__version__}, "
        f"torchvision {torchvision.__version__}, cuDNN {torch.backends.cudnn.version()}, {'with' if there else 'without'} CUDA")
    if not there and not args.rehearse:
        return None
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for name in args.nets:
        device = "cpu" if args.rehearse else "cuda"
        try:
            if name == "convolutions":
                time_convolutions(torch, args.dtype, device, args.build, args.rehearse)
            else:
                time_net(torch, name, args.dtype, device, args.rehearse)
        except Exception as error:  # the other nets can still be timed
            row(f"{name} {args.dtype}", "failed", detail=str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
    return None


if __name__ == "__main__":
    main()
