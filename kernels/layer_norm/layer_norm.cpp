// SPDX-License-Identifier: Apache-2.0
#include "kernels/layer_norm/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/isa.h"
#include "kernels/common/loops.h"
#include "kernels/common/partials.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layer_norm/layer_norm.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// The row stays in the first-level cache over its three sweeps, so the accurate two-sweep variance costs no memory traffic.
void forward(int threads, Rows<const float> x, const float* gamma, const float* beta, Rows<float> y, float* means, float* rstds,
             float epsilon) {
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t r = 0; r < x.rows; ++r) {
    const F32 d;
    const float* in = x.row(r);
    float* out = y.row(r);
    const float count = static_cast<float>(x.columns);
    VF sum = hn::Zero(d);
    for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR { sum = hn::Add(sum, part.load(in + c)); });
    means[r] = sum_lanes(d, sum) / count;
    const VF mean = hn::Set(d, means[r]);
    VF squares = hn::Zero(d);
    for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
      const VF centered = part.keep(hn::Sub(part.load(in + c), mean));
      squares = hn::MulAdd(centered, centered, squares);
    });
    rstds[r] = 1.0f / std::sqrt(sum_lanes(d, squares) / count + epsilon);
    const VF rstd = hn::Set(d, rstds[r]);
    for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
      VF value = hn::Mul(hn::Sub(part.load(in + c), mean), rstd);
      if (gamma != nullptr) value = hn::Mul(value, part.load(gamma + c));
      if (beta != nullptr) value = hn::Add(value, part.load(beta + c));
      part.store(value, out + c);
    });
  }
}

// partial: for each chunk of rows Σ dy x̂ (columns), then Σ dy (columns); NULL where neither is wanted
void backward(int threads, Rows<const float> x, const float* gamma, const float* means, const float* rstds, Rows<const float> dy,
              Rows<float> dx, float* partial) {
  const int64_t chunk = partial_rows(x.rows);
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t k = 0; k < partial_chunks(x.rows); ++k) {
    const F32 d;
    float* dgamma = partial == nullptr ? nullptr : partial + 2 * k * x.columns;
    float* dbeta = dgamma + (partial == nullptr ? 0 : x.columns);
    if (partial != nullptr) std::fill_n(dgamma, 2 * x.columns, 0.0f);
    for (int64_t r = k * chunk; r < std::min(x.rows, (k + 1) * chunk); ++r) {
      const float *in = x.row(r), *upstream = dy.row(r);
      float* out = dx.row(r);
      const VF mean = hn::Set(d, means[r]), rstd = hn::Set(d, rstds[r]);
      VF sum = hn::Zero(d), projection = hn::Zero(d);
      for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
        const VF unit = hn::Mul(hn::Sub(part.load(in + c), mean), rstd);
        const VF gradient = part.load(upstream + c);
        const VF scaled = gamma == nullptr ? gradient : hn::Mul(gradient, part.load(gamma + c));
        sum = hn::Add(sum, scaled);
        projection = hn::MulAdd(scaled, unit, projection);
        if (partial != nullptr) {
          part.store(hn::MulAdd(gradient, unit, part.load(dgamma + c)), dgamma + c);
          part.store(hn::Add(gradient, part.load(dbeta + c)), dbeta + c);
        }
      });
      const float count = static_cast<float>(x.columns);
      const VF average = hn::Set(d, sum_lanes(d, sum) / count), slope = hn::Set(d, sum_lanes(d, projection) / count);
      for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
        const VF unit = hn::Mul(hn::Sub(part.load(in + c), mean), rstd);
        const VF gradient = part.load(upstream + c);
        const VF scaled = gamma == nullptr ? gradient : hn::Mul(gradient, part.load(gamma + c));
        part.store(hn::Mul(rstd, hn::NegMulAdd(unit, slope, hn::Sub(scaled, average))), out + c);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

size_t layer_norm_workspace(int64_t rows, int64_t columns) {
  return static_cast<size_t>(2 * partial_chunks(rows) * columns) * sizeof(float);
}

template <>
void layer_norm_forward(const Stream& stream, Rows<const float> x, const float* gamma, const float* beta, Rows<float> y, float* mean,
                        float* rstd, float epsilon) {
  GATUN_DISPATCH(forward)(stream.threads(), x, gamma, beta, y, mean, rstd, epsilon);
}

template <>
void layer_norm_backward(const Stream& stream, Rows<const float> x, const float* gamma, const float* mean, const float* rstd,
                         Rows<const float> dy, Rows<float> dx, float* dgamma, float* dbeta, float* workspace) {
  const bool parameters = dgamma != nullptr || dbeta != nullptr;
  GATUN_DISPATCH(backward)(stream.threads(), x, gamma, mean, rstd, dy, dx, parameters ? workspace : nullptr);
  const int64_t chunks = partial_chunks(x.rows);
  if (dgamma != nullptr) add_partials(stream.threads(), workspace, chunks, 2 * x.columns, x.columns, dgamma);
  if (dbeta != nullptr) add_partials(stream.threads(), workspace + x.columns, chunks, 2 * x.columns, x.columns, dbeta);
}

}  // namespace gatun
#endif
