# SPDX-License-Identifier: Apache-2.0
# x: rows and their indices
class Peer(Module):
  def index_select(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.index_select(x[0], 0, x[1])]

  def index_add(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.index_add_(torch.zeros_like(x[0]), 0, x[1], x[0])]
