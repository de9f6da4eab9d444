// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/isa.h"
#include "kernels/common/loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax/softmax.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

void forward(int threads, Rows<const float> x, Rows<float> y, float temperature) {
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t r = 0; r < x.rows; ++r) {
    const float scale = 1.0f / temperature;
    const float largest = row_max(x.row(r), x.columns);
    float* out = y.row(r);
    if (std::isinf(largest) && largest < 0) {
      std::fill_n(out, x.columns, 0.0f);
      continue;
    }
    const VF inverse = hn::Set(F32(), 1.0f / exp_row(x.row(r), out, x.columns, scale, largest));
    for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR { part.store(hn::Mul(part.load(out + c), inverse), out + c); });
  }
}

void backward(int threads, Rows<const float> y, Rows<const float> dy, Rows<float> dx, float temperature) {
#pragma omp parallel for num_threads(threads_for(threads, y.rows * y.columns)) schedule(static)
  for (int64_t r = 0; r < y.rows; ++r) {
    const F32 d;
    const float *value = y.row(r), *gradient = dy.row(r);
    float* out = dx.row(r);
    VF sum = hn::Zero(d);
    for_vectors(y.columns, [&](int64_t c, auto part) HWY_ATTR { sum = hn::MulAdd(part.load(value + c), part.load(gradient + c), sum); });
    const VF mean = hn::Set(d, sum_lanes(d, sum));
    const VF scale = hn::Set(d, 1.0f / temperature);
    for_vectors(y.columns, [&](int64_t c, auto part) HWY_ATTR {
      part.store(hn::Mul(hn::Mul(part.load(value + c), scale), hn::Sub(part.load(gradient + c), mean)), out + c);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
void softmax_forward(const Stream& stream, Rows<const float> x, Rows<float> y, float temperature) {
  GATUN_DISPATCH(forward)(stream.threads(), x, y, temperature);
}

template <>
void softmax_backward(const Stream& stream, Rows<const float> y, Rows<const float> dy, Rows<float> dx, float temperature) {
  GATUN_DISPATCH(backward)(stream.threads(), y, dy, dx, temperature);
}

}  // namespace gatun
#endif
