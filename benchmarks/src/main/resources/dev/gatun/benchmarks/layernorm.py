# SPDX-License-Identifier: Apache-2.0
# x: input, output's gradient, gamma, beta
class Peer(Module):
  def norm(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.layer_norm(x[0], [x[0].size(1)], x[2], x[3], 1e-06)]

  def norm_backward(self, x: List[Tensor]) -> List[Tensor]:
    leaves = self.leaves([x[0], x[2], x[3]])
    return self.gradients(torch.layer_norm(leaves[0], [x[0].size(1)], leaves[1], leaves[2], 1e-06), leaves, x[1])
