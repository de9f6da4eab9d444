// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/common/isa.h"
#include "kernels/common/loops.h"
#include "kernels/common/partials.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/batch_norm/batch_norm.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Rows of one chunk: it stays in the first-level cache between its two passes. The size depends on the shape only.
constexpr int64_t batch_norm_chunk(int64_t columns) { return std::clamp<int64_t>(8192 / std::max<int64_t>(columns, 1), 32, 512); }

// Neighbouring vectors of channels whose parameters and sums stay in registers while rows pass by.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kVectors = 4;
#else
constexpr int kVectors = 2;
#endif

template <int kCount>
using Count = std::integral_constant<int, kCount>;

// body(first column, Count<vectors>, WholeVector or PartVector)
template <class Body>
HWY_INLINE void for_blocks(int64_t columns, const Body& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  int64_t c = 0;
  for (; c + kVectors * lanes <= columns; c += kVectors * lanes) body(c, Count<kVectors>(), WholeVector{});
  for (; c + lanes <= columns; c += lanes) body(c, Count<1>(), WholeVector{});
  if (c < columns) body(c, Count<1>(), PartVector{columns - c});
}

// body(first row, last row, first column, Count<vectors>, WholeVector or PartVector) over rows [first, last): all of them at once where they
// are one block wide, else kGroup at a time, which memory delivers faster than a block of columns of every row.
template <int kGroup, class Body>
HWY_INLINE void for_groups(int64_t first, int64_t last, int64_t columns, const Body& body) {
  const bool narrow = columns <= kVectors * static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t group = narrow ? std::max<int64_t>(last - first, 1) : kGroup;
  for (int64_t r = first; r < last; r += group) {
    for_blocks(columns, [&](int64_t c, auto count, auto part) HWY_ATTR { body(r, std::min(last, r + group), c, count, part); });
  }
}

// What normalisation needs of a block of channels.
template <int kCount, class Part>
struct Channels {
  VF mean[kCount], rstd[kCount], scale[kCount], beta[kCount];
  HWY_INLINE Channels(const BatchNormChannels& all, int64_t c, Part part) {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v, c += lanes) {
      mean[v] = part.load(all.mean + c);
      rstd[v] = part.load(all.rstd + c);
      scale[v] = all.gamma ? hn::Mul(rstd[v], part.load(all.gamma + c)) : rstd[v];
      beta[v] = all.beta ? part.load(all.beta + c) : hn::Zero(F32());
    }
  }
  // Forward and backward share this line, so that the mask of the rectifier is the same to the bit.
  HWY_INLINE VF normalized(int v, VF x) const { return hn::MulAdd(hn::Sub(x, mean[v]), scale[v], beta[v]); }
};

// A NaN is not "below 0": its gradient goes on.
HWY_INLINE VF rectified_gradient(VF y, VF dy) { return hn::IfThenZeroElse(hn::Le(y, hn::Zero(F32())), dy); }

// sums[c] += Σ term(x[r][c], c) over rows [first, last)
template <class Term>
HWY_INLINE void add_terms(Rows<const float> x, int64_t first, int64_t last, float* sums, const Term& term) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  for_groups<4>(first, last, x.columns, [&](int64_t begin, int64_t end, int64_t c, auto count, auto part) HWY_ATTR {
    constexpr int kCount = decltype(count)::value;
    VF even[kCount], odd[kCount];
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) even[v] = odd[v] = hn::Zero(F32());
    int64_t r = begin;
    for (; r + 2 <= end; r += 2) {
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        even[v] = term(even[v], part.load(x.row(r) + c + v * lanes), c + v * lanes, part);
        odd[v] = term(odd[v], part.load(x.row(r + 1) + c + v * lanes), c + v * lanes, part);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) {
      if (r < end) even[v] = term(even[v], part.load(x.row(r) + c + v * lanes), c + v * lanes, part);
      part.store(hn::Add(part.load(sums + c + v * lanes), hn::Add(even[v], odd[v])), sums + c + v * lanes);
    }
  });
}

// partial: for each chunk its means (columns), then its centered sums of squares (columns)
void statistics(int threads, Rows<const float> x, float* partial) {
  const int64_t chunk = batch_norm_chunk(x.columns);
  const int64_t chunks = chunk_count(x.rows, chunk);
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t k = 0; k < chunks; ++k) {
    const int64_t first = k * chunk, last = std::min(x.rows, first + chunk);
    float* mean = partial + 2 * k * x.columns;
    std::fill_n(mean, 2 * x.columns, 0.0f);
    add_terms(x, first, last, mean, [](VF sum, VF value, int64_t, auto) HWY_ATTR { return hn::Add(sum, value); });
    const VF share = hn::Set(F32(), 1.0f / static_cast<float>(last - first));
    for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR { part.store(hn::Mul(part.load(mean + c), share), mean + c); });
    add_terms(x, first, last, mean + x.columns, [mean](VF sum, VF value, int64_t c, auto part) HWY_ATTR {
      const VF distance = hn::Sub(value, part.load(mean + c));
      return hn::MulAdd(distance, distance, sum);
    });
  }
}

// residual.row(0) may be null: nothing is added
void apply(int threads, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> residual, Rows<float> y) {
  const int64_t chunk = batch_norm_chunk(x.columns);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t first = 0; first < x.rows; first += chunk) {
    for_groups<1>(first, std::min(x.rows, first + chunk), x.columns, [&](int64_t begin, int64_t end, int64_t c, auto count, auto part) HWY_ATTR {
      constexpr int kCount = decltype(count)::value;
      const Channels<kCount, decltype(part)> at(channels, c, part);
      const auto rows = [&](auto add, auto relu) HWY_ATTR {
        for (int64_t r = begin; r < end; ++r) {
          const float* in = x.row(r) + c;
          float* out = y.row(r) + c;
#pragma GCC unroll 4
          for (int v = 0; v < kCount; ++v) {
            VF value = at.normalized(v, part.load(in + v * lanes));
            if constexpr (decltype(add)::value) value = hn::Add(value, part.load(residual.row(r) + c + v * lanes));
            if constexpr (decltype(relu)::value) value = maximum(value, hn::Zero(F32()));
            part.store(value, out + v * lanes);
          }
        }
      };
      const bool add = residual.data != nullptr;
      if (add && channels.relu) rows(std::true_type(), std::true_type());
      else if (add) rows(std::true_type(), std::false_type());
      else if (channels.relu) rows(std::false_type(), std::true_type());
      else rows(std::false_type(), std::false_type());
    });
  }
}

// partial: for each chunk Σ dy x̂ (columns), then Σ dy (columns). Where y is given it tells what the rectifier let through.
void backward_sums(int threads, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> y, Rows<const float> dy,
                   Rows<float> dresidual, float* partial) {
  const int64_t chunk = batch_norm_chunk(x.columns);
  const int64_t chunks = chunk_count(x.rows, chunk);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t k = 0; k < chunks; ++k) {
    const int64_t first = k * chunk, last = std::min(x.rows, first + chunk);
    float* dgamma = partial + 2 * k * x.columns;
    std::fill_n(dgamma, 2 * x.columns, 0.0f);
    for_groups<4>(first, last, x.columns, [&](int64_t begin, int64_t end, int64_t c, auto count, auto part) HWY_ATTR {
      constexpr int kCount = decltype(count)::value;
      const Channels<kCount, decltype(part)> at(channels, c, part);
      VF products[kCount], sums[kCount];
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        products[v] = part.load(dgamma + c + v * lanes);
        sums[v] = part.load(dgamma + x.columns + c + v * lanes);
      }
      const auto rows = [&](auto relu, auto given) HWY_ATTR {
        for (int64_t r = begin; r < end; ++r) {
          const float *in = x.row(r) + c, *upstream = dy.row(r) + c;
#pragma GCC unroll 4
          for (int v = 0; v < kCount; ++v) {
            const VF value = part.load(in + v * lanes);
            VF gradient = part.load(upstream + v * lanes);
            if constexpr (decltype(given)::value) gradient = rectified_gradient(part.load(y.row(r) + c + v * lanes), gradient);
            else if constexpr (decltype(relu)::value) gradient = rectified_gradient(at.normalized(v, value), gradient);
            if constexpr (decltype(given)::value) part.store(gradient, dresidual.row(r) + c + v * lanes);
            products[v] = hn::MulAdd(gradient, hn::Mul(hn::Sub(value, at.mean[v]), at.rstd[v]), products[v]);
            sums[v] = hn::Add(gradient, sums[v]);
          }
        }
      };
      if (y.data != nullptr) rows(std::true_type(), std::true_type());
      else if (channels.relu) rows(std::true_type(), std::false_type());
      else rows(std::false_type(), std::false_type());
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        part.store(products[v], dgamma + c + v * lanes);
        part.store(sums[v], dgamma + x.columns + c + v * lanes);
      }
    });
  }
}

void backward(int threads, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> dy, const float* dgamma,
              const float* dbeta, int64_t count, Rows<float> dx) {
  const int64_t chunk = batch_norm_chunk(x.columns);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t first = 0; first < x.rows; first += chunk) {
    for_groups<1>(first, std::min(x.rows, first + chunk), x.columns, [&](int64_t begin, int64_t end, int64_t c, auto vectors, auto part) HWY_ATTR {
      constexpr int kCount = decltype(vectors)::value;
      const Channels<kCount, decltype(part)> at(channels, c, part);
      const VF share = hn::Set(F32(), 1.0f / static_cast<float>(count));
      // The means of dy x̂ and dy, times -1; the former for x - mean.
      VF slope[kCount], offset[kCount];
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) {
        slope[v] = hn::Neg(hn::Mul(hn::Mul(part.load(dgamma + c + v * lanes), share), at.rstd[v]));
        offset[v] = hn::Neg(hn::Mul(part.load(dbeta + c + v * lanes), share));
      }
      const auto rows = [&](auto relu) HWY_ATTR {
        for (int64_t r = begin; r < end; ++r) {
          const float *in = x.row(r) + c, *upstream = dy.row(r) + c;
          float* out = dx.row(r) + c;
#pragma GCC unroll 4
          for (int v = 0; v < kCount; ++v) {
            const VF value = part.load(in + v * lanes);
            VF gradient = part.load(upstream + v * lanes);
            if constexpr (decltype(relu)::value) gradient = rectified_gradient(at.normalized(v, value), gradient);
            const VF centered = hn::Add(gradient, hn::MulAdd(hn::Sub(value, at.mean[v]), slope[v], offset[v]));
            part.store(hn::Mul(at.scale[v], centered), out + v * lanes);
          }
        }
      };
      if (channels.relu) rows(std::true_type());
      else rows(std::false_type());
    });
  }
}

void inference(int threads, Rows<const float> x, const BatchNormChannels& channels, const float* variance, double epsilon, Rows<float> y) {
  constexpr int64_t kBlock = 256;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  // Blocks of channels, because rstd of all of them has no place to be kept without a workspace.
#pragma omp parallel for collapse(2) num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t first_row = 0; first_row < x.rows; first_row += kBlock) {
    for (int64_t first = 0; first < x.columns; first += kBlock) {
      HWY_ALIGN float rstd[kBlock];
      const int64_t width = std::min(kBlock, x.columns - first);
      for (int64_t c = 0; c < width; ++c) rstd[c] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[first + c]) + epsilon));
      const BatchNormChannels block{channels.mean + first, rstd, channels.gamma ? channels.gamma + first : nullptr,
                                    channels.beta ? channels.beta + first : nullptr, channels.relu};
      for_groups<1>(first_row, std::min(x.rows, first_row + kBlock), width, [&](int64_t begin, int64_t end, int64_t c, auto count, auto part) HWY_ATTR {
        const Channels<decltype(count)::value, decltype(part)> at(block, c, part);
        for (int64_t r = begin; r < end; ++r) {
#pragma GCC unroll 4
          for (int v = 0; v < decltype(count)::value; ++v) {
            const VF value = at.normalized(v, part.load(x.row(r) + first + c + v * lanes));
            part.store(block.relu ? maximum(value, hn::Zero(F32())) : value, y.row(r) + first + c + v * lanes);
          }
        }
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

using HWY_NAMESPACE::batch_norm_chunk;

size_t batch_norm_workspace(int64_t rows, int64_t columns) {
  return static_cast<size_t>(2 * chunk_count(rows, batch_norm_chunk(columns)) * columns) * sizeof(float);
}

template <>
void batch_norm_statistics(const Stream& stream, Rows<const float> x, float* mean, float* centered, float* workspace) {
  GATUN_DISPATCH(statistics)(stream.threads(), x, workspace);
  // Chunks join in order (Chan, Golub and LeVeque, 1979).
  const int64_t chunk = batch_norm_chunk(x.columns);
  const int64_t chunks = chunk_count(x.rows, chunk);
  constexpr int64_t kBlock = 64;
#pragma omp parallel for num_threads(threads_for(stream.threads(), chunks * x.columns)) schedule(static)
  for (int64_t first = 0; first < x.columns; first += kBlock) {
    const int64_t width = std::min(kBlock, x.columns - first);
    double means[kBlock] = {}, squares[kBlock] = {};
    double before = 0;
    for (int64_t k = 0; k < chunks; ++k) {
      const double here = static_cast<double>(std::min(chunk, x.rows - k * chunk));
      const double total = before + here;
      const float* from = workspace + 2 * k * x.columns + first;
      for (int64_t c = 0; c < width; ++c) {
        const double delta = static_cast<double>(from[c]) - means[c];
        means[c] += delta * (here / total);
        squares[c] += static_cast<double>(from[x.columns + c]) + delta * delta * (before * here / total);
      }
      before = total;
    }
    for (int64_t c = 0; c < width; ++c) {
      mean[first + c] = static_cast<float>(means[c]);
      centered[first + c] = static_cast<float>(squares[c]);
    }
  }
}

void batch_norm_update(const Stream&, const float* mean, const float* centered, int64_t columns, int64_t count, double epsilon,
                       const float* momentum, float* running_mean, float* running_variance, float* rstd) {
  const double n = static_cast<double>(count);
  for (int64_t c = 0; c < columns; ++c) {
    const double squares = static_cast<double>(centered[c]);
    rstd[c] = static_cast<float>(1.0 / std::sqrt(squares / n + epsilon));
    if (running_mean == nullptr) continue;
    const double m = static_cast<double>(*momentum);
    running_mean[c] = static_cast<float>((1 - m) * static_cast<double>(running_mean[c]) + m * static_cast<double>(mean[c]));
    running_variance[c] = static_cast<float>((1 - m) * static_cast<double>(running_variance[c]) + m * squares / (n - 1));
  }
}

template <>
void batch_norm_apply(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> residual, Rows<float> y) {
  GATUN_DISPATCH(apply)(stream.threads(), x, channels, residual, y);
}

template <>
void batch_norm_inference(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, const float* variance,
                          double epsilon, Rows<float> y) {
  GATUN_DISPATCH(inference)(stream.threads(), x, channels, variance, epsilon, y);
}

template <>
void batch_norm_backward_sums(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> y,
                              Rows<const float> dy, Rows<float> dresidual, float* dgamma, float* dbeta, float* workspace) {
  GATUN_DISPATCH(backward_sums)(stream.threads(), x, channels, y, dy, dresidual, workspace);
  const int64_t chunks = chunk_count(x.rows, batch_norm_chunk(x.columns));
  add_partials(stream.threads(), workspace, chunks, 2 * x.columns, x.columns, dgamma);
  add_partials(stream.threads(), workspace + x.columns, chunks, 2 * x.columns, x.columns, dbeta);
}

template <>
void batch_norm_backward(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> dy,
                         const float* dgamma, const float* dbeta, int64_t count, Rows<float> dx) {
  GATUN_DISPATCH(backward)(stream.threads(), x, channels, dy, dgamma, dbeta, count, dx);
}

}  // namespace gatun
#endif
