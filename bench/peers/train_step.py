"""Training steps beside PyTorch on a CPU, in turns: same nets, batches and optimiser (SGD with momentum
and weight decay), equal threads, synthetic pictures. PyTorch eager, with channels_last, compiled, and in
bf16 by autocast; each mode lives in a process of its own, which waits while others run.

    pip install torch torchvision
    cmake --build --preset cpu --target layers_bench
    python bench/peers/train_step.py [--nets lenet_28,resnet20_32] [--rounds 5] [--threads 2]

Prints a Markdown table: median (least to most) milliseconds a step, and how many times as fast as the
fastest mode of the same precision ours is. Run it on an idle machine."""
import argparse
import pathlib
import platform
import statistics
import sys
import time

import turns

NETS = {"lenet_28": (1, 28, 64), "resnet20_32": (3, 32, 128), "resnet18_32": (3, 32, 64),
        "resnet18_224": (3, 224, 16), "mobilenet_v2_224": (3, 224, 16),
        "seednet_32": (3, 32, 16)}  # channels, size, batch
MODES = ["eager", "channels_last", "compile", "bf16", "bf16 compile"]
OURS, OURS_BF16 = "ours", "ours bf16"
STEPS = {"lenet_28": 30, "resnet20_32": 8, "resnet18_32": 10, "resnet18_224": 2, "mobilenet_v2_224": 2,
         "seednet_32": 8}


def make(name):
    import torch.nn as nn
    import torchvision
    if name == "lenet_28":
        return nn.Sequential(nn.Conv2d(1, 24, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Conv2d(24, 48, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                             nn.Linear(48 * 49, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 10))
    if name == "resnet20_32":
        # The CIFAR form: a 3x3 stem, stages of 16, 32 and 64 channels, shortcuts by 1x1 convolutions.
        Block, layers, inputs = torchvision.models.resnet.BasicBlock, [], 16
        for stage, width in enumerate((16, 32, 64)):
            for block in range(3):
                stride = 2 if stage > 0 and block == 0 else 1
                down = None
                if stride != 1:
                    down = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
                layers.append(Block(inputs, width, stride, down))
                inputs = width
        return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *layers,
                             nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    if name == "seednet_32":
        layers, inputs = [], 3
        for width in (64, 64, 128, 128, 1000):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        return nn.Sequential(*layers, nn.AvgPool2d(8), nn.Dropout(), nn.Conv2d(1000, 1000, 3, padding=1),
                             nn.Dropout(), nn.AvgPool2d(2), nn.Conv2d(1000, 10, 1), nn.Dropout(),
                             nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return torchvision.models.get_model(name.rsplit("_", 1)[0], num_classes=10)


def worker(name, mode, threads):
    """Answers with the seconds of a step, the median of some."""
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    channels, size, batch = NETS[name]
    layout = torch.contiguous_format if mode == "eager" else torch.channels_last
    net = make(name).to(memory_format=layout).train()
    x = torch.randn(batch, channels, size, size).to(memory_format=layout)
    y = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, 0.9, weight_decay=5e-4)

    def loss():
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in mode):
            logits = net(x)
        return F.cross_entropy(logits.float(), y)

    forward = torch.compile(loss) if "compile" in mode else loss

    def step():
        optimizer.zero_grad(set_to_none=True)
        forward().backward()
        optimizer.step()

    for _ in range(3):
        step()

    def seconds():
        all = []
        for _ in range(STEPS[name]):
            start = time.perf_counter()
            step()
            all.append(time.perf_counter() - start)
        return statistics.median(all)

    turns.answer(torch.__version__, seconds)


def ours(bench, name, threads):
    return turns.ours(bench, [f"--benchmark_filter=train_step/{name}/[0-9]+/4/", "--benchmark_min_time=0.5"], threads)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/cpu/layers_bench")
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", nargs=2)
    args = parser.parse_args()
    if args.worker:
        return worker(*args.worker, args.threads)
    if not pathlib.Path(args.bench).exists():
        sys.exit(f"{args.bench} is missing; cmake --build --preset cpu --target layers_bench")
    modes = args.modes.split(",")
    print(f"| {platform.processor() or platform.machine()}, {args.threads} threads |", OURS, "|", OURS_BF16, "|",
          " | ".join(modes), "| ours / fastest f32 | ours bf16 / fastest bf16 | peak MiB: ours, fastest f32 |")
    print("|---" * (len(modes) + 6) + "|")
    version = "?"
    for name in args.nets.split(","):
        peers = turns.peers(__file__, {mode: (name, mode) for mode in modes}, args.threads)
        times, memory = {key: [] for key in [OURS, OURS_BF16, *modes]}, {}
        for _ in range(args.rounds):
            for key, suffix in ((OURS, ""), (OURS_BF16, "_bf16")):
                seconds, memory[key] = ours(args.bench, name + suffix, args.threads)
                times[key].append(seconds)
            for mode, peer in peers.items():
                seconds, memory[mode] = peer.measure()
                times[mode].append(seconds)
        for peer in peers.values():
            version = peer.version
            peer.end()

        def ratio(bf16):
            best = [statistics.median(times[m]) for m in peers if ("bf16" in m) == bf16]
            own = times[OURS_BF16 if bf16 else OURS]
            return f"{min(best) / statistics.median(own):.2f}" if best else "-"

        def peak():
            f32 = [m for m in peers if "bf16" not in m]
            fastest = min(f32, key=lambda m: statistics.median(times[m])) if f32 else OURS
            return f"{memory[OURS]:.0f}, {memory[fastest]:.0f}"

        print(f"| {name} |", " | ".join(turns.cell(t) for t in times.values()), "|",
              ratio(False), "|", ratio(True), "|", peak(), "|", flush=True)
    print(f"\nPyTorch {version}, {time.strftime('%Y-%m-%d')}")


if __name__ == "__main__":
    main()
