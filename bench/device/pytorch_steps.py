"""The training steps of training_steps.cpp in PyTorch, at its best settings: channels_last, cuDNN's
autotuner, a captured CUDA graph, a fused optimiser. f32 is IEEE f32 (no tf32), as there.
Prints one JSON object. Needs torch and a CUDA device; torchvision is not needed."""
import json
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.backends.cudnn.benchmark = True
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down = None
        if stride != 1 or inputs != outputs:
            self.down = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.down is None else self.down(x)))


class ResNet(nn.Module):
    def __init__(self, stem, widths, depth):
        super().__init__()
        layers, inputs = [], widths[0]
        for stage, width in enumerate(widths):
            for block in range(depth):
                layers.append(Block(inputs, width, 2 if stage > 0 and block == 0 else 1))
                inputs = width
        self.stem, self.body, self.head = stem, nn.Sequential(*layers), nn.Linear(inputs, 10)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def resnet18():
    stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                         nn.MaxPool2d(3, 2, 1))
    return ResNet(stem, [64, 128, 256, 512], 2)


def resnet20():
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    return ResNet(stem, [16, 32, 64], 3)


def seconds_of_a_step(model, size, batch):
    model = model.cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True,
                                weight_decay=5e-4, foreach=True)
    x = torch.randn(batch, 3, size, size, device="cuda").to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,), device="cuda")

    def step():
        optimizer.zero_grad(set_to_none=False)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    best = 1e30
    for _ in range(3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(20):
            graph.replay()
        torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - began) / 20)
    return best


if __name__ == "__main__":
    steps = []
    for name, make, size, batch in (("resnet20", resnet20, 32, 128), ("resnet18", resnet18, 224, 64)):
        steps.append({"model": name, "image_size": size, "batch": batch,
                      "milliseconds": 1e3 * seconds_of_a_step(make(), size, batch)})
    print(json.dumps({"torch": torch.__version__, "steps": steps}, indent=2))
