// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

#include "gatun/reduction.h"
#include "kernels/common/loops.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

// How x is cut: `kept` runs over the outputs (operand 0 is x, 1 is y), `reduced` over what is combined in each of them.
struct Reduction {
  int32_t operation;  // GATUN_REDUCTION_...
  int32_t y_dtype;    // x's storage or GATUN_F32
  Loops<2> kept;      // simplified, led by x
  Loops<1> reduced;   // simplified

  // Whether neighbours in memory are combined with each other (else they belong to neighbouring outputs).
  bool along_rows() const {
    if (kept.count() <= 1) return true;
    if (reduced.count() <= 1) return false;
    const auto step = [](int64_t stride) { return stride == 0 ? std::numeric_limits<int64_t>::max() : stride; };
    return step(reduced.stride[0][reduced.rank - 1]) < step(kept.stride[0][kept.rank - 1]);
  }
  // Elements (along_rows) or rows of one chunk, and chunks of one output.
  int64_t chunk() const;
  int64_t chunks() const;
  size_t workspace_bytes() const;
};

template <class T>
void reduction(const Stream& stream, const Reduction& plan, const T* x, void* y, void* workspace);
template <class T>
void reduction_count_nonfinite(const Stream& stream, const Loops<1>& loops, const T* x, int32_t* count);

}  // namespace gatun
