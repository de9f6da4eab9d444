# SPDX-License-Identifier: Apache-2.0
# x: features, prototypes, targets and the losses' gradient
class Peer(Module):
  def built_in(self, z: Tensor, prototypes: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return torch.cross_entropy_loss(torch.matmul(z, torch.t(prototypes)) / temperature, targets, None, 0)

  # SwAV's own lines, a loss a row
  def written(self, z: Tensor, prototypes: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return -torch.sum(targets * torch.log_softmax(torch.matmul(z, torch.t(prototypes)) / temperature, 1), [1])

  # the temperature where it is cheap
  def scaled(self, z: Tensor, prototypes: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return torch.cross_entropy_loss(torch.matmul(z / temperature, torch.t(prototypes)), targets, None, 0)

  def cross_entropy(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    leaves = self.leaves([x[0], x[1]])
    return self.gradients(self.built_in(leaves[0], leaves[1], x[2], temperature), leaves, x[3])

  def log_softmax(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    leaves = self.leaves([x[0], x[1]])
    return self.gradients(self.written(leaves[0], leaves[1], x[2], temperature), leaves, x[3])

  def scaled_features(self, x: List[Tensor], temperature: float) -> List[Tensor]:
    leaves = self.leaves([x[0], x[1]])
    return self.gradients(self.scaled(leaves[0], leaves[1], x[2], temperature), leaves, x[3])
