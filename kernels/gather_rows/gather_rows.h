// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

// to[i] = from[indices[i]]; columns and stride are in bytes. On CUDA a row whose index is out of range gets bytes 0xff: NaN in every floating dtype.
void gather_rows(const Stream& stream, Rows<const uint8_t> from, const int32_t* indices, Rows<uint8_t> to);

// What is added to a destination: row i times scale * mask[i] (1 where mask is null), each channel times gamma (1 where gamma is null).
struct RowScale {
  float scale;
  const float* mask;
  const float* gamma;
  int64_t channels;  // a row is a whole number of them
  float of(int64_t row) const { return mask != nullptr ? scale * mask[row] : scale; }
};

// to = base (0 where base is null), then to[indices[i]] += scaled rows[i] in the order of i; indices null: row i belongs to i. On CUDA all rows
// that it writes are NaN where an index is out of range.
template <class T>
void scatter_add_rows(const Stream& stream, const Rows<const T>* base, Rows<const T> rows, const int32_t* indices, const RowScale& scale,
                      Rows<T> to);

}  // namespace gatun
