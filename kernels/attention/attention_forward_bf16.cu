// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_forward.h"

namespace gatun::attention {

template int forward_tile_rows(const AttentionProblem<__nv_bfloat16>&);
template void launch_forward(const Stream&, const ForwardArguments<__nv_bfloat16>&);

}  // namespace gatun::attention
