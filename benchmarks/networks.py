"""Networks of PyTorch as people have them, which `from_torch` brings in."""

import math

import torch
from torch import nn
from torch.nn import functional


class Basic(nn.Module):
    """A residual block, as in ResNet-18: both in place, relu and sum."""

    def __init__(self, inside, outside, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inside != outside:
            shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outside))

    def forward(self, x):
        h = self.relu(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        h += x if self.downsample is None else self.downsample(x)
        return self.relu(h)


class ResNet(nn.Module):
    """With widths 64, 128, 256, 512 and 1000 classes: ResNet-18 as published."""

    def __init__(self, widths=(64, 128, 256, 512), classes=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = widths[0]
        for i, width in enumerate(widths, 1):
            first = Basic(before, width, 1 if i == 1 else 2)
            setattr(self, f"layer{i}", nn.Sequential(first, Basic(width, width)))
            before = width
        self.depth = len(widths)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(1, self.depth + 1):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Block(nn.Module):
    """A block of a transformer that sees only what came before."""

    def __init__(self, width, heads, fused=True):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.ln1, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.proj, self.ln2 = nn.Linear(width, width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        x = x + self.attend(self.ln1(x))
        return x + self.mlp(self.ln2(x))

    def attend(self, x):
        b, t, c = x.shape
        q, k, v = (
            part.view(b, t, self.heads, c // self.heads).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(k.shape[-1])
            mask = torch.ones(t, t, dtype=torch.bool).tril()
            y = scores.masked_fill(~mask, -math.inf).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(b, t, c))


class GPT(nn.Module):
    """A decoder, the weights of the output tied to those of the embedding."""

    def __init__(self, layers=2, width=16, length=8, words=11, heads=2, fused=True):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, fused) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, words):
        x = self.wte(words) + self.wpe(torch.arange(words.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))


# What is measured: a network, and an input.
NETWORKS = {
    "ResNet-18, 4 images of 64x64": lambda: (ResNet(), torch.randn(4, 3, 64, 64)),
    "GPT, 12 layers of width 128, length 64": lambda: (
        GPT(12, 128, 64, 256, 4), torch.randint(0, 256, (1, 64))
    ),
}  # fmt: skip
