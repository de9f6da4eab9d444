// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_forward.h"

namespace gatun::attention {

template int forward_tile_rows(const AttentionProblem<float>&);
template void launch_forward(const Stream&, const ForwardArguments<float>&);

}  // namespace gatun::attention
