// SPDX-License-Identifier: Apache-2.0
#include "kernels/stochastic_depth/stochastic_depth.h"

#include <algorithm>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/stochastic_depth/stochastic_depth.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

#ifndef GATUN_STOCHASTIC_DEPTH_PARTS_
#define GATUN_STOCHASTIC_DEPTH_PARTS_
namespace gatun {

// Lines (one position of one sample) are cut into parts by their number alone; each part has its own partial sum of dgamma.
struct LineParts {
  int64_t lines;  // of a part
  int64_t count;  // of parts
  explicit LineParts(int64_t total) : lines(std::max<int64_t>(8, chunk_count(total, 64))), count(chunk_count(total, lines)) {}
};

}  // namespace gatun
#endif

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// result = scale * gamma * dy over one line
HWY_INLINE void scale_line(const float* dy, float scale, const float* gamma, float* result, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VF weight = gamma != nullptr ? hn::Mul(factor, hn::LoadU(d, gamma + i)) : factor;
    hn::StoreU(hn::Mul(weight, hn::LoadU(d, dy + i)), d, result + i);
  }
  if (i < n) {
    const VF weight = gamma != nullptr ? hn::Mul(factor, load_tail(d, gamma + i, n - i)) : factor;
    store_tail(hn::Mul(weight, load_tail(d, dy + i, n - i)), d, result + i, n - i);
  }
}

// sums += scale * residual * dy over one line
HWY_INLINE void add_products(const float* dy, const float* residual, float scale, float* sums, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VF product = hn::Mul(factor, hn::LoadU(d, residual + i));
    hn::StoreU(hn::MulAdd(product, hn::LoadU(d, dy + i), hn::LoadU(d, sums + i)), d, sums + i);
  }
  if (i < n) {
    const VF product = hn::Mul(factor, load_tail(d, residual + i, n - i));
    store_tail(hn::MulAdd(product, load_tail(d, dy + i, n - i), load_tail(d, sums + i, n - i)), d, sums + i, n - i);
  }
}

void backward(int threads, Rows<const float> dy, const Rows<const float>* residual, const int32_t* indices, const RowScale& scale,
              Rows<float> dresidual, float* dgamma, float* workspace) {
  const int64_t channels = scale.channels;
  const int64_t positions = dresidual.columns / channels;
  const LineParts parts(dresidual.rows * positions);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t part = 0; part < parts.count; ++part) {
    float* sums = workspace + part * channels;
    if (dgamma != nullptr) std::fill_n(sums, channels, 0.0f);
    const int64_t end = std::min((part + 1) * parts.lines, dresidual.rows * positions);
    for (int64_t line = part * parts.lines; line < end; ++line) {
      const int64_t i = line / positions;
      const int64_t at = line % positions * channels;
      const float factor = scale.of(i);
      if (factor == 0.0f) {
        std::fill_n(dresidual.row(i) + at, channels, 0.0f);
        continue;
      }
      const float* gradient = dy.row(indices != nullptr ? indices[i] : i) + at;
      scale_line(gradient, factor, scale.gamma, dresidual.row(i) + at, channels);
      if (dgamma != nullptr) add_products(gradient, residual->row(i) + at, factor, sums, channels);
    }
  }
  for (int64_t c = 0; c < channels && dgamma != nullptr; ++c) {
    double sum = 0;
    for (int64_t part = 0; part < parts.count; ++part) sum += static_cast<double>(workspace[part * channels + c]);
    dgamma[c] = static_cast<float>(sum);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

void stochastic_depth_mask(const Stream&, const gatun_random_key* key, RandomIds ids, int64_t count, float rate, float* mask) {
  const RandomSource source = random_source(*key);
  const float kept = 1.0f / (1.0f - rate);
  for (int64_t b = 0; b < count; ++b) mask[b] = random_bernoulli(source, ids.of(b), 0, rate) ? 0.0f : kept;
}

size_t stochastic_depth_backward_workspace(int64_t lines, int64_t channels) {
  return static_cast<size_t>(LineParts(lines).count * channels) * sizeof(float);
}

template <>
void stochastic_depth_backward(const Stream& stream, Rows<const float> dy, const Rows<const float>* residual, const int32_t* indices,
                               const RowScale& scale, Rows<float> dresidual, float* dgamma, float* workspace) {
  if (scale.channels == 0) return;
  GATUN_DISPATCH(backward)(stream.threads(), dy, residual, indices, scale, dresidual, dgamma, workspace);
}

}  // namespace gatun
#endif
