"""Explanations of one picture by resnet18 at 224x224 beside Captum and Zennit on a CPU, in turns, equal
threads, random weights. Captum's batch sizes are the fastest of those tried here, its tensors
channels_last where that is faster.

    pip install torch torchvision captum zennit
    cmake --build --preset cpu --target layers_bench
    python bench/peers/explain.py [--rounds 5] [--threads 2]

Prints a Markdown table: median (least to most) milliseconds a map, and what memory the processes took at
most. Run it on an idle machine."""
import argparse
import statistics
import time

import turns

PAIRS = {  # ours: the peers'
    "saliency": ["saliency"],
    "integrated-gradients": ["ig batch 4", "ig batch 10", "ig batch 50"],
    "smoothgrad": ["smoothgrad batch 5", "smoothgrad batch 25"],
    "lrp-epsilon-plus": ["zennit epsilon-plus"],
    "lrp-epsilon-gamma-box": ["zennit epsilon-gamma-box"],
    "occlusion": ["occlusion batch 27"],
}


def worker(which, threads):
    """Answers with the seconds of one map."""
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

    def seconds():
        start, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - start < 0.5:
            one()
            count += 1
        return (time.perf_counter() - start) / count

    turns.answer(torch.__version__, seconds)


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
        peers = turns.peers(__file__, {which: [which] for which in PAIRS[method]}, args.threads)
        times, peak = {key: [] for key in ["ours", *peers]}, {}
        for _ in range(args.rounds):
            seconds, peak["ours"] = turns.ours(args.bench, [f"--benchmark_filter=explain_resnet18_224/{method}/"],
                                               args.threads)
            times["ours"].append(seconds)
            for which, peer in peers.items():
                seconds, peak[which] = peer.measure()
                times[which].append(seconds)
        for peer in peers.values():
            peer.end()

        best = min(peers, key=lambda which: statistics.median(times[which]))
        ratio = statistics.median(times[best]) / statistics.median(times["ours"])
        print(f"| {method} | {turns.cell(times['ours'])} | {best}: {turns.cell(times[best])} | {ratio:.1f} | "
              f"{peak['ours']:.0f}, {peak[best]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
