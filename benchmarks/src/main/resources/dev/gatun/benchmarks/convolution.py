# SPDX-License-Identifier: Apache-2.0
# x: images, weights, bias and the output's gradient
class Peer(Module):
  def channels_last(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.permute(x[0], [0, 3, 1, 2]), torch.permute(x[1], [0, 3, 1, 2]), x[2], torch.permute(x[3], [0, 3, 1, 2])]

  def nchw(self, x: List[Tensor]) -> List[Tensor]:
    y = self.channels_last(x)
    return [y[0].contiguous(), y[1].contiguous(), y[2], y[3].contiguous()]

  def nhwc(self, results: List[Tensor]) -> List[Tensor]:
    restored = annotate(List[Tensor], [])
    for i in range(torch.len(results)):
      one = results[i]
      if torch.eq(one.dim(), 4):
        one = torch.permute(one, [0, 2, 3, 1])
      done = torch.append(restored, one)
    return restored

  def layer(self, x: Tensor, weights: Tensor, bias: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    return torch.conv2d(x, weights, bias, [stride, stride], [padding, padding], [1, 1], groups)

  def convolution(self, x: List[Tensor], stride: int, padding: int, groups: int) -> List[Tensor]:
    return [self.layer(x[0], x[1], x[2], stride, padding, groups)]

  def convolution_backward(self, x: List[Tensor], stride: int, padding: int, groups: int) -> List[Tensor]:
    leaves = self.leaves([x[1], x[2], x[0]])
    return self.gradients(self.layer(leaves[2], leaves[0], leaves[1], stride, padding, groups), leaves, x[3])

  def weights_backward(self, x: List[Tensor], stride: int, padding: int, groups: int) -> List[Tensor]:
    leaves = self.leaves([x[1], x[2]])
    return self.gradients(self.layer(x[0], leaves[0], leaves[1], stride, padding, groups), leaves, x[3])
