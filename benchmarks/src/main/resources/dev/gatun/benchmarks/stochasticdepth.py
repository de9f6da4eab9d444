# SPDX-License-Identifier: Apache-2.0
# x: input, residual, mask, gamma and the output's gradient
class Peer(Module):
  # as timm has it: LayerScale, then drop path, then the sum
  def plain(self, x: Tensor, residual: Tensor, mask: Tensor, gamma: Tensor) -> Tensor:
    return x + residual * gamma * mask.view([-1, 1, 1])

  # both factors joined first, then one pass
  def joined(self, x: Tensor, residual: Tensor, mask: Tensor, gamma: Tensor) -> Tensor:
    return torch.addcmul(x, residual, mask.view([-1, 1, 1]) * gamma)

  def scaled(self, x: List[Tensor]) -> List[Tensor]:
    return [self.plain(x[0], x[1], x[2], x[3])]

  def addcmul(self, x: List[Tensor]) -> List[Tensor]:
    return [self.joined(x[0], x[1], x[2], x[3])]

  def scaled_backward(self, x: List[Tensor]) -> List[Tensor]:
    leaves = self.leaves([x[1], x[3]])
    return self.gradients(self.plain(x[0], leaves[0], x[2], leaves[1]), leaves, x[4])

  def addcmul_backward(self, x: List[Tensor]) -> List[Tensor]:
    leaves = self.leaves([x[1], x[3]])
    return self.gradients(self.joined(x[0], leaves[0], x[2], leaves[1]), leaves, x[4])
