// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_backward.h"

namespace gatun::attention {

template int query_tile_rows(const AttentionProblem<float>&);
template int key_tile_rows(const AttentionProblem<float>&);
template void launch_backward(const Stream&, const BackwardArguments<float>&);

}  // namespace gatun::attention
