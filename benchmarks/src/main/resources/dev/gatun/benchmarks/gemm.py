# SPDX-License-Identifier: Apache-2.0
# x: a, b and the product's gradient
class Peer(Module):
  def product(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.matmul(x[0], x[1])]

  def product_backward(self, x: List[Tensor]) -> List[Tensor]:
    leaves = self.leaves([x[0], x[1]])
    return self.gradients(torch.matmul(leaves[0], leaves[1]), leaves, x[2])
