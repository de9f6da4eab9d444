// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_backward.h"

namespace gatun::attention {

template int query_tile_rows(const AttentionProblem<__nv_bfloat16>&);
template int key_tile_rows(const AttentionProblem<__nv_bfloat16>&);
template void launch_backward(const Stream&, const BackwardArguments<__nv_bfloat16>&);

}  // namespace gatun::attention
