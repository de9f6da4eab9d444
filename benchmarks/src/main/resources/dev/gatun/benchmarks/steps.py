# SPDX-License-Identifier: Apache-2.0
# Blocks as people write them. p: parameters in the order of ours, s: batch norms' running statistics.
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

  def vit_block(self, x: Tensor, p: List[Tensor], i: int, heads: int, one_by_one: int) -> Tensor:
    x = x + self.attention(x, p, i, heads, one_by_one)
    x = x + self.mlp(x, p, i, one_by_one)
    return x

  # x: tokens and the result's gradient, then the block's parameters
  def vit_block_backward(self, x: List[Tensor], heads: int, one_by_one: int) -> List[Tensor]:
    leaves = self.leaves(x)
    y = self.vit_block(leaves[0], torch.slice(leaves, 2), 0, heads, one_by_one)
    return self.gradients(y, [leaves[0]] + torch.slice(leaves, 2), x[1])

  def batch_norm(self, x: Tensor, p: List[Tensor], i: int, s: List[Tensor], j: int) -> Tensor:
    return torch.batch_norm(x, p[i], p[i + 1], s[j], s[j + 1], True, 0.1, 1e-05, False)

  def basic_block(self, x: Tensor, p: List[Tensor], i: int, s: List[Tensor], j: int, stride: int) -> Tensor:
    y = torch.relu_(self.batch_norm(torch.conv2d(x, p[i], None, [stride, stride], [1, 1]), p, i + 1, s, j))
    y = self.batch_norm(torch.conv2d(y, p[i + 3], None, [1, 1], [1, 1]), p, i + 4, s, j + 2)
    if torch.gt(stride, 1):
      x = self.batch_norm(torch.conv2d(x, p[i + 6], None, [stride, stride]), p, i + 7, s, j + 4)
    return torch.relu_(torch.add_(y, x))

  # x: images and the result's gradient, the block's parameters; s: running statistics
  def basic_block_backward(self, x: List[Tensor], s: List[Tensor]) -> List[Tensor]:
    leaves = self.leaves(x)
    y = self.basic_block(leaves[0], torch.slice(leaves, 2), 0, s, 0, 1)
    return self.gradients(y, [leaves[0]] + torch.slice(leaves, 2), x[1])

  # Lists that outlive a call are made here, one tensor after the other.
  def empty(self) -> List[Tensor]:
    return annotate(List[Tensor], [])

  def with_one_more(self, all: List[Tensor], one: Tensor) -> List[Tensor]:
    return torch.append(all, one)

  # Images and convolutions' weights channels-last or not.
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

  # running means and variances of two batch norms
  def statistics(self, width: int) -> List[Tensor]:
    return [torch.zeros([width]), torch.ones([width]), torch.zeros([width]), torch.ones([width])]

  # The layout of ours: images and convolutions' weights with channels last.
  def restored(self, results: List[Tensor]) -> List[Tensor]:
    result = annotate(List[Tensor], [])
    for i in range(torch.len(results)):
      one = results[i]
      if torch.eq(one.dim(), 4):
        one = torch.permute(one, [0, 2, 3, 1])
      done = torch.append(result, one)
    return result

