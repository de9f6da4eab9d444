// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/isa.h"

#ifndef GATUN_OPTIMIZER_ONCE_
#define GATUN_OPTIMIZER_ONCE_
namespace gatun {

// One chunk of four buffers stays in the second-level cache; fixed, so that sums do not depend on the threads.
constexpr int64_t kChunk = 16384;

// Chunks of the norms never cross a tensor: at most elements / kChunk full ones and a rest for each tensor.
struct NormChunk {
  int64_t begin, end, tensor;
  double value_squares, update_squares;
};

// What a tensor's norms make of its update: u = (g + decay * p) * factor.
struct Factor {
  float decay, factor;
};

inline float decay_of(const OptimizerTensors& tensors, float weight_decay, int64_t tensor) {
  return tensors.decay_scale == nullptr ? weight_decay : weight_decay * tensors.decay_scale[tensor];
}

inline float rate_of(const OptimizerTensors& tensors, float rate, int64_t tensor) {
  return tensors.rate_scale == nullptr ? rate : rate * tensors.rate_scale[tensor];
}

// The step's numbers, read.
struct Rates {
  float learning_rate, gradient_scale;
  float first_correction;   // AdamW: 1 / (1 - beta1^step)
  float second_correction;  // 1 / (1 - beta2^step)
};

// The tensor that element lies in; of empty ones at the same offset, the last, which is not empty.
inline int64_t tensor_at(const OptimizerTensors& tensors, int64_t element) {
  int64_t low = 0;
  int64_t high = tensors.count;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (tensors.offsets[middle] <= element) low = middle;
    else high = middle;
  }
  return low;
}

}  // namespace gatun
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/optimizer.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

template <bool kTail>
HWY_INLINE VF load(const float* HWY_RESTRICT p, int64_t n) {
  const F32 d;
  if constexpr (kTail) return load_tail(d, p, n);
  return hn::LoadU(d, p);
}

template <bool kTail>
HWY_INLINE void store(VF v, float* HWY_RESTRICT p, int64_t n) {
  const F32 d;
  if constexpr (kTail) store_tail(v, d, p, n);
  else hn::StoreU(v, d, p);
}

// A rule updates elements [i, i + n) of one tensor, n <= lanes.
template <class Rule>
HWY_INLINE void update_span(const Rule& rule, int64_t begin, int64_t end) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) rule.template update<false>(i, lanes);
  if (i < end) rule.template update<true>(i, end - i);
}

struct AdamwRule {
  const AdamwUpdate& u;
  const Rates& rates;
  float shrink, rate;  // of the tensor
  template <bool kTail>
  HWY_INLINE void update(int64_t i, int64_t n) const {
    const F32 d;
    const VF g = hn::Mul(load<kTail>(u.gradients + i, n), hn::Set(d, rates.gradient_scale));
    // m + (1 - beta)(g - m): beta rounds once
    const VF m_old = load<kTail>(u.first_moment + i, n);
    const VF m = hn::MulAdd(hn::Set(d, 1.0f - u.beta1), hn::Sub(g, m_old), m_old);
    const VF v_old = load<kTail>(u.second_moment + i, n);
    const VF v = hn::MulAdd(hn::Set(d, u.beta2), v_old, hn::Mul(hn::Set(d, 1.0f - u.beta2), hn::Mul(g, g)));
    const VF root = hn::Add(hn::Sqrt(hn::Mul(v, hn::Set(d, rates.second_correction))), hn::Set(d, u.epsilon));
    const VF p = hn::Mul(load<kTail>(u.values + i, n), hn::Set(d, shrink));
    store<kTail>(m, u.first_moment + i, n);
    store<kTail>(v, u.second_moment + i, n);
    store<kTail>(hn::NegMulAdd(hn::Set(d, rate), hn::Div(m, root), p), u.values + i, n);
  }
};

void adamw(int threads, const AdamwUpdate& u, const Rates& rates) {
  const OptimizerTensors& tensors = u.tensors;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t chunk = 0; chunk < chunk_count(tensors.elements, kChunk); ++chunk) {
    int64_t i = chunk * kChunk;
    const int64_t end = std::min(tensors.elements, i + kChunk);
    for (int64_t t = tensor_at(tensors, i); i < end; ++t) {
      const int64_t stop = std::min(end, tensors.offsets[t + 1]);
      const float rate = rate_of(tensors, rates.learning_rate, t);
      const float shrink = 1.0f - rate * decay_of(tensors, u.weight_decay, t);
      update_span(AdamwRule{u, rates, shrink, rate * rates.first_correction}, i, stop);
      i = stop;
    }
  }
}

struct MomentumRule {
  const MomentumUpdate& u;
  const Rates& rates;
  float decay, factor, rate;  // of the tensor
  template <bool kTail>
  HWY_INLINE void update(int64_t i, int64_t n) const {
    const F32 d;
    const VF p = load<kTail>(u.values + i, n);
    const VF g = hn::Mul(load<kTail>(u.gradients + i, n), hn::Set(d, rates.gradient_scale));
    const VF direction = hn::Mul(hn::MulAdd(hn::Set(d, decay), p, g), hn::Set(d, factor));
    const VF momentum = hn::Set(d, u.momentum);
    const VF velocity = hn::MulAdd(momentum, load<kTail>(u.velocity + i, n), direction);
    store<kTail>(velocity, u.velocity + i, n);
    const VF along = u.nesterov ? hn::MulAdd(momentum, velocity, direction) : velocity;
    store<kTail>(hn::NegMulAdd(hn::Set(d, rate), along, p), u.values + i, n);
  }
};

// factors: one a tensor, or null for plain SGD
void momentum(int threads, const MomentumUpdate& u, const Rates& rates, const Factor* factors) {
  const OptimizerTensors& tensors = u.tensors;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t chunk = 0; chunk < chunk_count(tensors.elements, kChunk); ++chunk) {
    int64_t i = chunk * kChunk;
    const int64_t end = std::min(tensors.elements, i + kChunk);
    for (int64_t t = tensor_at(tensors, i); i < end; ++t) {
      const int64_t stop = std::min(end, tensors.offsets[t + 1]);
      const Factor factor = factors ? factors[t] : Factor{decay_of(tensors, u.weight_decay, t), 1.0f};
      update_span(MomentumRule{u, rates, factor.decay, factor.factor, rate_of(tensors, rates.learning_rate, t)}, i, stop);
      i = stop;
    }
  }
}

// Σ of squares of a scaled by `scale` plus b scaled by `decay`; four accumulators keep each sum short.
HWY_INLINE double sum_squares(const float* HWY_RESTRICT a, float scale, const float* HWY_RESTRICT b, float decay, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF scales = hn::Set(d, scale);
  const VF decays = hn::Set(d, decay);
  VF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const VF x0 = hn::MulAdd(hn::LoadU(d, b + i), decays, hn::Mul(hn::LoadU(d, a + i), scales));
    const VF x1 = hn::MulAdd(hn::LoadU(d, b + i + lanes), decays, hn::Mul(hn::LoadU(d, a + i + lanes), scales));
    const VF x2 = hn::MulAdd(hn::LoadU(d, b + i + 2 * lanes), decays, hn::Mul(hn::LoadU(d, a + i + 2 * lanes), scales));
    const VF x3 = hn::MulAdd(hn::LoadU(d, b + i + 3 * lanes), decays, hn::Mul(hn::LoadU(d, a + i + 3 * lanes), scales));
    s0 = hn::MulAdd(x0, x0, s0);
    s1 = hn::MulAdd(x1, x1, s1);
    s2 = hn::MulAdd(x2, x2, s2);
    s3 = hn::MulAdd(x3, x3, s3);
  }
  for (; i < n; i += lanes) {
    const int64_t count = std::min(lanes, n - i);
    const VF x = count == lanes ? hn::MulAdd(hn::LoadU(d, b + i), decays, hn::Mul(hn::LoadU(d, a + i), scales))
                                : hn::MulAdd(load_tail(d, b + i, count), decays, hn::Mul(load_tail(d, a + i, count), scales));
    s0 = hn::MulAdd(x, x, s0);
  }
  return sum_lanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

// LARS measures the decayed gradient, LARC the bare one.
void norms(int threads, const MomentumUpdate& u, const Rates& rates, Adaptation adaptation, NormChunk* chunks, int64_t count) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t c = 0; c < count; ++c) {
    NormChunk& chunk = chunks[c];
    const float* values = u.values + chunk.begin;
    const int64_t n = chunk.end - chunk.begin;
    const float decay = adaptation == Adaptation::kLars ? decay_of(u.tensors, u.weight_decay, chunk.tensor) : 0.0f;
    chunk.value_squares = sum_squares(values, 1.0f, values, 0.0f, n);
    chunk.update_squares = sum_squares(u.gradients + chunk.begin, rates.gradient_scale, values, decay, n);
  }
}

void squares(int threads, const float* values, int64_t elements, double* partial) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t c = 0; c < chunk_count(elements, kChunk); ++c) {
    const int64_t begin = c * kChunk;
    partial[c] = sum_squares(values + begin, 1.0f, values + begin, 0.0f, std::min(elements - begin, kChunk));
  }
}

struct EmaRule {
  float* average;
  const float* values;
  float weight;  // 1 - momentum
  template <bool kTail>
  HWY_INLINE void update(int64_t i, int64_t n) const {
    const VF old = load<kTail>(average + i, n);
    store<kTail>(hn::MulAdd(hn::Set(F32(), weight), hn::Sub(load<kTail>(values + i, n), old), old), average + i, n);
  }
};

void ema(int threads, float* average, const float* values, int64_t elements, float weight) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t c = 0; c < chunk_count(elements, kChunk); ++c) {
    update_span(EmaRule{average, values, weight}, c * kChunk, std::min(elements, (c + 1) * kChunk));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

static int64_t norm_chunk_bound(int64_t elements, int64_t tensors) { return elements / kChunk + tensors; }

size_t lars_workspace_bytes(int64_t elements, int64_t tensors) {
  return static_cast<size_t>(norm_chunk_bound(elements, tensors)) * sizeof(NormChunk) + static_cast<size_t>(tensors) * sizeof(Factor);
}

size_t gradient_norm_workspace_bytes(int64_t elements) { return static_cast<size_t>(chunk_count(elements, kChunk)) * sizeof(double); }

static bool skipped(const OptimizerStep& step) { return step.skip != nullptr && *step.skip != 0; }

static Rates read(const OptimizerStep& step, float beta1 = 0, float beta2 = 0) {
  const auto correction = [&](float beta) {
    return step.number == nullptr ? 1.0f : static_cast<float>(1 / (1 - std::pow(static_cast<double>(beta), static_cast<double>(*step.number))));
  };
  return {*step.learning_rate, step.gradient_scale == nullptr ? 1.0f : *step.gradient_scale, correction(beta1), correction(beta2)};
}

void optimizer_adamw(const Stream& stream, const AdamwUpdate& update) {
  if (!skipped(update.step)) GATUN_DISPATCH(adamw)(stream.threads(), update, read(update.step, update.beta1, update.beta2));
}

void optimizer_sgd(const Stream& stream, const MomentumUpdate& update) {
  if (!skipped(update.step)) GATUN_DISPATCH(momentum)(stream.threads(), update, read(update.step), nullptr);
}

void optimizer_lars(const Stream& stream, const MomentumUpdate& u, Adaptation adaptation, void* workspace) {
  if (skipped(u.step)) return;
  const OptimizerTensors& tensors = u.tensors;
  const Rates rates = read(u.step);
  NormChunk* chunks = static_cast<NormChunk*>(workspace);
  Factor* factors = reinterpret_cast<Factor*>(chunks + norm_chunk_bound(tensors.elements, tensors.count));
  int64_t count = 0;
  for (int64_t t = 0; t < tensors.count; ++t) {
    factors[t] = {decay_of(tensors, u.weight_decay, t), 1.0f};
    if (tensors.adapt != nullptr && tensors.adapt[t] == 0) continue;
    for (int64_t i = tensors.offsets[t]; i < tensors.offsets[t + 1]; i += kChunk) {
      chunks[count++] = {i, std::min(tensors.offsets[t + 1], i + kChunk), t, 0, 0};
    }
  }
  GATUN_DISPATCH(norms)(stream.threads(), u, rates, adaptation, chunks, count);
  for (int64_t c = 0; c < count;) {
    const int64_t t = chunks[c].tensor;
    double value_squares = 0;
    double update_squares = 0;
    for (; c < count && chunks[c].tensor == t; ++c) {
      value_squares += chunks[c].value_squares;
      update_squares += chunks[c].update_squares;
    }
    const double value_norm = std::sqrt(value_squares);
    const double update_norm = std::sqrt(update_squares);
    if (adaptation == Adaptation::kLars) {
      if (value_norm != 0 && update_norm != 0) factors[t].factor = static_cast<float>(u.trust * value_norm / update_norm);
    } else if (value_norm != 0 && update_norm != 0) {
      factors[t].factor = static_cast<float>(u.trust * value_norm / (update_norm + factors[t].decay * value_norm + 1e-8));
    } else {
      factors[t].decay = 0.0f;
    }
  }
  GATUN_DISPATCH(momentum)(stream.threads(), u, rates, factors);
}

void optimizer_advance(const Stream&, int64_t* step, const int32_t* skip) {
  if (skip == nullptr || *skip == 0) ++*step;
}

void optimizer_ema(const Stream& stream, float* average, const float* values, int64_t elements, const float* momentum, const int32_t* skip) {
  if (skip != nullptr && *skip != 0) return;
  // average + (values - average) would not be values to the last bit.
  if (*momentum == 0.0f) std::copy_n(values, elements, average);
  else GATUN_DISPATCH(ema)(stream.threads(), average, values, elements, 1.0f - *momentum);
}

void optimizer_gradient_norm(const Stream& stream, const GradientNorm& request, void* workspace) {
  double* partial = static_cast<double*>(workspace);
  GATUN_DISPATCH(squares)(stream.threads(), request.gradients, request.elements, partial);
  double sum = 0;
  for (int64_t c = 0; c < chunk_count(request.elements, kChunk); ++c) sum += partial[c];
  const float value = static_cast<float>(std::sqrt(sum));
  *request.norm = value;
  if (request.scale != nullptr) *request.scale = value > request.max_norm ? request.max_norm / value : 1.0f;
  if (request.skip != nullptr && !std::isfinite(value)) *request.skip = 1;
}

}  // namespace gatun
#endif
