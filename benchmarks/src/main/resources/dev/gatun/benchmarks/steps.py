# SPDX-License-Identifier: Apache-2.0
# Blocks and whole steps as people write them. p: parameters in the order of ours (backbone, then the method's), s: batch norms' running statistics.
# one_by_one: linear layers of blocks as 1x1 convolutions of channels-last images, which go to oneDNN instead of MKL.
class Peer(Module):
  def linear(self, x: Tensor, w: Tensor, b: Tensor, one_by_one: int) -> Tensor:
    if bool(one_by_one):
      image = torch.unsqueeze(torch.permute(x, [0, 2, 1]), 2)
      y = torch.conv2d(image, torch.unsqueeze(torch.unsqueeze(w, 2), 3), b)
      z = torch.permute(torch.squeeze(y, 2), [0, 2, 1])
    else:
      z = torch.linear(x, w, b)
    return z

  def norm(self, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return torch.layer_norm(x, [x.size(-1)], w, b, 1e-06)

  def attention(self, x: Tensor, p: List[Tensor], i: int, heads: int, one_by_one: int) -> Tensor:
    b, n, c = torch.size(x)
    qkv = self.linear(self.norm(x, p[i], p[i + 1]), p[i + 2], p[i + 3], one_by_one)
    q, k, v = torch.unbind(torch.permute(torch.reshape(qkv, [b, n, 3, heads, torch.floordiv(c, heads)]), [2, 0, 3, 1, 4]), 0)
    y = torch.scaled_dot_product_attention(q, k, v)
    return self.linear(torch.reshape(torch.transpose(y, 1, 2), [b, n, c]), p[i + 4], p[i + 5], one_by_one)

  def mlp(self, x: Tensor, p: List[Tensor], i: int, one_by_one: int) -> Tensor:
    hidden = torch.gelu(self.linear(self.norm(x, p[i + 6], p[i + 7]), p[i + 8], p[i + 9], one_by_one))
    return self.linear(hidden, p[i + 10], p[i + 11], one_by_one)

  # draws: none, factors (B, 1, 1) of both branches, or the rows that they compute
  def vit_block(self, x: Tensor, p: List[Tensor], i: int, heads: int, draws: List[Tensor], d: int, one_by_one: int) -> Tensor:
    if torch.eq(torch.len(draws), 0):
      x = x + self.attention(x, p, i, heads, one_by_one)
      x = x + self.mlp(x, p, i, one_by_one)
    else:
      if torch.eq(draws[d].dim(), 3):
        x = x + self.attention(x, p, i, heads, one_by_one) * draws[d]
        x = x + self.mlp(x, p, i, one_by_one) * draws[d + 1]
      else:
        scale = float(x.size(0)) / float(draws[d].size(0))
        some = self.attention(torch.index_select(x, 0, draws[d]), p, i, heads, one_by_one)
        x = torch.index_add(x, 0, draws[d], some, alpha=scale)
        some = self.mlp(torch.index_select(x, 0, draws[d + 1]), p, i, one_by_one)
        x = torch.index_add(x, 0, draws[d + 1], some, alpha=scale)
    return x

  # x: tokens and the result's gradient, then the block's parameters
  def vit_block_backward(self, x: List[Tensor], heads: int, one_by_one: int) -> List[Tensor]:
    leaves = self.leaves(x)
    none = annotate(List[Tensor], [])
    y = self.vit_block(leaves[0], torch.slice(leaves, 2), 0, heads, none, 0, one_by_one)
    return self.gradients(y, [leaves[0]] + torch.slice(leaves, 2), x[1])

  # images: channels-last views of one size; p[0], p[1]: class token and positions
  def vit(self, images: List[Tensor], p: List[Tensor], depth: int, heads: int, draws: List[Tensor], one_by_one: int) -> Tensor:
    patch = p[2].size(-1)
    patches = torch.conv2d(torch.cat(images), p[2], p[3], [patch, patch])
    b, c, h, w = torch.size(patches)
    positions = p[1]
    if torch.ne(positions.size(1), h * w + 1):
      side = int(torch.sqrt(positions.size(1) - 1))
      grid = torch.permute(torch.reshape(torch.slice(positions, 1, 1), [1, side, side, c]), [0, 3, 1, 2])
      grid = torch._upsample_bicubic2d_aa(grid, [h, w], False, None)
      positions = torch.cat([torch.slice(positions, 1, 0, 1), torch.transpose(torch.flatten(grid, 2), 1, 2)], 1)
    x = torch.cat([torch.expand(p[0], [b, 1, c]), torch.transpose(torch.flatten(patches, 2), 1, 2)], 1) + positions
    for k in range(depth):
      x = self.vit_block(x, p, 4 + 12 * k, heads, draws, 2 * k, one_by_one)
    last = 4 + 12 * depth
    return self.norm(torch.select(x, 1, 0), p[last], p[last + 1])

  def batch_norm(self, x: Tensor, p: List[Tensor], i: int, s: List[Tensor], j: int) -> Tensor:
    return torch.batch_norm(x, p[i], p[i + 1], s[j], s[j + 1], True, 0.1, 1e-05, False)

  # 3x3; error: what a stride of 1 is to err by, over the root mean square, to see what that does to gradients; 0 wherever a time is taken
  def conv(self, x: Tensor, w: Tensor, stride: int, error: float) -> Tensor:
    y = torch.conv2d(x, w, None, [stride, stride], [1, 1])
    if torch.__and__(torch.gt(error, 0.), torch.eq(stride, 1)):
      values = y.detach()
      y = y + torch.randn_like(values) * torch.sqrt(torch.mean(values * values)) * error
    return y

  def basic_block(self, x: Tensor, p: List[Tensor], i: int, s: List[Tensor], j: int, stride: int, error: float) -> Tensor:
    y = torch.relu_(self.batch_norm(self.conv(x, p[i], stride, error), p, i + 1, s, j))
    y = self.batch_norm(self.conv(y, p[i + 3], 1, error), p, i + 4, s, j + 2)
    if torch.gt(stride, 1):
      x = self.batch_norm(torch.conv2d(x, p[i + 6], None, [stride, stride]), p, i + 7, s, j + 4)
    return torch.relu_(torch.add_(y, x))

  # x: images and the result's gradient, the block's parameters; s: running statistics
  def basic_block_backward(self, x: List[Tensor], s: List[Tensor], error: float) -> List[Tensor]:
    leaves = self.leaves(x)
    y = self.basic_block(leaves[0], torch.slice(leaves, 2), 0, s, 0, 1, error)
    return self.gradients(y, [leaves[0]] + torch.slice(leaves, 2), x[1])

  # basic blocks, two a stage; images: one view
  def resnet(self, images: List[Tensor], p: List[Tensor], s: List[Tensor], error: float) -> Tensor:
    x = torch.relu_(self.batch_norm(torch.conv2d(images[0], p[0], None, [2, 2], [3, 3]), p, 1, s, 0))
    x = torch.max_pool2d(x, [3, 3], [2, 2], [1, 1])
    i = 3
    j = 2
    for k in range(8):
      stride = 1
      if torch.__and__(torch.gt(k, 0), torch.eq(torch.remainder(k, 2), 0)):
        stride = 2
      x = self.basic_block(x, p, i, s, j, stride, error)
      if torch.gt(stride, 1):
        i = i + 9
        j = j + 6
      else:
        i = i + 6
        j = j + 4
    return torch.mean(x, [2, 3])

  def supervised(self, images: List[Tensor], labels: Tensor, p: List[Tensor], s: List[Tensor], error: float) -> Tensor:
    last = torch.len(p) - 1
    return torch.cross_entropy_loss(torch.linear(self.resnet(images, p, s, error), p[last - 1], p[last]), labels)

  def bce(self, logits: Tensor, wanted: Tensor) -> Tensor:
    return torch.binary_cross_entropy_with_logits(logits, wanted)

  def cosub(self, images: List[Tensor], labels: Tensor, p: List[Tensor], depth: int, heads: int, draws: List[Tensor], one_by_one: int) -> Tensor:
    features = self.vit(images + images, p, depth, heads, draws, one_by_one)
    last = torch.len(p) - 1
    a, c = torch.chunk(torch.linear(features, p[last - 1], p[last]), 2)
    wanted = torch.to(torch.one_hot(labels, a.size(1)), a)
    supervised = self.bce(a, wanted) + self.bce(c, wanted)
    mutual = self.bce(a, torch.sigmoid(c.detach())) + self.bce(c, torch.sigmoid(a.detach()))
    return supervised * 0.25 + mutual * 0.25

  def unit(self, x: Tensor) -> Tensor:
    return torch.div(x, torch.clamp_min(torch.norm(x, 2, [1], True), 1e-12))

  def codes(self, scores: Tensor) -> Tensor:
    q = torch.exp(torch.div(scores, 0.05))
    q = torch.div(q, torch.sum(q))
    for i in range(3):
      q = torch.div(q, torch.sum(q, [0], True) * q.size(1))
      q = torch.div(q, torch.sum(q, [1], True) * q.size(0))
    return q * q.size(0)

  # two global views, then local ones of one other size
  def swav(self, images: List[Tensor], p: List[Tensor], s: List[Tensor], depth: int, heads: int, one_by_one: int) -> Tensor:
    none = annotate(List[Tensor], [])
    large = self.vit(torch.slice(images, 0, 2), p, depth, heads, none, one_by_one)
    small = self.vit(torch.slice(images, 2), p, depth, heads, none, one_by_one)
    i = 6 + 12 * depth
    hidden = torch.relu_(self.batch_norm(torch.linear(torch.cat([large, small]), p[i], p[i + 1]), p, i + 2, s, 0))
    scores = torch.linear(self.unit(torch.linear(hidden, p[i + 4], p[i + 5])), p[i + 6])
    views = torch.len(images)
    rows = torch.chunk(scores, views)
    logs = torch.chunk(torch.log_softmax(torch.div(scores, 0.1), 1), views)
    loss = torch.zeros([])
    for a in range(2):
      codes = self.codes(rows[a].detach())
      for v in range(views):
        if torch.ne(v, a):
          loss = loss - torch.mean(torch.sum(codes * logs[v], [1]))
    return torch.div(loss, 2 * (views - 1))

  # Lists that outlive a call are made here, one tensor after the other.
  def empty(self) -> List[Tensor]:
    return annotate(List[Tensor], [])

  def with_one_more(self, all: List[Tensor], one: Tensor) -> List[Tensor]:
    return torch.append(all, one)

  # What a training keeps. Leaves that record; images and convolutions' weights channels-last or not.
  def layout(self, x: Tensor, nchw: int) -> Tensor:
    y = x
    if torch.eq(x.dim(), 4):
      y = torch.permute(x, [0, 3, 1, 2])
      if bool(nchw):
        y = y.contiguous()
    return y

  def images(self, views: List[Tensor], nchw: int) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(views)):
      done = torch.append(result, self.layout(views[i], nchw).detach())
    return result

  def parameters(self, values: List[Tensor], nchw: int) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(values)):
      done = torch.append(result, torch.clone(self.layout(values[i], nchw)).detach().requires_grad_(True))
    return result

  # a step in double precision tells how far one of f32 may be from it
  def doubles(self, all: List[Tensor]) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(all)):
      one = all[i]
      if torch.is_floating_point(one):
        one = torch.to(one, 7)
      done = torch.append(result, one)
    return result

  def detached(self, p: List[Tensor]) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(p)):
      done = torch.append(result, p[i].detach())
    return result

  def zeros(self, p: List[Tensor]) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(p)):
      done = torch.append(result, torch.zeros_like(p[i].detach()))
    return result

  def counters(self, p: List[Tensor]) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(p)):
      done = torch.append(result, torch.zeros([]))
    return result

  # running means and variances, a pair a width
  def statistics(self, widths: Tensor) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(widths.size(0)):
      done = torch.append(result, torch.zeros([int(widths[i])]))
      done = torch.append(result, torch.ones([int(widths[i])]))
    return result

  def long(self, x: Tensor) -> Tensor:
    return torch.to(x, 4)

  # which parameters decay, and which do not
  def groups(self, decays: Tensor) -> List[List[int]]:
    yes = annotate(List[int], [])
    no = annotate(List[int], [])
    for i in range(decays.size(0)):
      if torch.eq(int(decays[i]), 1):
        done = torch.append(yes, i)
      else:
        done = torch.append(no, i)
    return [yes, no]

  # factors as (B, 1, 1), indices as they are taken
  def given(self, draws: List[Tensor]) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(draws)):
      if torch.is_floating_point(draws[i]):
        done = torch.append(result, torch.reshape(draws[i], [-1, 1, 1]))
      else:
        done = torch.append(result, torch.to(draws[i], 4))
    return result

  # the factors of a mask that drops what the indices leave out
  def factors(self, draws: List[Tensor], rows: int) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(draws)):
      scale = float(rows) / float(draws[i].size(0))
      done = torch.append(result, torch.reshape(torch.index_fill(torch.zeros([rows]), 0, draws[i], scale), [-1, 1, 1]))
    return result

  def draw(self, count: int, rows: int, rate: float, subset: int) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(count):
      if bool(subset):
        done = torch.append(result, torch.slice(torch.randperm(rows), 0, 0, int(float(rows) * (1. - rate))))
      else:
        done = torch.append(result, torch.div(torch.bernoulli(torch.full([rows, 1, 1], 1. - rate)), 1. - rate))
    return result

  def pick(self, all: List[Tensor], which: List[int]) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(which)):
      done = torch.append(result, all[which[i]])
    return result

  def found(self, loss: Tensor, p: List[Tensor]) -> List[Tensor]:
    gradients = torch.grad([loss], p)
    result = annotate(List[Tensor], [])
    for i in range(torch.len(gradients)):
      done = torch.append(result, torch._unwrap_optional(gradients[i]))
    return result

  # PyTorch's fused optimizers; v: values without record, m, q: moments, t: steps
  def adamw(self, v: List[Tensor], g: List[Tensor], m: List[Tensor], q: List[Tensor], t: List[Tensor], groups: List[List[int]], lr: float, decay: float):
    none = annotate(List[Tensor], [])
    for i in range(torch.len(t)):
      step = torch.add_(t[i], 1)
    for k in range(2):
      i = groups[k]
      rate = decay * float(1 - k)
      torch._fused_adamw_(self.pick(v, i), self.pick(g, i), self.pick(m, i), self.pick(q, i), none, self.pick(t, i), lr=lr, beta1=0.9, beta2=0.999, weight_decay=rate, eps=1e-08, amsgrad=False, maximize=False)

  def sgd(self, v: List[Tensor], g: List[Tensor], m: List[Tensor], groups: List[List[int]], lr: float, decay: float):
    for k in range(2):
      i = groups[k]
      rate = decay * float(1 - k)
      torch._fused_sgd_(self.pick(v, i), self.pick(g, i), self.pick(m, i), weight_decay=rate, momentum=0.9, lr=lr, dampening=0., nesterov=False, maximize=False, is_first_step=False)

  # Gradients to update with: those found, where none are given.
  def one_of(self, given: List[Tensor], found: List[Tensor]) -> List[Tensor]:
    result = given
    if torch.eq(torch.len(given), 0):
      result = found
    return result

  def swav_step(self, images: List[Tensor], p: List[Tensor], s: List[Tensor], v: List[Tensor], m: List[Tensor], q: List[Tensor], t: List[Tensor], given: List[Tensor], groups: List[List[int]], lr: float, decay: float, depth: int, heads: int, one_by_one: int) -> List[Tensor]:
    torch.set_grad_enabled(True)
    prototypes = v[-1]
    copied = torch.copy_(prototypes, self.unit(prototypes))
    loss = self.swav(images, p, s, depth, heads, one_by_one)
    g = self.found(loss, p)
    self.adamw(v, self.one_of(given, g), m, q, t, groups, lr, decay)
    return [loss.detach()] + g

  def cosub_step(self, images: List[Tensor], labels: Tensor, p: List[Tensor], draws: List[Tensor], v: List[Tensor], m: List[Tensor], q: List[Tensor], t: List[Tensor], given: List[Tensor], groups: List[List[int]], lr: float, decay: float, depth: int, heads: int, one_by_one: int) -> List[Tensor]:
    torch.set_grad_enabled(True)
    loss = self.cosub(images, labels, p, depth, heads, draws, one_by_one)
    g = self.found(loss, p)
    self.adamw(v, self.one_of(given, g), m, q, t, groups, lr, decay)
    return [loss.detach()] + g

  def supervised_step(self, images: List[Tensor], labels: Tensor, p: List[Tensor], s: List[Tensor], v: List[Tensor], m: List[Tensor], given: List[Tensor], groups: List[List[int]], lr: float, decay: float, error: float) -> List[Tensor]:
    torch.set_grad_enabled(True)
    loss = self.supervised(images, labels, p, s, error)
    g = self.found(loss, p)
    self.sgd(v, self.one_of(given, g), m, groups, lr, decay)
    return [loss.detach()] + g

  # The layout of ours: images and convolutions' weights with channels last, f32.
  def restored(self, results: List[Tensor]) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(results)):
      one = torch.to(results[i], 6)
      if torch.eq(one.dim(), 4):
        one = torch.permute(one, [0, 2, 3, 1])
      done = torch.append(result, one)
    return result
