# SPDX-License-Identifier: Apache-2.0
# The state is one list: all values, all gradients, all first moments, all second moments, and a step counter each.
class Peer(Module):
  def split(self, x: List[Tensor], tensors: int) -> List[Tensor]:
    state = annotate(List[Tensor], [])
    n = x[0].size(0)
    for buffer in range(4):
      for i in range(tensors):
        start = torch.floordiv(n * i, tensors)
        end = torch.floordiv(n * (i + 1), tensors)
        done = torch.append(state, torch.slice(x[buffer], 0, start, end).clone())
    for i in range(tensors):
      done = torch.append(state, torch.zeros([]))
    return state

  # The values of a step's result as ours has them: one buffer.
  def joined(self, values: List[Tensor]) -> List[Tensor]:
    return [torch.cat(values)]

  def part(self, state: List[Tensor], index: int) -> List[Tensor]:
    n = torch.floordiv(torch.len(state), 5)
    return torch.slice(state, n * index, n * (index + 1), 1)

  def adamw(self, state: List[Tensor]) -> List[Tensor]:
    values = self.part(state, 0)
    counters = self.part(state, 4)
    counted = torch._foreach_add_(counters, 1)
    updated = torch._fused_adamw_(values, self.part(state, 1), self.part(state, 2), self.part(state, 3), annotate(List[Tensor], []), counters, lr=0.001, beta1=0.9, beta2=0.999, weight_decay=0.05, eps=1e-08, amsgrad=False, maximize=False)
    return values

  def sgd(self, state: List[Tensor]) -> List[Tensor]:
    values = self.part(state, 0)
    updated = torch._fused_sgd_(values, self.part(state, 1), self.part(state, 2), weight_decay=0.0001, momentum=0.9, lr=0.001, dampening=0., nesterov=False, maximize=False, is_first_step=False)
    return values

  def ema(self, state: List[Tensor]) -> List[Tensor]:
    averages = self.part(state, 2)
    updated = torch._foreach_lerp_(averages, self.part(state, 0), 0.01)
    return averages
