// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation/activation.h"

#include <algorithm>
#include <type_traits>

#include "kernels/common/isa.h"
#include "kernels/common/loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/activation.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/gelu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

struct Relu {
  static HWY_INLINE VF value(F32 d, VF x) { return maximum(x, hn::Zero(d)); }
  static HWY_INLINE VF gradient(F32 d, VF x, VF dy) {
    // A NaN in x is not "below 0": it shows in dx.
    return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), dy));
  }
};

struct Sigmoid {
  static HWY_INLINE VF value(F32 d, VF x) { return sigmoid(d, x); }
  static HWY_INLINE VF gradient(F32 d, VF x, VF dy) {
    // σ(-|x|) (1 - σ(-|x|)): the product of the two sides, without the cancellation in 1 - σ of a large x.
    const VF small = sigmoid(d, hn::Neg(hn::Abs(x)));
    return hn::Mul(dy, hn::NegMulAdd(small, small, small));
  }
};

struct Tanh {
  static HWY_INLINE VF value(F32 d, VF x) { return tanh(d, x); }
  static HWY_INLINE VF gradient(F32 d, VF x, VF dy) {
    // 1 - tanh² x = 4 σ(2x) σ(-2x), without cancellation
    const VF small = sigmoid(d, hn::Mul(hn::Abs(x), hn::Set(d, -2.0f)));
    return hn::Mul(hn::Mul(dy, hn::Set(d, 4.0f)), hn::NegMulAdd(small, small, small));
  }
};

// Rows without gaps are one long row, cut for the threads.
constexpr int64_t kTask = 16384;

template <class Body>
HWY_INLINE void for_each_run(int threads, int64_t rows, int64_t columns, bool contiguous, const Body& body) {
  if (contiguous) {
    columns *= rows;
    rows = 1;
  }
  const int64_t blocks = chunk_count(columns, kTask);
#pragma omp parallel for num_threads(threads_for(threads, rows * columns)) schedule(static)
  for (int64_t task = 0; task < rows * blocks; ++task) {
    const int64_t from = task % blocks * kTask;
    body(task / blocks, from, std::min(kTask, columns - from));
  }
}

template <class F>
void forward_of(int threads, Rows<const float> x, Rows<float> y) {
  const bool contiguous = x.stride == x.columns && y.stride == y.columns;
  for_each_run(threads, x.rows, x.columns, contiguous, [&](int64_t row, int64_t from, int64_t n) HWY_ATTR {
    const F32 d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const float* in = x.row(row) + from;
    float* out = y.row(row) + from;
    int64_t i = 0;
    if constexpr (std::is_same_v<F, Gelu>) {
      // Chains of some thirty operations: those of a few vectors overlap.
      constexpr int kSide = Gelu::kSide;
      for (; i + kSide * lanes <= n; i += kSide * lanes) {
        VF side[kSide];
        each<kSide>([&](int k) HWY_ATTR { side[k] = hn::LoadU(d, in + i + k * lanes); });
        Gelu::values(d, side);
        each<kSide>([&](int k) HWY_ATTR { hn::StoreU(side[k], d, out + i + k * lanes); });
      }
    }
    for (; i + lanes <= n; i += lanes) hn::StoreU(F::value(d, hn::LoadU(d, in + i)), d, out + i);
    if (i < n) store_tail(F::value(d, load_tail(d, in + i, n - i)), d, out + i, n - i);
  });
}

template <class F>
void backward_of(int threads, Rows<const float> x, Rows<const float> dy, Rows<float> dx) {
  const bool contiguous = x.stride == x.columns && dy.stride == dy.columns && dx.stride == dx.columns;
  for_each_run(threads, x.rows, x.columns, contiguous, [&](int64_t row, int64_t from, int64_t n) HWY_ATTR {
    const F32 d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const float* in = x.row(row) + from;
    const float* upstream = dy.row(row) + from;
    float* out = dx.row(row) + from;
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(F::gradient(d, hn::LoadU(d, in + i), hn::LoadU(d, upstream + i)), d, out + i);
    if (i < n) store_tail(F::gradient(d, load_tail(d, in + i, n - i), load_tail(d, upstream + i, n - i)), d, out + i, n - i);
  });
}

void forward(int threads, int32_t function, Rows<const float> x, Rows<float> y) {
  switch (function) {
    case GATUN_ACTIVATION_RELU: return forward_of<Relu>(threads, x, y);
    case GATUN_ACTIVATION_GELU: return forward_of<Gelu>(threads, x, y);
    case GATUN_ACTIVATION_SIGMOID: return forward_of<Sigmoid>(threads, x, y);
    case GATUN_ACTIVATION_TANH: return forward_of<Tanh>(threads, x, y);
  }
}

void backward(int threads, int32_t function, Rows<const float> x, Rows<const float> dy, Rows<float> dx) {
  switch (function) {
    case GATUN_ACTIVATION_RELU: return backward_of<Relu>(threads, x, dy, dx);
    case GATUN_ACTIVATION_GELU: return backward_of<Gelu>(threads, x, dy, dx);
    case GATUN_ACTIVATION_SIGMOID: return backward_of<Sigmoid>(threads, x, dy, dx);
    case GATUN_ACTIVATION_TANH: return backward_of<Tanh>(threads, x, dy, dx);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
void activation_forward(const Stream& stream, int32_t function, Rows<const float> x, Rows<float> y) {
  GATUN_DISPATCH(forward)(stream.threads(), function, x, y);
}

template <>
void activation_backward(const Stream& stream, int32_t function, Rows<const float> x, Rows<const float> dy, Rows<float> dx) {
  GATUN_DISPATCH(backward)(stream.threads(), function, x, dy, dx);
}

}  // namespace gatun
#endif
