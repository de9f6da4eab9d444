# SPDX-License-Identifier: Apache-2.0
# x: rows of length 1, index of each row's twin, the losses' gradient
class Peer(Module):
  # SimCLR as it is usually written: no row is compared with itself
  def losses(self, z: Tensor, twins: Tensor, temperature: float) -> Tensor:
    scores = torch.div_(torch.matmul(z, torch.t(z)), temperature)
    masked = torch.fill_(torch.diagonal(scores), -inf)
    return torch.cross_entropy_loss(scores, twins, None, 0)

  def loss(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    return [self.losses(x[0], x[1], temperature)]

  def loss_backward(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    leaves = self.leaves([x[0]])
    return self.gradients(self.losses(leaves[0], x[1], temperature), leaves, x[2])
