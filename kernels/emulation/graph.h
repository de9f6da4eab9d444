// SPDX-License-Identifier: Apache-2.0
// Stream capture on the emulated device: a capturing stream puts its work aside, a graph does it again. What a GPU refuses while a stream
// captures (allocating, waiting) is refused here and spoils the capture.
#pragma once

#include <functional>

#include "kernels/emulation/host.h"

namespace gatun::emulation {

// Does the work, or puts it aside if the stream captures.
cudaError_t submit(cudaStream_t stream, std::function<cudaError_t()> work);

// For what must not happen while a stream captures: cudaErrorStreamCaptureUnsupported then, and every capture under way is spoilt.
cudaError_t refuse_in_capture();

}  // namespace gatun::emulation
