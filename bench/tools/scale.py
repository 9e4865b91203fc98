"""One process of two threads beside ranks of one thread, the same training, in turns: images a second of the
training steps, and the share of the time that messages take.

    python bench/tools/scale.py build/cpu/tapescope DATA [--rounds 5] [--model resnet20] [--batch-size 128]

DATA is a folder of pictures, for instance CIFAR-10's. Prints a Markdown table: median (least to most). The
parameters of all must be the same to the bit, which is checked. Run it on an idle machine."""
import argparse
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program")
parser.add_argument("data")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--model", default="resnet20")
parser.add_argument("--batch-size", default="128")
parser.add_argument("--epochs", default="2")
parser.add_argument("--limit", default="0")
args = parser.parse_args()

MPI = ["mpirun", "--oversubscribe", "--allow-run-as-root", "-n"]
WAYS = {"one process, one thread": (["taskset", "-c", "0"], ["--threads", "1"]),
        "one process, two threads": ([], ["--threads", "2"]),
        "2 ranks, local": ([], ["--ranks", "2"]),
        "2 ranks, mpi": ([*MPI, "2"], []),
        "4 ranks, local": ([], ["--ranks", "4"])}
options = ["--model", args.model, "--batch-size", args.batch_size, "--epochs", args.epochs, "--limit", args.limit,
           "--augment", "none", "--statistics-every", "0", "--log-every", "100000", "--loader-threads", "1",
           "--tensorboard", "false", "--validation-fraction", "0.02", "--cache", "memory"]
speeds, shares, weights = {}, {}, set()
with tempfile.TemporaryDirectory() as folder:
    run = pathlib.Path(folder) / "run"
    for _ in range(args.rounds):
        for way, (before, more) in WAYS.items():
            shutil.rmtree(run, ignore_errors=True)
            told = subprocess.run([*before, args.program, "train", "--data", args.data, "--out", str(run), *options,
                                   *more], check=True, capture_output=True, text=True).stderr
            last = [line for line in told.splitlines() if line.startswith("epoch")][-1]
            speeds.setdefault(way, []).append(float(re.search(r"(\d+) images/s", last)[1]))
            share = re.search(r"took ([\d.]+) % of the time", told[told.find("communication"):])
            if "communication" in told:
                shares.setdefault(way, []).append(float(share[1]))
            weights.add((run / "checkpoints/last.safetensors").read_bytes())
assert len(weights) == 1, "the trainings are not the same"
alone = statistics.median(speeds["one process, two threads"])
print(f"{args.model}, batch {args.batch_size}\n\n| | images/s | of one process with two threads | messages |\n|---|---|---|---|")
for way, all_speeds in speeds.items():
    median = statistics.median(all_speeds)
    share = f"{statistics.median(shares[way]):.1f} %" if way in shares else ""
    print(f"| {way} | {median:.0f} ({min(all_speeds):.0f} to {max(all_speeds):.0f}) | {median / alone:.2f} | {share} |")
