# SPDX-License-Identifier: Apache-2.0
class Peer(Module):
  # SwAV's own function, line by line, on one machine
  def swav(self, scores: Tensor, epsilon: float) -> List[Tensor]:
    q = torch.t(torch.exp(scores / epsilon))
    samples = q.size(1)
    prototypes = q.size(0)
    q = torch.div_(q, torch.sum(q))
    for i in range(3):
      q = torch.div_(q, torch.sum(q, [1], True))
      q = torch.div_(q, prototypes)
      q = torch.div_(q, torch.sum(q, [0], True))
      q = torch.div_(q, samples)
    q = torch.mul_(q, samples)
    return [torch.t(q)]

  # exponentials once, then products with vectors
  def scaled(self, scores: Tensor, epsilon: float) -> Tensor:
    q = torch.exp_(torch.div(scores, epsilon))
    samples = torch.ones([q.size(0)])
    prototypes = torch.ones([q.size(1)])
    for i in range(3):
      prototypes = torch.reciprocal(torch.mv(torch.t(q), samples))
      samples = torch.reciprocal(torch.mv(q, prototypes))
    return torch.mul_(torch.mul_(q, prototypes), torch.unsqueeze(samples, 1))

  def vectors(self, scores: Tensor, epsilon: float) -> List[Tensor]:
    return [self.scaled(scores, epsilon)]

  def features(self, x: List[Tensor], epsilon: float) -> List[Tensor]:
    return [self.scaled(torch.matmul(x[0], torch.t(x[1])), epsilon)]
