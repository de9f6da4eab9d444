// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

template <class T>
void l2_normalize_forward(const Stream& stream, Rows<const T> x, Rows<T> y, float* norm, float epsilon);
template <class T>
void l2_normalize_backward(const Stream& stream, Rows<const T> y, const float* norm, Rows<const T> dy, Rows<T> dx, float epsilon);

}  // namespace gatun
