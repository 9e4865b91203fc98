"""Explanations of one picture by resnet18 at 224x224 beside Captum and Zennit on a CPU, in turns, equal
threads, random weights. Captum's batch sizes are the fastest of those tried here, its tensors
channels_last where that is faster.

    pip install torch torchvision captum zennit
    cmake --build --preset cpu --target layers_bench
    python bench/peers/explain.py [--rounds 5] [--threads 2]

Prints a Markdown table: median (least to most) milliseconds a map, and what memory the processes took at
most. Run it on an idle machine."""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

PAIRS = {  # ours: the peers'
    "saliency": ["saliency"],
    "integrated-gradients": ["ig batch 4", "ig batch 10", "ig batch 50"],
    "smoothgrad": ["smoothgrad batch 5", "smoothgrad batch 25"],
    "lrp-epsilon-plus": ["zennit epsilon-plus"],
    "lrp-epsilon-gamma-box": ["zennit epsilon-gamma-box"],
    "occlusion": ["occlusion batch 27"],
}


def worker(which, threads):
    """Answers each line on standard input with the seconds of one map and the process's peak memory, MiB."""
    import torch
    import torchvision
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=1000).eval()
    x = torch.randn(1, 3, 224, 224)
    batch = int(which.split()[-1]) if "batch" in which else 1
    if which.startswith("zennit"):
        from zennit.attribution import Gradient
        from zennit.composites import EpsilonGammaBox, EpsilonPlus
        from zennit.torchvision import ResNetCanonizer
        canonizers = [ResNetCanonizer()]
        composite = (EpsilonPlus(canonizers=canonizers) if which.endswith("plus") else
                     EpsilonGammaBox(low=-3.0, high=3.0, canonizers=canonizers))
        seed = torch.eye(1000)[[3]]

        def one():
            with Gradient(model=net, composite=composite) as attributor:
                attributor(x, seed)
    else:
        import captum.attr as attr
        if which.startswith("saliency"):
            method = attr.Saliency(net)
            one = lambda: method.attribute(x, target=3)
        elif which.startswith("ig"):
            method = attr.IntegratedGradients(net)
            one = lambda: method.attribute(x, target=3, n_steps=50, internal_batch_size=batch)
        elif which.startswith("smoothgrad"):
            method = attr.NoiseTunnel(attr.Saliency(net))
            one = lambda: method.attribute(x, target=3, nt_type="smoothgrad", nt_samples=50,
                                           nt_samples_batch_size=batch, stdevs=0.15)
        else:
            method = attr.Occlusion(net)
            one = lambda: method.attribute(x, target=3, sliding_window_shapes=(3, 16, 16),
                                           strides=(3, 8, 8), perturbations_per_eval=batch)

    def fastest_layout():
        nonlocal x, net
        times = []
        for layout in (torch.contiguous_format, torch.channels_last):
            net, x = net.to(memory_format=layout), x.to(memory_format=layout)
            one()
            start = time.perf_counter()
            one()
            times.append(time.perf_counter() - start)
        if times[0] < times[1]:
            net, x = net.to(memory_format=torch.contiguous_format), x.contiguous()

    fastest_layout()
    print("ready", torch.__version__, flush=True)
    for _ in sys.stdin:
        start, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - start < 0.5:
            one()
            count += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print((time.perf_counter() - start) / count, peak, flush=True)


def ours(bench, method, threads):
    process = subprocess.Popen([bench, f"--benchmark_filter=explain_resnet18_224/{method}/",
                                "--benchmark_format=json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, env={**os.environ, "TAPESCOPE_THREADS": str(threads)})
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{bench} ended with status {status}")
    return json.loads(out)["benchmarks"][0]["real_time"] / 1e3, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/cpu/layers_bench")
    parser.add_argument("--methods", default=",".join(PAIRS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker")
    args = parser.parse_args()
    if args.worker:
        return worker(args.worker, args.threads)
    print("| method | ours, ms | peer, ms | ratio | peak MiB: ours, peer |\n|---|---|---|---|---|")
    for method in args.methods.split(","):
        peers = {}
        for which in PAIRS[method]:
            process = subprocess.Popen([sys.executable, __file__, "--worker", which, "--threads", str(args.threads)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                       env={**os.environ, "OMP_NUM_THREADS": str(args.threads)})
            if process.stdout.readline().startswith("ready"):
                peers[which] = process
        times, peak = {key: [] for key in ["ours", *peers]}, {}
        for _ in range(args.rounds):
            seconds, peak["ours"] = ours(args.bench, method, args.threads)
            times["ours"].append(seconds)
            for which, process in peers.items():
                process.stdin.write("go\n")
                process.stdin.flush()
                seconds, peak[which] = map(float, process.stdout.readline().split())
                times[which].append(seconds)
        for process in peers.values():
            process.stdin.close()
            process.wait()

        def cell(key):
            t = [1e3 * value for value in times[key]]
            return f"{statistics.median(t):.1f} ({min(t):.1f}-{max(t):.1f})"

        best = min(peers, key=lambda which: statistics.median(times[which]))
        ratio = statistics.median(times[best]) / statistics.median(times["ours"])
        print(f"| {method} | {cell('ours')} | {best}: {cell(best)} | {ratio:.1f} | "
              f"{peak['ours']:.0f}, {peak[best]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
