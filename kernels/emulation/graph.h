// SPDX-License-Identifier: Apache-2.0
// Stream capture on the emulated device: a capturing stream puts its work aside, a graph does it again. What a GPU refuses while a stream
// captures (allocating, waiting) is refused here and spoils the capture.
#pragma once

#include <functional>

#include "kernels/emulation/host.h"

namespace gatun::emulation {

using Work = std::function<cudaError_t()>;

// Does the work, puts it into the queue of a late stream, or aside if the stream captures.
cudaError_t submit(cudaStream_t stream, Work work);

// Everything that streams keep is done.
void wait_for_device();

// For what a thread must not do while a stream of its captures: cudaErrorStreamCaptureUnsupported then, and its captures are spoilt.
cudaError_t refuse_in_capture();

// Puts work aside if the stream captures; whether it does.
bool captured(cudaStream_t stream, const Work& work);
bool capturing(cudaStream_t stream);
cudaError_t spoil(cudaStream_t stream, cudaError_t error);

}  // namespace gatun::emulation
