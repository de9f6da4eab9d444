// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

template <class T>
void softmax_forward(const Stream& stream, Rows<const T> x, Rows<T> y, float temperature);
template <class T>
void softmax_backward(const Stream& stream, Rows<const T> y, Rows<const T> dy, Rows<T> dx, float temperature);

}  // namespace gatun
