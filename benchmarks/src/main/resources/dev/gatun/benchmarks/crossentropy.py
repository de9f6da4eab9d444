# SPDX-License-Identifier: Apache-2.0
# x: logits, targets and the losses' gradient
class Peer(Module):
  def built_in(self, logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return torch.cross_entropy_loss(logits / temperature, targets, None, 0)

  # SwAV's own line, a loss a row
  def written(self, logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return -torch.sum(targets * torch.log_softmax(logits / temperature, 1), [1])

  def cross_entropy(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    return [self.built_in(x[0], x[1], temperature)]

  def log_softmax(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    return [self.written(x[0], x[1], temperature)]

  def cross_entropy_backward(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    leaves = self.leaves([x[0]])
    return self.gradients(self.built_in(leaves[0], x[1], temperature), leaves, x[2])

  def log_softmax_backward(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    leaves = self.leaves([x[0]])
    return self.gradients(self.written(leaves[0], x[1], temperature), leaves, x[2])
