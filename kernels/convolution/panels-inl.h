// SPDX-License-Identifier: Apache-2.0
// Weights as the panels that gemm_panels reads. Re-included per instruction set.
#if defined(GATUN_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_PANELS_INL_H_
#undef GATUN_PANELS_INL_H_
#else
#define GATUN_PANELS_INL_H_
#endif

#include <algorithm>

#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/gather.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

HWY_INLINE int64_t padded_outputs(int64_t outputs) { return round_up(outputs, static_cast<int64_t>(hn::Lanes(F32()))); }

// Where a vector of output channels lies: its panel's first channel and width in vectors.
struct PanelPlace {
  int64_t panel = 0;
  int width;
  HWY_INLINE PanelPlace(int64_t outputs, int64_t vector) : width(gemm_panel_vectors(outputs)) {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
    while (panel + width * lanes <= vector * lanes) {
      panel += width * lanes;
      width = gemm_panel_vectors(outputs - panel);
    }
  }
};

// Weights as panels of whole vectors of output channels: panel[k][n], k over (kernel row, kernel column, channel), zeros behind the last.
// Every thread of a parallel region calls it, and waits for the others before it reads.
HWY_INLINE void pack_weights(const Gather& g, const float* weights, float* packed) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t depth = g.depth();
  const int64_t taps = g.rows.count * g.columns.count;
  const int64_t vectors = padded_outputs(g.outputs) / lanes;
#pragma omp for schedule(static) collapse(2) nowait
  for (int64_t vector = 0; vector < vectors; ++vector) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      const PanelPlace place(g.outputs, vector);
      const int64_t n = vector * lanes;
      const int64_t live = std::min(lanes, g.outputs - n);
      const int64_t u = g.rows.kernel + tap / g.columns.count * g.rows.kernel_step;
      const int64_t v = g.columns.kernel + tap % g.columns.count * g.columns.kernel_step;
      const float* from = weights + u * g.weight_row + v * g.weight_column + n * g.weight_output;
      float* to = packed + place.panel * depth + tap * g.channels * place.width * lanes + (n - place.panel);
      const int64_t step = place.width * lanes;
      if (g.weight_output == 1) {
        const F32 d;
        for (int64_t c = 0; c < g.channels; ++c) hn::StoreU(gemm_load(d, from + c * g.weight_channel, live, lanes), d, to + c * step);
        continue;
      }
      // Turned block by block, which stay in the first-level cache.
      for (int64_t first = 0; first < g.channels; first += 16) {
        const int64_t end = std::min(first + 16, g.channels);
        for (int64_t lane = 0; lane < live; ++lane) {
          for (int64_t c = first; c < end; ++c) to[c * step + lane] = from[c * g.weight_channel + lane * g.weight_output];
        }
        for (int64_t lane = live; lane < lanes; ++lane) {
          for (int64_t c = first; c < end; ++c) to[c * step + lane] = 0.0f;
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif
