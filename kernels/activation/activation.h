// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gatun/activation.h"
#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

template <class T>
void activation_forward(const Stream& stream, int32_t function, Rows<const T> x, Rows<T> y);
template <class T>
void activation_backward(const Stream& stream, int32_t function, Rows<const T> x, Rows<const T> dy, Rows<T> dx);

}  // namespace gatun
