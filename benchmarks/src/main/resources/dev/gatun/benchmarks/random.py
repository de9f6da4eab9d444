# SPDX-License-Identifier: Apache-2.0
class Peer(Module):
  def uniform(self, x: Tensor) -> List[Tensor]:
    drawn = [torch.rand_like(x)]
    return drawn

  def normal(self, x: Tensor) -> List[Tensor]:
    drawn = [torch.randn_like(x)]
    return drawn

  def permutation(self, x: Tensor) -> List[Tensor]:
    drawn = [torch.randperm(x.size(0))]
    return drawn
