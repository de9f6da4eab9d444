# SPDX-License-Identifier: Apache-2.0
"""What a row of `gatun bench` is in PyTorch: one function an operation and form, which makes operands and says what is timed.

A peer's function gets a Builder (torch_cuda.py) and the row; PyTorch is reached through the builder, so that this file is read without it.
Each does the work that our row does, no more where PyTorch lets one choose; where it cannot, the form's name says so.
"""

import contextlib
from dataclasses import dataclass, field
from typing import Callable

PEERS = []


@dataclass
class Work:
    """function(*operands) is timed; of a backward pass, the gradients of operands[wanted]."""

    function: Callable
    operands: list
    wanted: tuple = ()
    context: Callable = contextlib.nullcontext
    plain: bool = False  # the function itself is a backward pass


@dataclass(frozen=True)
class Peer:
    operation: str
    directions: tuple
    forms: tuple
    make: Callable
    when: Callable = field(default=lambda row: True)


def peer(operation, *directions, forms=("eager", "compile"), when=lambda row: True):
    """A direction with "backward" in it is timed as gradients of the function, any other as the function; without directions the peer
    takes all. A form that ends in "compile" is compiled."""

    def register(make):
        PEERS.append(Peer(operation, directions, forms, make, when))
        return make

    return register


def peers_of(row):
    return [one for one in PEERS if one.operation == row.operation and (not one.directions or row.direction in one.directions) and one.when(row)]


# Rows and normalisation


@peer("l2_normalize", "forward", "backward")
def l2_normalize(b, row):
    return Work(lambda x: b.functional.normalize(x, dim=-1), [b.normal(*row.extents)], wanted=(0,))


@peer("layer_norm", "forward", "backward")
def layer_norm(b, row):
    columns = row.extents[-1]
    operands = [b.normal(*row.extents), b.normal(columns), b.normal(columns)]
    return Work(lambda x, gamma, beta: b.functional.layer_norm(x, (columns,), gamma, beta), operands, wanted=(0, 1, 2))


@peer("group_norm", "forward", "backward")
def group_norm(b, row):
    samples, positions, channels = row.extents
    groups = row.number("groups")
    operands = [b.normal(samples, positions, channels), b.normal(channels), b.normal(channels)]

    def function(x, gamma, beta):
        return b.functional.group_norm(x.permute(0, 2, 1), groups, gamma, beta).permute(0, 2, 1)

    return Work(function, operands, wanted=(0, 1, 2))


@peer("batch_norm", "forward", "backward", forms=("eager, statistics too", ))
def batch_norm(b, row):
    rows, channels = row.extents
    operands = [b.normal(rows, channels), b.full(channels, value=1.0, dtype=b.torch.float32), b.normal(channels, dtype=b.torch.float32)]
    return Work(lambda x, gamma, beta: b.functional.batch_norm(x, None, None, gamma, beta, training=True), operands, wanted=(0, 1, 2))


@peer("batch_norm", "statistics")
def batch_norm_statistics(b, row):
    return Work(lambda x: b.torch.var_mean(x, 0, correction=0), [b.normal(*row.extents)])


@peer("batch_norm", "forward", "backward sums", "backward", forms=("synchronised parts", ))
def batch_norm_parts(b, row):
    """The kernels of SyncBatchNorm, which are cut as ours are."""
    torch, (rows, channels) = b.torch, row.extents
    x, dy, mean = b.normal(rows, channels), b.normal(rows, channels), b.normal(channels, scale=0.1, dtype=torch.float32)
    ones, sums = b.full(channels, value=1.0, dtype=torch.float32), b.normal(channels, dtype=torch.float32)
    if row.direction == "forward":
        return Work(lambda x, mean, ones, sums: torch.batch_norm_elemt(x, ones, sums, mean, ones, 1e-5), [x, mean, ones, sums])
    if row.direction == "backward sums":
        return Work(lambda x, dy, mean, ones: torch.batch_norm_backward_reduce(dy, x, mean, ones, ones, True, True, True), [x, dy, mean, ones], plain=True)
    count = torch.full((1,), rows, dtype=torch.int32, device=b.device)
    return Work(lambda x, dy, mean, ones, sums: torch.batch_norm_backward_elemt(dy, x, mean, ones, ones, sums, sums, count), [x, dy, mean, ones, sums], plain=True)


@peer("softmax", "forward", "backward")
def softmax(b, row):
    return Work(lambda x: b.torch.softmax(x / 0.1, -1), [b.normal(*row.extents)], wanted=(0,))


@peer("cross_entropy", "forward", "backward")
def cross_entropy(b, row):
    rows, columns = row.extents
    soft = "soft" in row.words
    targets = b.full(rows, columns, value=1.0 / columns, dtype=b.torch.float32) if soft else b.integers(rows, high=columns)

    def function(logits, target):
        return b.functional.cross_entropy(logits.float() / 0.1, target, reduction="none")

    return Work(function, [b.normal(rows, columns), targets], wanted=(0,))


@peer("reduction", "sum", "mean", "maximum")
def reduction(b, row):
    words = " ".join(row.words)
    dim = None if "to one" in words else 1 if "over columns" in words else 0
    function = {"sum": b.torch.sum, "mean": b.torch.mean, "maximum": b.torch.amax}[row.direction]
    return Work((lambda x: function(x)) if dim is None else (lambda x: function(x, dim=dim)), [b.normal(*row.extents)])


@peer("reduction", "count nonfinite")
def count_nonfinite(b, row):
    return Work(lambda x: (~b.torch.isfinite(x)).sum(), [b.normal(*row.extents)])


# Networks


@peer("convolution", "forward", "backward_data", "backward_weights", forms=("cudnn", ))
def convolution(b, row):
    (batch, height, width, channels), (outputs, rows, columns, depth) = row.groups
    stride, padding, dilation, groups = (row.number(name, default) for name, default in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)))

    def function(x, weights):
        # Views of channels-last memory, which cuDNN takes as it is.
        x, weights = x.permute(0, 3, 1, 2), weights.permute(0, 3, 1, 2)
        return b.functional.conv2d(x, weights, None, stride, padding, dilation, groups).permute(0, 2, 3, 1)

    operands = [b.normal(batch, height, width, channels), b.normal(outputs, rows, columns, depth, scale=(rows * columns * depth) ** -0.5)]
    return Work(function, operands, wanted=(0,) if row.direction == "backward_data" else (1,))


@peer("pooling", "forward", "backward")
def pooling(b, row):
    window, stride, padding = row.number("window"), row.number("stride"), row.number("padding", 0)

    def function(x):
        x = x.permute(0, 3, 1, 2)
        if "max" in row.words:
            y = b.functional.max_pool2d(x, window, stride, padding)
        else:
            y = b.functional.avg_pool2d(x, window, stride, padding, count_include_pad="average_padded" in row.words)
        return y.permute(0, 2, 3, 1)

    return Work(function, [b.normal(*row.extents)], wanted=(0,))


def attention_form(name, backend):
    @peer("attention", "forward", "backward", forms=(name, ), when=lambda row: len(row.extents) == 4 and (row.dtype != "f32" or name in ("efficient", "math")))
    def attention(b, row):
        batch, heads, tokens, depth = row.extents

        def function(q, k, v):
            q, k, v = (one.transpose(1, 2) for one in (q, k, v))
            return b.functional.scaled_dot_product_attention(q, k, v, is_causal="causal" in row.words)

        def context():
            from torch.nn.attention import SDPBackend, sdpa_kernel

            return sdpa_kernel(getattr(SDPBackend, backend))

        # Tokens before heads, as a projection leaves them; three buffers, so that no gradient is copied into one.
        return Work(function, [b.normal(batch, tokens, heads, depth) for _ in range(3)], wanted=(0, 1, 2), context=context)


for form_name, form_backend in (("flash", "FLASH_ATTENTION"), ("cudnn", "CUDNN_ATTENTION"), ("efficient", "EFFICIENT_ATTENTION"), ("math", "MATH")):
    attention_form(form_name, form_backend)


@peer("gemm", forms=("cublas", ))
def gemm(b, row):
    """C (m, n) = A B; a "t" says that an operand is stored transposed."""
    m, n, k = row.extents
    transposed = next((word for word in row.words if word in ("nn", "nt", "tn", "tt")), "nn")
    first = b.normal(k, m) if transposed[0] == "t" else b.normal(m, k)
    second = b.normal(n, k) if transposed[1] == "t" else b.normal(k, n)

    def function(x, y):
        return (x.t() if transposed[0] == "t" else x) @ (y.t() if transposed[1] == "t" else y)

    return Work(function, [first, second])


@peer("activation")
def activation(b, row):
    functions = {"relu": b.functional.relu, "gelu": b.functional.gelu, "sigmoid": b.torch.sigmoid, "tanh": b.torch.tanh}
    name = next(word for word in row.direction.replace(",", " ").split() + row.words if word in functions)
    return Work(functions[name], [b.normal(*row.extents)], wanted=(0,))


@peer("elementwise", "copy", "copy, from f32", "add", "accumulate", forms=("eager", ))
def elementwise(b, row):
    rows, columns = row.extents
    if row.direction.startswith("copy"):
        source = b.torch.float32 if "f32" in row.direction else b.dtype
        if "transposed" in row.words:
            x = type(b.empty(1))(one.t() for one in b.normal(columns, rows, dtype=source))
        else:
            x = b.normal(rows, columns, dtype=source)
        return Work(lambda y, x: y.copy_(x), [b.empty(rows, columns), x])
    if row.direction == "add":
        z = b.normal(columns) if "bias" in row.words else b.normal(rows, columns)
        return Work(lambda y, x, z: b.torch.add(x, z, out=y), [b.empty(rows, columns), b.normal(rows, columns), z])
    return Work(lambda y, x: y.add_(x, alpha=0.5), [b.normal(rows, columns), b.normal(rows, columns)])


@peer("gather_rows", "forward", "backward")
def gather_rows(b, row):
    rows, columns = row.extents
    return Work(lambda x, index: b.torch.index_select(x, 0, index), [b.normal(rows, columns), b.integers(row.number("rows"), high=rows)], wanted=(0,))


@peer("stochastic_depth", "forward, in place", "backward")
def stochastic_depth(b, row):
    """With "subset N", as DINOv2 adds what was computed for N of the samples; with "mask", the residual of all, times a mask."""
    samples, positions, channels = row.extents
    count = row.number("subset", samples)
    x, residual, gamma = b.normal(samples, positions, channels), b.normal(count, positions, channels), b.normal(channels)
    if "subset" in row.words:
        chosen = b.copies(b.torch.randperm(samples, device=b.device)[:count])
        add, factor = (b.torch.index_add if row.backward else b.torch.Tensor.index_add_), samples / count

        def function(x, residual, gamma, chosen):
            return add(x.flatten(1), 0, chosen, (residual * gamma).flatten(1), alpha=factor).view(x.shape)

        return Work(function, [x, residual, gamma, chosen], wanted=(1, 2))
    mask = b.copies((b.torch.rand(samples, 1, 1, device=b.device) < 0.6).to(b.dtype) / 0.6)

    def masked(x, residual, gamma, mask):
        return x + residual * gamma * mask if row.backward else x.add_(residual * gamma * mask)

    return Work(masked, [x, residual, gamma, mask], wanted=(1, 2))


@peer("stochastic_depth", "subset", forms=("eager", ))
def stochastic_depth_subset(b, row):
    return Work(lambda: b.torch.randperm(row.extents[0], device=b.device)[: row.number("them")], [])


# Clustering


@peer("sinkhorn", "codes", forms=("swav", "swav, compile"))
def sinkhorn_swav(b, row):
    """The order of operations in SwAV's repository (distributed_sinkhorn on one machine)."""
    samples, prototypes = row.extents

    def function(scores):
        q = b.torch.exp(scores / 0.05).t()
        q = q / q.sum()
        for _ in range(3):
            q = q / q.sum(dim=1, keepdim=True) / prototypes
            q = q / q.sum(dim=0, keepdim=True) / samples
        return (q * samples).t()

    return Work(function, [cosines(b, samples, prototypes)])


def cosines(b, samples, prototypes):
    scores = b.normal(samples, prototypes, scale=0.1, dtype=b.torch.float32)
    return type(scores)(one.clamp_(-1, 1) for one in scores)


def scaling(b, kernel, iterations):
    """Vectors u, v with v P u as the codes, by products of matrix and vector."""
    samples, prototypes = kernel.shape
    v = kernel.new_full((samples,), 1.0)
    for _ in range(iterations):
        u = 1.0 / (prototypes * (v @ kernel))
        v = 1.0 / (samples * (kernel @ u))
    return u, v


@peer("sinkhorn", "codes", forms=("vectors", "vectors, compile"))
def sinkhorn_vectors(b, row):
    """Tuned by hand: the matrix is made once and only read by the iterations."""
    samples, prototypes = row.extents

    def function(scores):
        kernel = b.torch.exp((scores - 1) / 0.05)
        u, v = scaling(b, kernel, 3)
        return kernel * u * (v * samples)[:, None]

    return Work(function, [cosines(b, samples, prototypes)])


@peer("sinkhorn", "streaming", forms=("with the matrix", ))
def sinkhorn_streaming(b, row):
    """PyTorch has no way but the B x K matrix; it is made in place."""
    samples, prototypes, depth = row.extents
    length = depth**-0.5

    def function(z, c):
        kernel = (z @ c.t()).float()
        kernel.sub_(1).div_(0.05).exp_()
        return scaling(b, kernel, 3)

    return Work(function, [b.normal(samples, depth, scale=length), b.normal(prototypes, depth, scale=length)])


@peer("kmeans", "assign", "assign, spherical")
def kmeans_assign(b, row):
    n, k, depth = row.extents
    spherical = "spherical" in row.direction
    chunk = max(1, (1 << 30) // (4 * k))  # 1 GiB of scores at a time

    def function(rows, centroids):
        best = []
        squares = None if spherical else (centroids * centroids).sum(1)
        for part in rows.split(chunk):
            scores = part @ centroids.t()
            best.append(scores.max(dim=1) if spherical else (squares - 2 * scores).min(dim=1))
        return b.torch.cat([one.indices for one in best]), b.torch.cat([one.values for one in best])

    return Work(function, [b.normal(n, depth), b.normal(k, depth)])


@peer("kmeans", "sums", forms=("index_add", "index_add, compile"))
def kmeans_sums(b, row):
    n, k, depth = row.extents

    def function(rows, assignment):
        sums = rows.new_zeros(k, depth).index_add_(0, assignment, rows)
        return sums, b.torch.bincount(assignment, minlength=k)

    return Work(function, [b.normal(n, depth), b.integers(n, high=k)])


@peer("info_nce", "forward", "backward", when=lambda row: "self" in row.words)
def info_nce(b, row):
    n, _, depth = row.extents
    positives = (b.torch.arange(n, device=b.device) + n // 2) % n
    diagonal = b.torch.eye(n, dtype=b.torch.bool, device=b.device)

    def function(q):
        logits = (q @ q.t()).float() / 0.1
        return b.functional.cross_entropy(logits.masked_fill(diagonal, float("-inf")), positives, reduction="none")

    return Work(function, [b.normal(n, depth, scale=depth**-0.5)], wanted=(0,))


# Random numbers and optimizers


@peer("random", "uniform", "normal", "permutation", forms=("eager", ))
def random(b, row):
    if row.direction == "permutation":
        return Work(lambda: b.torch.randperm(row.extents[0], device=b.device, dtype=b.torch.int32), [])
    out = b.empty(*row.extents)
    return Work((lambda x: x.uniform_(-2, 3)) if row.direction == "uniform" else (lambda x: x.normal_(0.5, 2)), [out])


def parameters(b, row):
    """Tensors of one size with gradients, as our rows have them."""
    elements, tensors = row.extents
    bounds = [elements * t // tensors for t in range(tensors + 1)]
    values, gradients = b.normal(elements)[0], b.normal(elements, scale=0.01)[0]
    result = []
    for begin, end in zip(bounds, bounds[1:]):
        one = b.torch.nn.Parameter(values[begin:end].clone())
        one.grad = gradients[begin:end].clone()
        result.append(one)
    return result


@peer("optimizer", "adamw", "sgd", "nesterov", forms=("fused", "foreach"))
def optimizer_step(b, row):
    flavour = {b.form: True}
    if row.direction == "adamw":
        optimizer = b.torch.optim.AdamW(parameters(b, row), lr=1e-6, weight_decay=0.03, **flavour)
    else:
        optimizer = b.torch.optim.SGD(parameters(b, row), lr=1e-6, momentum=0.9, weight_decay=0.03, nesterov=row.direction == "nesterov", **flavour)
    return Work(optimizer.step, [])


@peer("optimizer", "lars", "larc", forms=("foreach", ))
def optimizer_layerwise(b, row):
    """PyTorch has neither; this is the shortest form over lists of tensors that keeps everything on the device."""
    torch, rate, momentum, decay, trust = b.torch, 1e-6, 0.9, 0.03, 0.02
    tensors = parameters(b, row)
    values, gradients = [one.data for one in tensors], [one.grad for one in tensors]
    velocity = [torch.zeros_like(one) for one in values]

    def function():
        direction = torch._foreach_add(gradients, values, alpha=decay)
        value_norms = torch.stack(torch._foreach_norm(values))
        if row.direction == "lars":
            factor = trust * value_norms / torch.stack(torch._foreach_norm(direction))
        else:
            factor = trust * value_norms / (torch.stack(torch._foreach_norm(gradients)) + decay * value_norms + 1e-8)
        torch._foreach_mul_(direction, list(torch.nan_to_num(factor, 1.0, 1.0, 1.0).unbind()))
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, direction)
        torch._foreach_add_(values, velocity, alpha=-rate)

    return Work(function, [])


@peer("optimizer", "ema")
def optimizer_ema(b, row):
    return Work(lambda average, values: average.lerp_(values, 1 - 0.996), [b.normal(*row.extents), b.normal(*row.extents)])


@peer("optimizer", "gradient_norm")
def optimizer_gradient_norm(b, row):
    def function(gradients):
        norm = b.torch.linalg.vector_norm(gradients)
        return norm, b.torch.clamp(1.0 / norm, max=1.0)

    return Work(function, [b.normal(*row.extents)])


@peer("augmentation", "crop", "everything", forms=("eager, an image at a time", ))
def augmentation(b, row):
    """What torchvision's transforms do on the device: each image is cropped and resized by itself, the rest is done on the batch."""
    torch, functional = b.torch, b.functional
    (views, height, width, channels), (image_height, image_width) = row.groups
    images = type(b.empty(1))(
        torch.randint(256, (views, image_height, image_width, channels), dtype=torch.uint8, device=b.device, generator=b.generator)
        for _ in range(b.rotations)
    )
    draw = torch.Generator().manual_seed(1)
    boxes = []
    for _ in range(views):
        while True:
            area = image_height * image_width * (0.14 + 0.86 * torch.rand((), generator=draw).item())
            aspect = (4 / 3) ** (2 * torch.rand((), generator=draw).item() - 1)
            h, w = round((area / aspect) ** 0.5), round((area * aspect) ** 0.5)
            if h <= image_height and w <= image_width:
                break
        top = torch.randint(image_height - h + 1, (), generator=draw).item()
        boxes.append((top, torch.randint(image_width - w + 1, (), generator=draw).item(), h, w))
    taps = width // 10 // 2 * 2 + 1
    flip, blurred = torch.rand(views, device=b.device) < 0.5, torch.rand(views, device=b.device) < 0.5
    brightness, contrast = (0.6 + 0.8 * torch.rand(views, 1, 1, 1, device=b.device) for _ in range(2))
    gauss = torch.exp(-0.5 * (torch.arange(taps, device=b.device) - taps // 2) ** 2)
    gauss = gauss / gauss.sum()
    luma = torch.tensor([0.299, 0.587, 0.114], device=b.device).view(1, 3, 1, 1)

    def function(source):
        pixels = torch.empty(views, channels, height, width, device=b.device)
        for i, (top, left, h, w) in enumerate(boxes):
            crop = source[i, top : top + h, left : left + w].permute(2, 0, 1).unsqueeze(0).float()
            pixels[i] = functional.interpolate(crop, (height, width), mode="bilinear", antialias=True)[0]
        pixels = torch.where(flip.view(-1, 1, 1, 1), pixels.flip(3), pixels) / 255
        if row.direction == "everything":
            pixels = (pixels * brightness).clamp(0, 1)
            mean = (pixels * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
            pixels = (mean + contrast * (pixels - mean)).clamp(0, 1)
            some = functional.pad(pixels[blurred], (taps // 2,) * 4, mode="reflect")
            some = functional.conv2d(some, gauss.view(1, 1, 1, -1).expand(channels, 1, 1, -1).contiguous(), groups=channels)
            pixels[blurred] = functional.conv2d(some, gauss.view(1, 1, -1, 1).expand(channels, 1, -1, 1).contiguous(), groups=channels)
        return ((pixels - 0.45) / 0.25).permute(0, 2, 3, 1).to(b.dtype, memory_format=torch.contiguous_format)

    return Work(function, [images])
