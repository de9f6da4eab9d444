// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/isa.h"
#include "kernels/common/loops.h"
#include "kernels/common/partials.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/group_norm/group_norm.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Sums stay per channel, so that rows are swept in vectors whatever the width of a group; groups are formed from the sums of their
// channels, in f64. A sample is one thread's: it fits into the second-level cache at usual sizes, and its sweeps run there.
void forward(int threads, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* beta, Rows<float> y,
             float* means, float* rstds, float epsilon, float* workspace) {
  const int64_t channels = shape.channels, width = shape.width();
  const double count = static_cast<double>(shape.positions * width);
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t b = 0; b < shape.samples; ++b) {
    float* sums = workspace + 6 * b * channels;
    float *mean = sums + channels, *scale = mean + channels, *shift = scale + channels;
    const int64_t first = b * shape.positions, last = first + shape.positions;
    std::fill_n(sums, channels, 0.0f);
    for (int64_t r = first; r < last; ++r) {
      const float* in = x.row(r);
      for_vectors(channels, [&](int64_t c, auto part) HWY_ATTR { part.store(hn::Add(part.load(sums + c), part.load(in + c)), sums + c); });
    }
    for (int64_t g = 0; g < shape.groups; ++g) {
      double total = 0;
      for (int64_t c = g * width; c < (g + 1) * width; ++c) total += static_cast<double>(sums[c]);
      means[b * shape.groups + g] = static_cast<float>(total / count);
      std::fill_n(mean + g * width, width, means[b * shape.groups + g]);
    }
    std::fill_n(sums, channels, 0.0f);
    for (int64_t r = first; r < last; ++r) {
      const float* in = x.row(r);
      for_vectors(channels, [&](int64_t c, auto part) HWY_ATTR {
        const VF centered = hn::Sub(part.load(in + c), part.load(mean + c));
        part.store(hn::MulAdd(centered, centered, part.load(sums + c)), sums + c);
      });
    }
    for (int64_t g = 0; g < shape.groups; ++g) {
      double total = 0;
      for (int64_t c = g * width; c < (g + 1) * width; ++c) total += static_cast<double>(sums[c]);
      const float rstd = static_cast<float>(1.0 / std::sqrt(total / count + static_cast<double>(epsilon)));
      rstds[b * shape.groups + g] = rstd;
      for (int64_t c = g * width; c < (g + 1) * width; ++c) {
        scale[c] = gamma == nullptr ? rstd : rstd * gamma[c];
        shift[c] = beta == nullptr ? 0.0f : beta[c];
      }
    }
    for (int64_t r = first; r < last; ++r) {
      const float* in = x.row(r);
      float* out = y.row(r);
      for_vectors(channels, [&](int64_t c, auto part) HWY_ATTR {
        const VF centered = hn::Sub(part.load(in + c), part.load(mean + c));
        part.store(hn::MulAdd(centered, part.load(scale + c), part.load(shift + c)), out + c);
      });
    }
  }
}

// Leaves Σ dy x̂ and Σ dy of each channel, sample by sample, in the first two sixths of each sample's workspace.
void backward(int threads, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* means, const float* rstds,
              Rows<const float> dy, Rows<float> dx, float* workspace) {
  const int64_t channels = shape.channels, width = shape.width();
  const double count = static_cast<double>(shape.positions * width);
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t b = 0; b < shape.samples; ++b) {
    float* dgamma = workspace + 6 * b * channels;
    float *dbeta = dgamma + channels, *mean = dbeta + channels, *rstd = mean + channels, *slope = rstd + channels,
          *common = slope + channels;
    const int64_t first = b * shape.positions, last = first + shape.positions;
    for (int64_t g = 0; g < shape.groups; ++g) {
      std::fill_n(mean + g * width, width, means[b * shape.groups + g]);
      std::fill_n(rstd + g * width, width, rstds[b * shape.groups + g]);
    }
    std::fill_n(dgamma, 2 * channels, 0.0f);
    for (int64_t r = first; r < last; ++r) {
      const float *in = x.row(r), *upstream = dy.row(r);
      for_vectors(channels, [&](int64_t c, auto part) HWY_ATTR {
        const VF unit = hn::Mul(hn::Sub(part.load(in + c), part.load(mean + c)), part.load(rstd + c));
        const VF gradient = part.load(upstream + c);
        part.store(hn::MulAdd(gradient, unit, part.load(dgamma + c)), dgamma + c);
        part.store(hn::Add(gradient, part.load(dbeta + c)), dbeta + c);
      });
    }
    for (int64_t g = 0; g < shape.groups; ++g) {
      double sum = 0, projection = 0;
      for (int64_t c = g * width; c < (g + 1) * width; ++c) {
        const double factor = gamma == nullptr ? 1.0 : static_cast<double>(gamma[c]);
        sum += factor * static_cast<double>(dbeta[c]);
        projection += factor * static_cast<double>(dgamma[c]);
      }
      // dx = rstd (dy gamma - common - (x - mean) slope), one sweep over whole rows. The product with rstd comes last: rounding it
      // into the three terms would cost digits where they cancel.
      for (int64_t c = g * width; c < (g + 1) * width; ++c) {
        slope[c] = static_cast<float>(static_cast<double>(rstd[c]) * projection / count);
        common[c] = static_cast<float>(sum / count);
      }
    }
    for (int64_t r = first; r < last; ++r) {
      const float *in = x.row(r), *upstream = dy.row(r);
      float* out = dx.row(r);
      for_vectors(channels, [&](int64_t c, auto part) HWY_ATTR {
        const VF centered = hn::Sub(part.load(in + c), part.load(mean + c));
        const VF gradient = gamma == nullptr ? part.load(upstream + c) : hn::Mul(part.load(upstream + c), part.load(gamma + c));
        const VF tangent = hn::NegMulAdd(centered, part.load(slope + c), hn::Sub(gradient, part.load(common + c)));
        part.store(hn::Mul(part.load(rstd + c), tangent), out + c);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

// Six values a channel and sample: sums of the channel, and what each channel multiplies and adds.
size_t group_norm_workspace(const GroupNormShape& shape) {
  return static_cast<size_t>(6 * shape.samples * shape.channels) * sizeof(float);
}

template <>
void group_norm_forward(const Stream& stream, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* beta,
                        Rows<float> y, float* mean, float* rstd, float epsilon, float* workspace) {
  GATUN_DISPATCH(forward)(stream.threads(), shape, x, gamma, beta, y, mean, rstd, epsilon, workspace);
}

template <>
void group_norm_backward(const Stream& stream, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* mean,
                         const float* rstd, Rows<const float> dy, Rows<float> dx, float* dgamma, float* dbeta, float* workspace) {
  GATUN_DISPATCH(backward)(stream.threads(), shape, x, gamma, mean, rstd, dy, dx, workspace);
  const int64_t step = 6 * shape.channels;
  if (dgamma != nullptr) add_partials(stream.threads(), workspace, shape.samples, step, shape.channels, dgamma);
  if (dbeta != nullptr) add_partials(stream.threads(), workspace + shape.channels, shape.samples, step, shape.channels, dbeta);
}

}  // namespace gatun
#endif
