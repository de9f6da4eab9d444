# SPDX-License-Identifier: Apache-2.0
# x: images and the output's gradient
class Peer(Module):
  def channels_last(self, x: List[Tensor]) -> List[Tensor]:
    return [torch.permute(x[0], [0, 3, 1, 2]), torch.permute(x[1], [0, 3, 1, 2])]

  def nchw(self, x: List[Tensor]) -> List[Tensor]:
    y = self.channels_last(x)
    return [y[0].contiguous(), y[1].contiguous()]

  def nhwc(self, results: List[Tensor]) -> List[Tensor]:
    restored = annotate(List[Tensor], [])
    for i in range(torch.len(results)):
      done = torch.append(restored, torch.permute(results[i], [0, 2, 3, 1]))
    return restored

  def largest(self, x: Tensor, window: int, stride: int, padding: int) -> Tensor:
    return torch.max_pool2d(x, [window, window], [stride, stride], [padding, padding])

  def mean(self, x: Tensor, window: int, stride: int, padding: int) -> Tensor:
    return torch.avg_pool2d(x, [window, window], [stride, stride], [padding, padding])

  def max(self, x: List[Tensor], window: int, stride: int, padding: int) -> List[Tensor]:
    return [self.largest(x[0], window, stride, padding)]

  def average(self, x: List[Tensor], window: int, stride: int, padding: int) -> List[Tensor]:
    return [self.mean(x[0], window, stride, padding)]

  def max_backward(self, x: List[Tensor], window: int, stride: int, padding: int) -> List[Tensor]:
    leaves = self.leaves([x[0]])
    return self.gradients(self.largest(leaves[0], window, stride, padding), leaves, x[1])

  def average_backward(self, x: List[Tensor], window: int, stride: int, padding: int) -> List[Tensor]:
    leaves = self.leaves([x[0]])
    return self.gradients(self.mean(leaves[0], window, stride, padding), leaves, x[1])
