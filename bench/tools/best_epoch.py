"""Which epoch to keep: trains on few pictures, notes of every epoch's net which test pictures it gets
right, and then plays validation sets of any size: what a rule would have chosen, and what that net
gets right of pictures that the rule has not seen.

    python3 bench/tools/best_epoch.py --tapescope build/cpu/tapescope --data CIFAR10 --out runs/best
"""
import argparse
import json
import math
import os
import pathlib
import random
import statistics
import subprocess


def subset(source, target, per_class, seed):
    if target.exists():
        return
    choose = random.Random(seed)
    for folder in sorted(source.iterdir()):
        files = sorted(folder.iterdir())
        choose.shuffle(files)
        (target / folder.name).mkdir(parents=True)
        for file in files[:per_class]:
            os.symlink(file, target / folder.name / file.name)


def right_by_epoch(tapescope, train, test, run, epochs, seed):
    """A list of 0 and 1 for each epoch, one for each test picture."""
    known = run.with_suffix(".json")
    if known.exists():
        return json.loads(known.read_text())
    subprocess.run([tapescope, "train", "--data", train, "--out", run, "--model", "resnet20",
                    "--epochs", str(epochs), "--keep-checkpoints", str(epochs), "--seed", str(seed)],
                   check=True, capture_output=True)
    rows = []
    for epoch in range(1, epochs + 1):
        told = subprocess.run(
            [tapescope, "predict", "--run", run, "--json", "--top", "1", test,
             "--checkpoint", run / f"checkpoints/epoch-{epoch:03}.safetensors"],
            check=True, capture_output=True, text=True).stdout
        answers = json.loads(told)
        answers = answers if isinstance(answers, list) else answers["images"]
        rows.append([int(pathlib.Path(a["path"]).parent.name == a["top"][0]["class"])
                     for a in answers])
    known.write_text(json.dumps(rows))
    return rows


def best_of_means(scores, images, wanted):
    """The epoch that ends the best mean over epochs that judge `wanted` images; else the last."""
    width = math.ceil(wanted / images)
    means = [(sum(scores[e - width + 1:e + 1]), e) for e in range(width - 1, len(scores))]
    return max(means)[1] if means else len(scores) - 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tapescope", default="build/cpu/tapescope")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    data, out = options.data.resolve(), options.out.resolve()
    subset(data / "test", out / "test", 120, 1)
    print("| training pictures | validation pictures | the highest score | last epoch "
          "| best mean of 200 | 500 | 1,000 |\n|---|---|---|---|---|---|---|")
    for per_class, epochs in ((30, 40), (100, 30)):
        train = out / f"train-{per_class}"
        subset(data / "train", train, per_class, per_class)
        for images in (6, 15, 30, 100, 400):
            found = {}
            for seed in range(1, options.seeds + 1):
                rows = right_by_epoch(options.tapescope, train, out / "test",
                                      out / f"run-{per_class}-{seed}", epochs, seed)
                order = list(range(len(rows[0])))
                draw = random.Random(seed)
                for _ in range(200):
                    draw.shuffle(order)
                    scores = [sum(row[i] for i in order[:images]) for row in rows]
                    chosen = {name: best_of_means(scores, images, wanted) for name, wanted in
                              (("highest", images), ("200", 200), ("500", 500), ("1000", 1000))}
                    chosen["last"] = len(rows) - 1
                    for name, epoch in chosen.items():
                        unseen = [rows[epoch][i] for i in order[600:]]
                        found.setdefault(name, []).append(100 * statistics.mean(unseen))
            print(f"| {10 * per_class} | {images} | " + " | ".join(
                f"{statistics.mean(found[name]):.1f} % (least {min(found[name]):.0f})"
                for name in ("highest", "last", "200", "500", "1000")) + " |")


if __name__ == "__main__":
    main()
