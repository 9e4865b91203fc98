"""The training steps of training_steps.cpp in PyTorch at its best settings (channels_last, cuDNN's
autotuner, a foreach optimiser), eager and as a CUDA graph. f32 is IEEE f32, no tf32, as there; bf16 is
autocast. Prints rows as checks.py does; where PyTorch or its GPU is not here the row says "missing".

    python3 bench/device/pytorch_steps.py bf16 resnet18 resnet20 lenet
"""
import argparse
import pathlib
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dtype", choices=["f32", "bf16"])
    parser.add_argument("nets", nargs="+", choices=NETS)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, on tiny batches")
    for unused in ("--build", "--data"):  # what all scripts of tools/gpu-check are given
        parser.add_argument(unused, help=argparse.SUPPRESS)
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
        try:
            time_net(torch, name, args.dtype, "cpu" if args.rehearse else "cuda", args.rehearse)
        except Exception as error:  # the other nets can still be timed
            row(f"{name} {args.dtype}", "failed", detail=str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
    return None


if __name__ == "__main__":
    main()
