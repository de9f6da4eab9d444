# SPDX-License-Identifier: Apache-2.0
# x: input, output's gradient, gamma, beta, mean, variance
class Peer(Module):
  def channels_last(self, x: List[Tensor], batch: int, height: int, width: int) -> List[Tensor]:
    size = [batch, height, width, x[0].size(1)]
    return [torch.permute(x[0].view(size), [0, 3, 1, 2]), torch.permute(x[1].view(size), [0, 3, 1, 2]), x[2], x[3], x[4], x[5]]

  def nchw(self, x: List[Tensor], batch: int, height: int, width: int) -> List[Tensor]:
    y = self.channels_last(x, batch, height, width)
    return [y[0].contiguous(), y[1].contiguous(), y[2], y[3], y[4], y[5]]

  # Images as rows of channels, as ours has them.
  def rows(self, results: List[Tensor]) -> List[Tensor]:
    restored = annotate(List[Tensor], [])
    for i in range(torch.len(results)):
      one = results[i]
      if torch.eq(one.dim(), 4):
        one = torch.permute(one, [0, 2, 3, 1])
      done = torch.append(restored, one)
    return restored

  def train(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.relu_(torch.batch_norm(x[0], x[2], x[3], None, None, True, 0.1, 1e-05, False))]

  def inference(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.relu_(torch.batch_norm(x[0], x[2], x[3], x[4], x[5], False, 0.1, 1e-05, False))]

  def train_backward(self, x: List[Tensor]) -> List[Tensor]:
    leaves = self.leaves([x[0], x[2], x[3]])
    y = torch.relu_(torch.batch_norm(leaves[0], leaves[1], leaves[2], None, None, True, 0.1, 1e-05, False))
    return self.gradients(y, leaves, x[1])
