# SPDX-License-Identifier: Apache-2.0
# x: input, output's gradient, gamma, beta
class Peer(Module):
  def channels_last(self, x: List[Tensor], width: int) -> List[Tensor]:
    size = [x[0].size(0), width, width, x[0].size(2)]
    return [torch.permute(x[0].view(size), [0, 3, 1, 2]), torch.permute(x[1].view(size), [0, 3, 1, 2]), x[2], x[3]]

  def nchw(self, x: List[Tensor], width: int) -> List[Tensor]:
    y = self.channels_last(x, width)
    return [y[0].contiguous(), y[1].contiguous(), y[2], y[3]]

  # Images as rows of channels, as ours has them.
  def rows(self, results: List[Tensor]) -> List[Tensor]:
    restored = annotate(List[Tensor], [])
    for i in range(torch.len(results)):
      one = results[i]
      if torch.eq(one.dim(), 4):
        one = torch.permute(one, [0, 2, 3, 1])
      done = torch.append(restored, one)
    return restored

  def norm(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.group_norm(x[0], 32, x[2], x[3], 1e-05)]

  def norm_backward(self, x: List[Tensor]) -> List[Tensor]:
    leaves = self.leaves([x[0], x[2], x[3]])
    return self.gradients(torch.group_norm(leaves[0], 32, leaves[1], leaves[2], 1e-05), leaves, x[1])
