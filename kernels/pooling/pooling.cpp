// SPDX-License-Identifier: Apache-2.0
// Forward: a vector of channels walks over its window. Backward gathers: every pixel of x visits the windows that contain it, so no two
// threads write one place and the order of each sum is fixed.
#include "kernels/pooling/pooling.h"

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pooling/pooling.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Channels of one work item: with one window a batch element (global pooling) there must still be work for every thread.
constexpr int64_t kPoolingChannels = 256;

HWY_INLINE VF load_channels(F32 d, const float* p, int64_t live, int64_t lanes) {
  return live >= lanes ? hn::LoadU(d, p) : load_tail(d, p, live);
}

HWY_INLINE void store_channels(VF value, F32 d, float* p, int64_t live, int64_t lanes) {
  if (live >= lanes) {
    hn::StoreU(value, d, p);
  } else {
    store_tail(value, d, p, live);
  }
}

using VI = hn::Vec<I32>;

// Integers are moved as the floats of the same bits.
HWY_INLINE VI load_index(I32 di, const int32_t* p, int64_t live, int64_t lanes) {
  return hn::BitCast(di, load_channels(F32(), reinterpret_cast<const float*>(p), live, lanes));
}
HWY_INLINE void store_index(VI value, const int32_t* p, int64_t live, int64_t lanes) {
  const F32 d;
  store_channels(hn::BitCast(d, value), d, reinterpret_cast<float*>(const_cast<int32_t*>(p)), live, lanes);
}

static void max_window(const PoolingShape& s, const float* image, int64_t i, int64_t j, int64_t begin, int64_t end, float* y, int32_t* argmax) {
  const F32 d;
  const I32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t top = s.rows.begin(i), bottom = s.rows.end(i), left = s.columns.begin(j), right = s.columns.end(j);
  for (int64_t c = begin; c < end; c += lanes) {
    const int64_t live = end - c;
    VF best = load_channels(d, image + s.x.offset(0, top, left) + c, live, lanes);
    VI winner = hn::Set(di, static_cast<int32_t>(top * s.x.width + left));
    for (int64_t row = top; row < bottom; ++row) {
      for (int64_t column = left; column < right; ++column) {
        const VF value = load_channels(d, image + s.x.offset(0, row, column) + c, live, lanes);
        // A NaN beats every number and nothing beats a NaN.
        const auto better = hn::Or(hn::Gt(value, best), hn::And(hn::IsNaN(value), hn::Not(hn::IsNaN(best))));
        best = hn::IfThenElse(better, value, best);
        winner = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, static_cast<int32_t>(row * s.x.width + column)), winner);
      }
    }
    store_channels(best, d, y + c, live, lanes);
    store_index(winner, argmax + c, live, lanes);
  }
}

static void average_window(const PoolingShape& s, const float* image, int64_t i, int64_t j, int64_t begin, int64_t end, float* y) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t top = s.rows.begin(i), bottom = s.rows.end(i), left = s.columns.begin(j), right = s.columns.end(j);
  const VF divisor = hn::Set(d, s.divisor(i, j));
  for (int64_t c = begin; c < end; c += lanes) {
    const int64_t live = end - c;
    VF sum = hn::Zero(d);
    for (int64_t row = top; row < bottom; ++row) {
      const float* line = image + s.x.offset(0, row, 0) + c;
      for (int64_t column = left; column < right; ++column) {
        sum = hn::Add(sum, load_channels(d, line + column * s.x.pixel_stride, live, lanes));
      }
    }
    store_channels(hn::Div(sum, divisor), d, y + c, live, lanes);
  }
}

// body(b, row, first channel, end of channels) for every row of a grid.
template <class Body>
HWY_INLINE void for_rows(int threads, int64_t batch, int64_t height, int64_t channels, const Body& body) {
  const int64_t blocks = (channels + kPoolingChannels - 1) / kPoolingChannels;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t item = 0; item < batch * height * blocks; ++item) {
    const int64_t begin = item % blocks * kPoolingChannels;
    const int64_t row = item / blocks;
    body(row / height, row % height, begin, std::min(channels, begin + kPoolingChannels));
  }
}

void max_forward(int threads, const PoolingShape& s, const float* x, float* y, int32_t* argmax) {
  for_rows(threads, s.batch, s.y.height, s.channels, [&](int64_t b, int64_t i, int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t j = 0; j < s.y.width; ++j) {
      max_window(s, x + b * s.x.batch_stride, i, j, begin, end, y + s.y.offset(b, i, j), argmax + s.argmax(b, i, j));
    }
  });
}

void average_forward(int threads, const PoolingShape& s, const float* x, float* y) {
  for_rows(threads, s.batch, s.y.height, s.channels, [&](int64_t b, int64_t i, int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t j = 0; j < s.y.width; ++j) {
      average_window(s, x + b * s.x.batch_stride, i, j, begin, end, y + s.y.offset(b, i, j));
    }
  });
}

void max_backward(int threads, const PoolingShape& s, const float* dy, const int32_t* argmax, float* dx) {
  for_rows(threads, s.batch, s.x.height, s.channels, [&](int64_t b, int64_t row, int64_t begin, int64_t end) HWY_ATTR {
    const F32 d;
    const I32 di;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t column = 0; column < s.x.width; ++column) {
      const VI self = hn::Set(di, static_cast<int32_t>(row * s.x.width + column));
      for (int64_t c = begin; c < end; c += lanes) {
        const int64_t live = end - c;
        VF sum = hn::Zero(d);
        for (int64_t i = s.rows.first(row); i < s.rows.last(row); ++i) {
          for (int64_t j = s.columns.first(column); j < s.columns.last(column); ++j) {
            const VI winner = load_index(di, argmax + s.argmax(b, i, j) + c, live, lanes);
            const VF gradient = load_channels(d, dy + s.y.offset(b, i, j) + c, live, lanes);
            sum = hn::Add(sum, hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(winner, self)), gradient));
          }
        }
        store_channels(sum, d, dx + s.x.offset(b, row, column) + c, live, lanes);
      }
    }
  });
}

void average_backward(int threads, const PoolingShape& s, const float* dy, float* dx) {
  for_rows(threads, s.batch, s.x.height, s.channels, [&](int64_t b, int64_t row, int64_t begin, int64_t end) HWY_ATTR {
    const F32 d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t column = 0; column < s.x.width; ++column) {
      for (int64_t c = begin; c < end; c += lanes) {
        const int64_t live = end - c;
        VF sum = hn::Zero(d);
        for (int64_t i = s.rows.first(row); i < s.rows.last(row); ++i) {
          for (int64_t j = s.columns.first(column); j < s.columns.last(column); ++j) {
            sum = hn::Add(sum, hn::Div(load_channels(d, dy + s.y.offset(b, i, j) + c, live, lanes), hn::Set(d, s.divisor(i, j))));
          }
        }
        store_channels(sum, d, dx + s.x.offset(b, row, column) + c, live, lanes);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

void pooling_max_forward(const Stream& stream, const PoolingShape& shape, const float* x, float* y, int32_t* argmax) {
  GATUN_DISPATCH(max_forward)(stream.threads(), shape, x, y, argmax);
}

void pooling_max_backward(const Stream& stream, const PoolingShape& shape, const float* dy, const int32_t* argmax, float* dx) {
  GATUN_DISPATCH(max_backward)(stream.threads(), shape, dy, argmax, dx);
}

void pooling_average_forward(const Stream& stream, const PoolingShape& shape, const float* x, float* y) {
  GATUN_DISPATCH(average_forward)(stream.threads(), shape, x, y);
}

void pooling_average_backward(const Stream& stream, const PoolingShape& shape, const float* dy, float* dx) {
  GATUN_DISPATCH(average_backward)(stream.threads(), shape, dy, dx);
}

}  // namespace gatun
#endif
