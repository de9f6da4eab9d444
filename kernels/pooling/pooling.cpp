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

// The pixels of x in one window.
struct WindowBox {
  int64_t top, bottom, left, right;
  WindowBox(const PoolingShape& s, int64_t i, int64_t j)
      : top(s.rows.begin(i)), bottom(s.rows.end(i)), left(s.columns.begin(j)), right(s.columns.end(j)) {}
};

// kVectors vectors of channels side by side: their chains of comparisons overlap.
template <int kVectors>
HWY_INLINE void max_channels(const PoolingShape& s, const WindowBox& box, const float* image, int64_t live, float* y, int32_t* argmax) {
  const F32 d;
  const I32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF best[kVectors];
  VI winner[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    best[v] = load_channels(d, image + s.x.offset(0, box.top, box.left) + v * lanes, live, lanes);
    winner[v] = hn::Set(di, static_cast<int32_t>(box.top * s.x.width + box.left));
  }
  for (int64_t row = box.top; row < box.bottom; ++row) {
    const float* from = image + s.x.offset(0, row, box.left);
    int32_t pixel = static_cast<int32_t>(row * s.x.width + box.left);
    for (int64_t column = box.left; column < box.right; ++column, ++pixel, from += s.x.pixel_stride) {
      const VI self = hn::Set(di, pixel);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const VF value = load_channels(d, from + v * lanes, live, lanes);
        // "Not at most" is true for a larger value and for a NaN; nothing beats a NaN.
        const auto better = hn::AndNot(hn::IsNaN(best[v]), hn::Not(hn::Le(value, best[v])));
        best[v] = hn::IfThenElse(better, value, best[v]);
        winner[v] = hn::IfThenElse(hn::RebindMask(di, better), self, winner[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    store_channels(best[v], d, y + v * lanes, live, lanes);
    store_index(winner[v], argmax + v * lanes, live, lanes);
  }
}

static void max_window(const PoolingShape& s, const float* image, int64_t i, int64_t j, int64_t begin, int64_t end, float* y, int32_t* argmax) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const WindowBox box(s, i, j);
  int64_t c = begin;
  for (; c + 4 * lanes <= end; c += 4 * lanes) max_channels<4>(s, box, image + c, lanes, y + c, argmax + c);
  for (; c < end; c += lanes) max_channels<1>(s, box, image + c, end - c, y + c, argmax + c);
}

template <int kVectors>
HWY_INLINE void average_channels(const PoolingShape& s, const WindowBox& box, float divisor, const float* image, int64_t live, float* y) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sum[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
  for (int64_t row = box.top; row < box.bottom; ++row) {
    const float* from = image + s.x.offset(0, row, box.left);
    for (int64_t column = box.left; column < box.right; ++column, from += s.x.pixel_stride) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Add(sum[v], load_channels(d, from + v * lanes, live, lanes));
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) store_channels(hn::Div(sum[v], hn::Set(d, divisor)), d, y + v * lanes, live, lanes);
}

static void average_window(const PoolingShape& s, const float* image, int64_t i, int64_t j, int64_t begin, int64_t end, float* y) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const WindowBox box(s, i, j);
  const float divisor = s.divisor(i, j);
  int64_t c = begin;
  for (; c + 4 * lanes <= end; c += 4 * lanes) average_channels<4>(s, box, divisor, image + c, lanes, y + c);
  for (; c < end; c += lanes) average_channels<1>(s, box, divisor, image + c, end - c, y + c);
}

// dx of one pixel, channels [begin, end): part(window row, window column, channel, live, lanes) of every window that contains it, summed.
// The sum stays in dx, which is in the nearest cache: an inner loop over windows would set each of them up again for every vector.
template <class Part>
HWY_INLINE void gather_windows(const PoolingShape& s, int64_t row, int64_t column, int64_t begin, int64_t end, float* dx, const Part& part) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t top = s.rows.first(row), bottom = s.rows.last(row), left = s.columns.first(column), right = s.columns.last(column);
  if (top >= bottom || left >= right) {
    std::fill(dx + begin, dx + end, 0.0f);
    return;
  }
  for (int64_t i = top; i < bottom; ++i) {
    for (int64_t j = left; j < right; ++j) {
      const bool first = i == top && j == left;
      const auto window = part(i, j);
      for (int64_t c = begin; c < end; c += lanes) {
        const int64_t live = end - c;
        const VF gradient = window(c, live, lanes);
        store_channels(first ? gradient : hn::Add(load_channels(d, dx + c, live, lanes), gradient), d, dx + c, live, lanes);
      }
    }
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
    for (int64_t column = 0; column < s.x.width; ++column) {
      const VI self = hn::Set(di, static_cast<int32_t>(row * s.x.width + column));
      gather_windows(s, row, column, begin, end, dx + s.x.offset(b, row, column), [&](int64_t i, int64_t j) HWY_ATTR {
        const int32_t* winner = argmax + s.argmax(b, i, j);
        const float* gradient = dy + s.y.offset(b, i, j);
        return [=](int64_t c, int64_t live, int64_t lanes) HWY_ATTR {
          const auto won = hn::RebindMask(d, hn::Eq(load_index(di, winner + c, live, lanes), self));
          return hn::IfThenElseZero(won, load_channels(d, gradient + c, live, lanes));
        };
      });
    }
  });
}

void average_backward(int threads, const PoolingShape& s, const float* dy, float* dx) {
  for_rows(threads, s.batch, s.x.height, s.channels, [&](int64_t b, int64_t row, int64_t begin, int64_t end) HWY_ATTR {
    const F32 d;
    for (int64_t column = 0; column < s.x.width; ++column) {
      gather_windows(s, row, column, begin, end, dx + s.x.offset(b, row, column), [&](int64_t i, int64_t j) HWY_ATTR {
        const float* gradient = dy + s.y.offset(b, i, j);
        const VF divisor = hn::Set(d, s.divisor(i, j));
        return [=](int64_t c, int64_t live, int64_t lanes) HWY_ATTR {
          return hn::Div(load_channels(d, gradient + c, live, lanes), divisor);
        };
      });
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
void pooling_max_forward<float>(const Stream& stream, const PoolingShape& shape, const float* x, float* y, int32_t* argmax) {
  GATUN_DISPATCH(max_forward)(stream.threads(), shape, x, y, argmax);
}

template <>
void pooling_max_backward<float>(const Stream& stream, const PoolingShape& shape, const float* dy, const int32_t* argmax, float* dx) {
  GATUN_DISPATCH(max_backward)(stream.threads(), shape, dy, argmax, dx);
}

template <>
void pooling_average_forward<float>(const Stream& stream, const PoolingShape& shape, const float* x, float* y) {
  GATUN_DISPATCH(average_forward)(stream.threads(), shape, x, y);
}

template <>
void pooling_average_backward<float>(const Stream& stream, const PoolingShape& shape, const float* dy, float* dx) {
  GATUN_DISPATCH(average_backward)(stream.threads(), shape, dy, dx);
}

}  // namespace gatun
#endif
