// SPDX-License-Identifier: Apache-2.0
// All tensors of a model in one sweep over the flat buffers, bound by memory: AdamW moves 28 bytes an element. A thread takes four
// elements; the tensor they belong to is looked up once a chunk and then followed. Rounding is stated everywhere, so that an element's
// bits do not depend on its place in the buffer (nor on the device).
#include "kernels/optimizer/optimizer.h"

#include <algorithm>

#include "kernels/common/cuda.h"

namespace gatun {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int64_t kChunk = 4096;       // of an update
constexpr int64_t kNormChunk = 16384;  // of a norm
constexpr unsigned kMostBlocks = 2048; // each reads the offsets once

// What a block knows of the step.
struct Rates {
  float learning_rate, gradient_scale, first_correction, second_correction;
};

// What a tensor's norms make of its update: u = (g + decay * p) * factor.
struct Factor {
  float decay, factor;
};

struct Squares {
  double values, updates;
};

__device__ __forceinline__ bool skipped(const int32_t* skip) { return skip != nullptr && *skip != 0; }
__device__ __forceinline__ float scale_of(const OptimizerStep& step) { return step.gradient_scale == nullptr ? 1.0f : *step.gradient_scale; }
__device__ __forceinline__ float nan() { return __int_as_float(0x7fc00000); }

// 1 / (1 - beta^number) by squaring: no call of pow, and NaN for a step that cannot be.
__device__ __forceinline__ float correction(float beta, int64_t number) {
  if (number < 1) return nan();
  double power = 1, square = static_cast<double>(beta);
  for (; number > 0; number >>= 1) {
    if ((number & 1) != 0) power *= square;
    square *= square;
  }
  return static_cast<float>(1 / (1 - power));
}

__device__ __forceinline__ float decay_of(const OptimizerTensors& tensors, float weight_decay, int64_t tensor) {
  return tensors.decay_scale == nullptr ? weight_decay : __fmul_rn(weight_decay, tensors.decay_scale[tensor]);
}

// Every thread of a block calls it: whether offsets rise from 0 to the end. They are never used as addresses of an update, so that
// wrong ones spoil numbers only, and those are made NaN. A barrier.
__device__ __forceinline__ bool rises(const OptimizerTensors& tensors) {
  bool wrong = tensors.offsets[0] != 0 || tensors.offsets[tensors.count] != tensors.elements;
  for (int64_t t = threadIdx.x; t < tensors.count; t += kThreads) wrong = wrong || tensors.offsets[t + 1] < tensors.offsets[t];
  return __syncthreads_or(wrong ? 1 : 0) == 0;
}

// The last tensor whose key (its offset, or a slot) is at most `wanted`; of empty ones at the same offset, the one that is not.
template <class Key>
__device__ __forceinline__ int64_t search(int64_t count, int64_t wanted, const Key& key) {
  int64_t low = 0, high = count;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (key(middle) <= wanted) low = middle;
    else high = middle;
  }
  return low;
}

struct AdamwRule {
  AdamwUpdate u;
  struct Tensor {
    float shrink, rate;
  };
  __device__ __forceinline__ Rates rates() const {
    return {*u.step.learning_rate, scale_of(u.step), correction(u.beta1, *u.step.number), correction(u.beta2, *u.step.number)};
  }
  __device__ __forceinline__ Tensor tensor(const Rates& rates, float rate, int64_t t) const {
    return {__fsub_rn(1.0f, __fmul_rn(rate, decay_of(u.tensors, u.weight_decay, t))), __fmul_rn(rate, rates.first_correction)};
  }
  __device__ __forceinline__ void one(const Rates& rates, const Tensor& tensor, float& value, float gradient, float& first, float& second) const {
    const float g = __fmul_rn(gradient, rates.gradient_scale);
    first = __fmaf_rn(__fsub_rn(1.0f, u.beta1), __fsub_rn(g, first), first);  // beta rounds once
    second = __fmaf_rn(u.beta2, second, __fmul_rn(__fsub_rn(1.0f, u.beta2), __fmul_rn(g, g)));
    const float root = __fadd_rn(__fsqrt_rn(__fmul_rn(second, rates.second_correction)), u.epsilon);
    value = __fmaf_rn(-tensor.rate, __fdiv_rn(first, root), __fmul_rn(value, tensor.shrink));
  }
  __device__ __forceinline__ void update(const Rates& rates, const Tensor& tensor, int64_t i) const {
    one(rates, tensor, u.values[i], u.gradients[i], u.first_moment[i], u.second_moment[i]);
  }
  __device__ __forceinline__ void update_four(const Rates& rates, const Tensor& tensor, int64_t i) const {
    const float4 g = *reinterpret_cast<const float4*>(u.gradients + i);
    float4 p = *reinterpret_cast<float4*>(u.values + i), m = *reinterpret_cast<float4*>(u.first_moment + i),
           v = *reinterpret_cast<float4*>(u.second_moment + i);
    one(rates, tensor, p.x, g.x, m.x, v.x);
    one(rates, tensor, p.y, g.y, m.y, v.y);
    one(rates, tensor, p.z, g.z, m.z, v.z);
    one(rates, tensor, p.w, g.w, m.w, v.w);
    *reinterpret_cast<float4*>(u.values + i) = p;
    *reinterpret_cast<float4*>(u.first_moment + i) = m;
    *reinterpret_cast<float4*>(u.second_moment + i) = v;
  }
};

struct MomentumRule {
  MomentumUpdate u;
  const Factor* factors;  // one a tensor, or null for plain SGD
  struct Tensor {
    float decay, factor, rate;
  };
  __device__ __forceinline__ Rates rates() const { return {*u.step.learning_rate, scale_of(u.step), 1.0f, 1.0f}; }
  __device__ __forceinline__ Tensor tensor(const Rates&, float rate, int64_t t) const {
    const Factor factor = factors != nullptr ? factors[t] : Factor{decay_of(u.tensors, u.weight_decay, t), 1.0f};
    return {factor.decay, factor.factor, rate};
  }
  __device__ __forceinline__ void one(const Rates& rates, const Tensor& tensor, float& value, float gradient, float& velocity) const {
    const float g = __fmul_rn(gradient, rates.gradient_scale);
    const float direction = __fmul_rn(__fmaf_rn(tensor.decay, value, g), tensor.factor);
    velocity = __fmaf_rn(u.momentum, velocity, direction);
    value = __fmaf_rn(-tensor.rate, u.nesterov ? __fmaf_rn(u.momentum, velocity, direction) : velocity, value);
  }
  __device__ __forceinline__ void update(const Rates& rates, const Tensor& tensor, int64_t i) const {
    one(rates, tensor, u.values[i], u.gradients[i], u.velocity[i]);
  }
  __device__ __forceinline__ void update_four(const Rates& rates, const Tensor& tensor, int64_t i) const {
    const float4 g = *reinterpret_cast<const float4*>(u.gradients + i);
    float4 p = *reinterpret_cast<float4*>(u.values + i), m = *reinterpret_cast<float4*>(u.velocity + i);
    one(rates, tensor, p.x, g.x, m.x);
    one(rates, tensor, p.y, g.y, m.y);
    one(rates, tensor, p.z, g.z, m.z);
    one(rates, tensor, p.w, g.w, m.w);
    *reinterpret_cast<float4*>(u.values + i) = p;
    *reinterpret_cast<float4*>(u.velocity + i) = m;
  }
};

template <class Rule>
__global__ void __launch_bounds__(kThreads) update_kernel(Rule rule, bool vector) {
  __shared__ Rates shared;
  const OptimizerTensors& tensors = rule.u.tensors;
  if (threadIdx.x == 0) shared = rule.rates();
  const bool ordered = rises(tensors);
  const Rates rates = shared;
  const int64_t elements = skipped(rule.u.step.skip) ? 0 : tensors.elements;
  const float learning_rate = ordered ? rates.learning_rate : nan();
  for (int64_t begin = blockIdx.x * kChunk; begin < elements; begin += gridDim.x * kChunk) {
    const int64_t end = min(elements, begin + kChunk);
    int64_t t = search(tensors.count, begin, [&](int64_t i) { return tensors.offsets[i]; });
    const auto enter = [&] {
      return rule.tensor(rates, tensors.rate_scale == nullptr ? learning_rate : __fmul_rn(learning_rate, tensors.rate_scale[t]), t);
    };
    typename Rule::Tensor tensor = enter();
    int64_t stop = tensors.offsets[t + 1];
    const auto follow = [&](int64_t i) {
      if (i < stop) return;
      while (stop <= i && t + 1 < tensors.count) stop = tensors.offsets[++t + 1];
      tensor = enter();
    };
    for (int64_t i = begin + 4 * static_cast<int64_t>(threadIdx.x); i < end; i += 4 * kThreads) {
      follow(i);
      if (vector && i + 4 <= min(end, stop)) {
        rule.update_four(rates, tensor, i);
      } else {
        for (int64_t j = i; j < min(end, i + 4); ++j) {
          follow(j);
          rule.update(rates, tensor, j);
        }
      }
    }
  }
}

// Elements [i, i + 4), zeros behind the end; the same numbers in the same places whether they can be read at once or not.
__device__ __forceinline__ float4 load_four(const float* from, int64_t i, int64_t end) {
  if (i + 4 <= end && reinterpret_cast<uintptr_t>(from + i) % 16 == 0) return *reinterpret_cast<const float4*>(from + i);
  return make_float4(from[i], i + 1 < end ? from[i + 1] : 0.0f, i + 2 < end ? from[i + 2] : 0.0f, i + 3 < end ? from[i + 3] : 0.0f);
}

__device__ __forceinline__ double block_sum(double value, double (&partial)[kWarps]) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullMask, value, offset);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0;
  for (int i = 0; i < kWarps; ++i) total += partial[i];
  __syncthreads();
  return total;
}

__device__ __forceinline__ float squares(const float4& a) { return (a.x * a.x + a.y * a.y) + (a.z * a.z + a.w * a.w); }

// Chunks of a tensor begin with the tensor, so that its norm does not depend on its place. Chunk c of tensor t has the slot
// offsets[t] / kNormChunk + t + c: slots rise from tensor to tensor, whatever their sizes.
__device__ __forceinline__ int64_t first_slot(const OptimizerTensors& tensors, int64_t t) { return tensors.offsets[t] / kNormChunk + t; }

// LARS measures the decayed gradient, LARC the bare one.
__global__ void __launch_bounds__(kThreads) norms_kernel(MomentumUpdate u, bool decayed, Squares* sums, int64_t slots) {
  __shared__ double partial[kWarps];
  const OptimizerTensors& tensors = u.tensors;
  const float scale = scale_of(u.step);
  const int64_t wanted = skipped(u.step.skip) ? 0 : slots;
  for (int64_t slot = blockIdx.x; slot < wanted; slot += gridDim.x) {
    const int64_t t = search(tensors.count, slot, [&](int64_t i) { return first_slot(tensors, i); });
    // Bounds that hold for wrong offsets as well; the update makes their result NaN.
    const int64_t begin = max(int64_t{0}, tensors.offsets[t] + (slot - first_slot(tensors, t)) * kNormChunk);
    const int64_t stop = min(tensors.elements, tensors.offsets[t + 1]);
    const int64_t end = min(stop, begin + kNormChunk);
    const bool adapted = tensors.adapt == nullptr || tensors.adapt[t] != 0;
    const float decay = decayed ? decay_of(tensors, u.weight_decay, t) : 0.0f;
    float value_squares = 0, update_squares = 0;
    for (int64_t i = begin + 4 * static_cast<int64_t>(threadIdx.x); adapted && i < end; i += 4 * kThreads) {
      const float4 p = load_four(u.values, i, end);
      float4 g = load_four(u.gradients, i, end);
      g = make_float4(fmaf(p.x, decay, g.x * scale), fmaf(p.y, decay, g.y * scale), fmaf(p.z, decay, g.z * scale), fmaf(p.w, decay, g.w * scale));
      value_squares += squares(p);
      update_squares += squares(g);
    }
    const double values = block_sum(static_cast<double>(value_squares), partial);
    const double updates = block_sum(static_cast<double>(update_squares), partial);
    if (threadIdx.x == 0) sums[slot] = {values, updates};
  }
}

// A warp a tensor: its chunks in a fixed order.
__global__ void __launch_bounds__(kThreads) factors_kernel(MomentumUpdate u, Adaptation adaptation, const Squares* sums, int64_t slots,
                                                           Factor* factors) {
  const OptimizerTensors& tensors = u.tensors;
  const int64_t count = skipped(u.step.skip) ? 0 : tensors.count;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; t < count; t += static_cast<int64_t>(gridDim.x) * kWarps) {
    const int64_t first = first_slot(tensors, t);
    const int64_t end = min(slots, first + (tensors.offsets[t + 1] - tensors.offsets[t] + kNormChunk - 1) / kNormChunk);
    double values = 0, updates = 0;
    for (int64_t slot = max(int64_t{0}, first) + threadIdx.x % 32; slot < end; slot += 32) {
      values += sums[slot].values;
      updates += sums[slot].updates;
    }
    for (int offset = 16; offset > 0; offset /= 2) {
      values += __shfl_xor_sync(kFullMask, values, offset);
      updates += __shfl_xor_sync(kFullMask, updates, offset);
    }
    if (threadIdx.x % 32 != 0) continue;
    Factor factor{decay_of(tensors, u.weight_decay, t), 1.0f};
    const double value_norm = sqrt(values), update_norm = sqrt(updates);
    const bool moves = value_norm != 0 && update_norm != 0;
    if (tensors.adapt == nullptr || tensors.adapt[t] != 0) {
      if (adaptation == Adaptation::kLars) {
        if (moves) factor.factor = static_cast<float>(u.trust * value_norm / update_norm);
      } else if (moves) {
        factor.factor = static_cast<float>(u.trust * value_norm / (update_norm + factor.decay * value_norm + 1e-8));
      } else {
        factor.decay = 0.0f;
      }
    }
    factors[t] = factor;
  }
}

__global__ void advance_kernel(int64_t* step, const int32_t* skip) {
  if (!skipped(skip)) ++*step;
}

__global__ void __launch_bounds__(kThreads) ema_kernel(float* __restrict__ average, const float* __restrict__ values, int64_t elements,
                                                       const float* momentum, const int32_t* skip, bool vector) {
  const float kept = *momentum, weight = __fsub_rn(1.0f, kept);
  // average + (values - average) would not be values to the last bit.
  const auto mix = [&](float old, float value) { return kept == 0.0f ? value : __fmaf_rn(weight, __fsub_rn(value, old), old); };
  const int64_t count = skipped(skip) ? 0 : elements;
  const int64_t step = 4 * static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = 4 * (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x); i < count; i += step) {
    if (vector && i + 4 <= count) {
      const float4 old = *reinterpret_cast<const float4*>(average + i), value = *reinterpret_cast<const float4*>(values + i);
      *reinterpret_cast<float4*>(average + i) = make_float4(mix(old.x, value.x), mix(old.y, value.y), mix(old.z, value.z), mix(old.w, value.w));
    } else {
      for (int64_t j = i; j < min(count, i + 4); ++j) average[j] = mix(average[j], values[j]);
    }
  }
}

__global__ void __launch_bounds__(kThreads) squares_kernel(const float* __restrict__ gradients, int64_t elements, double* sums) {
  __shared__ double partial[kWarps];
  for (int64_t chunk = blockIdx.x; chunk * kNormChunk < elements; chunk += gridDim.x) {
    const int64_t end = min(elements, (chunk + 1) * kNormChunk);
    float sum = 0;
    for (int64_t i = chunk * kNormChunk + 4 * static_cast<int64_t>(threadIdx.x); i < end; i += 4 * kThreads) sum += squares(load_four(gradients, i, end));
    const double total = block_sum(static_cast<double>(sum), partial);
    if (threadIdx.x == 0) sums[chunk] = total;
  }
}

// One block.
__global__ void __launch_bounds__(kThreads) norm_kernel(const double* sums, int64_t chunks, GradientNorm request) {
  __shared__ double partial[kWarps];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < chunks; i += kThreads) sum += sums[i];
  const float norm = static_cast<float>(sqrt(block_sum(sum, partial)));
  if (threadIdx.x != 0) return;
  *request.norm = norm;
  if (request.scale != nullptr) *request.scale = norm > request.max_norm ? __fdiv_rn(request.max_norm, norm) : 1.0f;
  if (request.skip != nullptr && !(norm < __int_as_float(0x7f800000))) *request.skip = 1;
}

template <class... P>
bool aligned(const P*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

template <class Rule>
void sweep(const Stream& stream, const Rule& rule, bool vector) {
  enqueue(stream, update_kernel<Rule>, std::min(grid_for(rule.u.tensors.elements, kChunk), kMostBlocks), kThreads, 0, rule, vector);
}

void momentum_sweep(const Stream& stream, const MomentumUpdate& u, const Factor* factors) {
  sweep(stream, MomentumRule{u, factors}, aligned(u.values, u.gradients, u.velocity));
}

int64_t norm_slots(int64_t elements, int64_t tensors) { return elements / kNormChunk + tensors; }

}  // namespace

size_t lars_workspace_bytes(int64_t elements, int64_t tensors) {
  return static_cast<size_t>(norm_slots(elements, tensors)) * sizeof(Squares) + static_cast<size_t>(tensors) * sizeof(Factor);
}

size_t gradient_norm_workspace_bytes(int64_t elements) { return static_cast<size_t>(chunk_count(elements, kNormChunk)) * sizeof(double); }

void optimizer_adamw(const Stream& stream, const AdamwUpdate& u) {
  if (u.tensors.elements == 0) return;
  sweep(stream, AdamwRule{u}, aligned(u.values, u.gradients, u.first_moment, u.second_moment));
}

void optimizer_sgd(const Stream& stream, const MomentumUpdate& u) {
  if (u.tensors.elements > 0) momentum_sweep(stream, u, nullptr);
}

void optimizer_lars(const Stream& stream, const MomentumUpdate& u, Adaptation adaptation, void* workspace) {
  if (u.tensors.elements == 0) return;
  const int64_t slots = norm_slots(u.tensors.elements, u.tensors.count);
  Squares* const sums = static_cast<Squares*>(workspace);
  Factor* const factors = reinterpret_cast<Factor*>(sums + slots);
  enqueue(stream, norms_kernel, grid_for(slots, 1), kThreads, 0, u, adaptation == Adaptation::kLars, sums, slots);
  enqueue(stream, factors_kernel, grid_for(u.tensors.count, kWarps), kThreads, 0, u, adaptation, sums, slots, factors);
  momentum_sweep(stream, u, factors);
}

void optimizer_advance(const Stream& stream, int64_t* step, const int32_t* skip) {
  enqueue(stream, advance_kernel, 1, 1, 0, step, skip);
}

void optimizer_ema(const Stream& stream, float* average, const float* values, int64_t elements, const float* momentum, const int32_t* skip) {
  if (elements == 0) return;
  enqueue(stream, ema_kernel, grid_for(elements, 4 * kThreads), kThreads, 0, average, values, elements, momentum, skip, aligned(average, values));
}

void optimizer_gradient_norm(const Stream& stream, const GradientNorm& request, void* workspace) {
  double* const sums = static_cast<double*>(workspace);
  const int64_t chunks = chunk_count(request.elements, kNormChunk);
  if (chunks > 0) enqueue(stream, squares_kernel, grid_for(chunks, 1), kThreads, 0, request.gradients, request.elements, sums);
  enqueue(stream, norm_kernel, 1, kThreads, 0, sums, chunks, request);
}

}  // namespace gatun
