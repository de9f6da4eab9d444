// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_hopper.h"

namespace gatun::attention {

template void launch_hopper_forward(const Stream&, const ForwardArguments<__nv_bfloat16>&);

}  // namespace gatun::attention
