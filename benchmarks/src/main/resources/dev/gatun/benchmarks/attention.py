# SPDX-License-Identifier: Apache-2.0
# x: q, k, v and the output's gradient, (B, H, N, D) each; dtype 11 is bool
class Peer(Module):
  def heads_first(self, qkv: Tensor, dout: Tensor) -> List[Tensor]:
    q, k, v = torch.unbind(torch.permute(qkv, [2, 0, 3, 1, 4]), 0)
    return [q.contiguous(), k.contiguous(), v.contiguous(), torch.transpose(dout, 1, 2).contiguous()]

  # The layout of ours: the output (B, N, H, D), gradients (B, N, 3, H, D).
  def tokens_first(self, results: List[Tensor]) -> List[Tensor]:
    restored = [torch.transpose(results[0], 1, 2)]
    if torch.gt(torch.len(results), 1):
      dqkv = torch.stack([results[1], results[2], results[3]], 0)
      done = torch.append(restored, torch.permute(dqkv, [1, 3, 0, 2, 4]))
    return restored

  def sdpa(self, x: List[Tensor], causal: int) -> List[Tensor]:
    return [torch.scaled_dot_product_attention(x[0], x[1], x[2], None, 0., bool(causal))]

  def naive(self, x: List[Tensor], causal: int) -> List[Tensor]:
    scores = torch.matmul(x[0] * (1.0 / torch.sqrt(x[0].size(-1))), x[1].transpose(-2, -1))
    if bool(causal):
      n = x[0].size(2)
      mask = torch.triu(torch.ones([n, n], dtype=11), 1)
      scores = scores.masked_fill(mask, -inf)
    return [torch.matmul(torch.softmax(scores, -1), x[2])]

  def sdpa_backward(self, x: List[Tensor], causal: int) -> List[Tensor]:
    leaves = self.leaves([x[0], x[1], x[2]])
    return self.gradients(self.sdpa(leaves, causal)[0], leaves, x[3])

  def naive_backward(self, x: List[Tensor], causal: int) -> List[Tensor]:
    leaves = self.leaves([x[0], x[1], x[2]])
    return self.gradients(self.naive(leaves, causal)[0], leaves, x[3])
