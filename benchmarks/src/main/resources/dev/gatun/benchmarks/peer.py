
  # What every peer has: leaves that record, and an output with its gradients.
  def leaves(self, tensors: List[Tensor]) -> List[Tensor]:
    torch.set_grad_enabled(True)
    leaves = annotate(List[Tensor], [])
    for i in range(torch.len(tensors)):
      leaf = torch.append(leaves, tensors[i].detach().requires_grad_(True))
    return leaves

  def gradients(self, output: Tensor, inputs: List[Tensor], seed: Tensor) -> List[Tensor]:
    seeds = annotate(List[Optional[Tensor]], [seed])
    found = torch.grad([output], inputs, seeds)
    results = [output.detach()]
    for i in range(torch.len(found)):
      result = torch.append(results, torch._unwrap_optional(found[i]))
    return results
