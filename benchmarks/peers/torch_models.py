# SPDX-License-Identifier: Apache-2.0
"""The networks and losses of the whole steps, as people write them in PyTorch: plain modules, scaled_dot_product_attention, nothing of ours.

Sizes come from a pipeline (`gatun bench-steps --list`); each class says what of it it takes.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """A transformer block with stochastic depth: a mask a sample (timm's DropPath), or the branch on a subset (DINOv2)."""

    def __init__(self, width, heads, ratio, rate, form):
        super().__init__()
        self.heads, self.rate, self.form = heads, rate, form
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, int(width * ratio))
        self.fc2 = nn.Linear(int(width * ratio), width)

    def attention(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))

    def mlp(self, x):
        return self.fc2(F.gelu(self.fc1(self.norm2(x))))

    def residual(self, x, branch):
        if not self.training or self.rate == 0:
            return x + branch(x)
        if self.form == "mask":
            keep = x.new_empty(x.shape[0], 1, 1).bernoulli_(1 - self.rate).div_(1 - self.rate)
            return x + branch(x) * keep
        kept = max(int(x.shape[0] * (1 - self.rate)), 1)
        rows = torch.randperm(x.shape[0], device=x.device)[:kept]
        return torch.index_add(x, 0, rows, branch(x[rows]).to(x.dtype), alpha=x.shape[0] / kept)

    def forward(self, x):
        return self.residual(self.residual(x, self.attention), self.mlp)


class Vit(nn.Module):
    """model: patch, width, depth, heads, mlp_ratio, drop_path, drop_path_rule, drop_path_form, pooling."""

    def __init__(self, model, side, channels):
        super().__init__()
        width, depth = model["width"], model["depth"]
        self.patch, self.average = model["patch"], model["pooling"] == "average"
        self.grid = side // self.patch
        self.embed = nn.Conv2d(channels, width, self.patch, self.patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, self.grid**2 + 1, width).normal_(0, 0.02))
        rates = [model["drop_path"] * (i / (depth - 1) if model["drop_path_rule"] == "linear" and depth > 1 else 1) for i in range(depth)]
        self.blocks = nn.ModuleList(Block(width, model["heads"], model["mlp_ratio"], rate, model["drop_path_form"]) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.features = width
        for linear in (one for one in self.blocks.modules() if isinstance(one, nn.Linear)):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def position(self, height, width):
        if height == width == self.grid:
            return self.positions
        rows = self.positions[:, 1:].reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        rows = F.interpolate(rows, size=(height, width), mode="bicubic", align_corners=False)
        return torch.cat([self.positions[:, :1], rows.flatten(2).transpose(1, 2)], 1)

    def forward(self, x):
        patches = self.embed(x)
        height, width = patches.shape[2:]
        tokens = patches.flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1) + self.position(height, width)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:].mean(1) if self.average else self.norm(x[:, 0])


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    """torchvision's, with bottlenecks and the large stem; model: depths, widths."""

    def __init__(self, model, side, channels):
        super().__init__()
        if model["block"] != "bottleneck" or model["stem"] != "imagenet" or model["drop_path"] > 0 or model["sobel"]:
            raise ValueError("a resnet here has bottlenecks, the imagenet stem, no stochastic depth and no sobel")
        inputs = model["widths"][0]
        layers = [nn.Conv2d(channels, inputs, 7, 2, 3, bias=False), nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        for stage, (depth, width) in enumerate(zip(model["depths"], model["widths"])):
            for i in range(depth):
                layers.append(Bottleneck(inputs, width, 2 if stage > 0 and i == 0 else 1))
                inputs = 4 * width
        self.layers = nn.Sequential(*layers)
        self.features = inputs
        for conv in (one for one in self.modules() if isinstance(one, nn.Conv2d)):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        return self.layers(x).mean((2, 3))


def encoder(pipeline, channels):
    model, side = pipeline["model"], pipeline["views"]["crops"][0]["size"]
    kinds = {"vit": Vit, "resnet": ResNet}
    if model["name"] not in kinds:
        raise ValueError(f"there is no peer of the model {model['name']}")
    return kinds[model["name"]](model, side, channels)


class Swav(nn.Module):
    """method: prototypes, hidden, output, temperature, epsilon, iterations; no queue."""

    def __init__(self, pipeline, network, classes):
        super().__init__()
        self.network, self.method = network, pipeline["method"]
        if self.method["queue"]:
            raise ValueError("there is no peer of swav with a queue")
        crops = pipeline["views"]["crops"]
        self.count = sum(crop["count"] for crop in crops)
        self.assigned = sum(crop["count"] for crop in crops if crop["role"] == "global")
        layers, width = [], network.features
        for hidden in self.method["hidden"]:
            layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
            width = hidden
        self.head = nn.Sequential(*layers, nn.Linear(width, self.method["output"]))
        self.prototypes = nn.Linear(self.method["output"], self.method["prototypes"], bias=False)

    @torch.no_grad()
    def before(self):
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def codes(self, scores):
        q = torch.exp(scores / self.method["epsilon"])
        q = q / q.sum()
        for _ in range(self.method["iterations"]):
            q = q / (q.sum(0, keepdim=True) * q.shape[1])
            q = q / (q.sum(1, keepdim=True) * q.shape[0])
        return q * q.shape[0]

    def forward(self, views, labels):
        features = torch.cat([self.network(view) for view in views])
        z = F.normalize(self.head(features).float(), dim=1)
        with torch.autocast(z.device.type, enabled=False):
            scores = F.linear(z, self.prototypes.weight)
        rows = scores.chunk(self.count)
        logs = F.log_softmax(scores / self.method["temperature"], dim=1).chunk(self.count)
        loss = 0
        for i in range(self.assigned):
            with torch.no_grad():
                codes = self.codes(rows[i].detach())
            for v in range(self.count):
                if v != i:
                    loss = loss - (codes * logs[v]).sum(1).mean()
        return loss / (self.assigned * (self.count - 1))


class Supervised(nn.Module):
    """Cross-entropy with the labels."""

    def __init__(self, pipeline, network, classes):
        super().__init__()
        self.network, self.head = network, nn.Linear(network.features, classes)

    def before(self):
        pass

    def forward(self, views, labels):
        logits = self.head(torch.cat([self.network(view) for view in views]))
        return F.cross_entropy(logits.float(), labels.repeat(logits.shape[0] // labels.shape[0]))


class Cosub(Supervised):
    """The batch doubled; method: loss, weight."""

    def __init__(self, pipeline, network, classes):
        super().__init__(pipeline, network, classes)
        self.classes, self.method = classes, pipeline["method"]

    def hard(self, logits, labels):
        if self.method["loss"] == "softmax":
            return F.cross_entropy(logits, labels)
        return F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, self.classes).to(logits.dtype))

    def soft(self, logits, other):
        if self.method["loss"] == "softmax":
            return F.cross_entropy(logits, other.softmax(1))
        return F.binary_cross_entropy_with_logits(logits, other.sigmoid())

    def forward(self, views, labels):
        a, c = self.head(self.network(torch.cat([views[0], views[0]]))).float().chunk(2)
        supervised = self.hard(a, labels) + self.hard(c, labels)
        mutual = self.soft(a, c.detach()) + self.soft(c, a.detach())
        return ((1 - self.method["weight"]) * supervised + self.method["weight"] * mutual) / 2


def method(pipeline, channels, classes):
    kinds = {"swav": Swav, "supervised": Supervised, "cosub": Cosub}
    name = pipeline["method"]["name"]
    if name not in kinds:
        raise ValueError(f"there is no peer of the method {name}")
    return kinds[name](pipeline, encoder(pipeline, channels), classes)


class Training(nn.Module):
    """From bytes to the loss: what is compiled."""

    def __init__(self, pipeline):
        super().__init__()
        data, views = pipeline["data"], pipeline["views"]
        self.method = method(pipeline, data["shape"][2], data["classes"])
        self.bf16 = pipeline["precision"] == "bf16"
        self.register_buffer("mean", torch.tensor(views["mean"]).mul(255).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(views["std"]).mul(255).view(1, -1, 1, 1))

    def forward(self, crops, labels):
        with torch.autocast(labels.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.method([(crop.float() - self.mean) / self.std for crop in crops], labels)


def optimizer(pipeline, parameters, fused):
    """Fused; biases and norms do not decay."""
    settings = pipeline["optimizer"]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings["weight_decay"]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings["name"] == "adamw":
        return torch.optim.AdamW(groups, lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]), eps=settings["epsilon"], fused=fused)
    if settings["name"] == "sgd":
        return torch.optim.SGD(groups, lr=settings["lr"], momentum=settings["momentum"], nesterov=settings["nesterov"], fused=fused)
    raise ValueError(f"there is no peer of the optimizer {settings['name']}")
