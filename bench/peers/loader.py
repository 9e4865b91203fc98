"""Pictures per second of one thread, in turns: ours, and torchvision's ImageFolder with Pillow.

    cmake --build --preset cpu --target tools_bench
    python bench/peers/loader.py FOLDER [--rounds 5] [--bench build/cpu/tools_bench]

FOLDER holds folders of pictures, one per class. Both read the files from the page cache and make
normalised batches of 16 f32 pictures of 224x224, in the process that asks for them. Needs torch,
torchvision and Pillow.
"""
import argparse
import json
import os
import statistics
import subprocess
import time

import PIL
import PIL.features
import torch
import torchvision
from torchvision import transforms

END = [transforms.ToTensor(),
       transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
WORK = {
    "evaluation": [transforms.Resize(256), transforms.CenterCrop(224)] + END,
    "training": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()] + END,
}


def theirs(folder, steps):
    data = torchvision.datasets.ImageFolder(folder, transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True, num_workers=0)
    began = time.perf_counter()
    pictures = sum(len(labels) for _, labels in loader)
    return pictures / (time.perf_counter() - began)


def ours(bench, folder, name):
    done = subprocess.run([bench, f"--benchmark_filter=^loader/{name}$", "--benchmark_format=json"],
                          env={**os.environ, "TAPESCOPE_PICTURES": folder}, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)["benchmarks"][0]["items_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bench", default="build/cpu/tools_bench")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, Pillow "
          f"{PIL.__version__}, libjpeg-turbo {PIL.features.version('libjpeg_turbo')}")
    for name, steps in WORK.items():
        theirs(asked.folder, steps)  # files come into the page cache
        rates = {"ours": [], "torchvision": []}
        for _ in range(asked.rounds):
            rates["ours"].append(ours(asked.bench, asked.folder, name))
            rates["torchvision"].append(theirs(asked.folder, steps))
        medians = {who: statistics.median(all) for who, all in rates.items()}
        for who, all in rates.items():
            print(f"{name:11} {who:12} {medians[who]:6.0f} pictures/s "
                  f"({min(all):.0f} to {max(all):.0f})")
        print(f"{name:11} {medians['ours'] / medians['torchvision']:.2f} times as fast")


if __name__ == "__main__":
    main()
