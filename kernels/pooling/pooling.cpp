// SPDX-License-Identifier: Apache-2.0
// Forward: a vector of channels walks over its window. Backward gathers: every pixel of x visits the windows that contain it, so no two
// threads write one place and the order of each sum is fixed.
#include "kernels/pooling/pooling.h"

#include "hwy/cache_control.h"
#include "kernels/common/isa.h"
#include "kernels/common/prefetch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pooling/pooling.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Channels of one work item: with one window a batch element (global pooling) there must still be work for every thread.
constexpr int64_t kPoolingChannels = 512;
// Vectors of channels of one walk over a whole image.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kGlobalVectors = 8;
#else
constexpr int kGlobalVectors = 4;
#endif
// From these many bytes on the caches do not hold dx for who reads it next: then it is written past them.
constexpr int64_t kStreamedBytes = int64_t{16} << 20;

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

// Where the channels after these continue, in elements: the same pixels of the next vectors, or of the next image. A walk over an image (global pooling)
// fetches them, since its steps are too wide for the machine to foresee. 0: nothing is fetched.
HWY_INLINE int64_t next_channels(const PoolingShape& s, int64_t c, int64_t begin, int64_t end, int64_t width) {
  return c + 2 * width <= end ? width : s.x.batch_stride - (c - begin);
}
template <int kVectors, bool kGlobal>
HWY_INLINE void fetch_channels(const float* from, int64_t distance) {
  if constexpr (kGlobal) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) __builtin_prefetch(address_after(from, distance + v * static_cast<int64_t>(hn::Lanes(F32()))), 0, 3);
  }
}

// kVectors vectors of channels side by side: their chains of comparisons overlap.
template <int kVectors, bool kGlobal = false>
HWY_INLINE void max_channels(const PoolingShape& s, const WindowBox& box, const float* image, int64_t live, float* y, int32_t* argmax,
                             int64_t distance = 0) {
  const F32 d;
  const I32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF best[kVectors];
  VI winner[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    best[v] = load_channels(d, image + s.x.offset(0, box.top, box.left) + v * lanes, live, lanes);
    winner[v] = hn::Set(di, static_cast<int32_t>(box.top * s.x.width + box.left));
  }
  for (int64_t row = box.top; row < box.bottom; ++row) {
    const float* from = image + s.x.offset(0, row, box.left);
    int32_t pixel = static_cast<int32_t>(row * s.x.width + box.left);
    for (int64_t column = box.left; column < box.right; ++column, ++pixel, from += s.x.pixel_stride) {
      const VI self = hn::Set(di, pixel);
      fetch_channels<kVectors, kGlobal>(from, distance);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const VF value = load_channels(d, from + v * lanes, live, lanes);
        // "Not at most" is true for a larger value and for a NaN; nothing beats a NaN.
        const auto better = hn::AndNot(hn::IsNaN(best[v]), hn::Not(hn::Le(value, best[v])));
        best[v] = hn::IfThenElse(better, value, best[v]);
        winner[v] = hn::IfThenElse(hn::RebindMask(di, better), self, winner[v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    store_channels(best[v], d, y + v * lanes, live, lanes);
    store_index(winner[v], argmax + v * lanes, live, lanes);
  }
}

static void max_window(const PoolingShape& s, const float* image, int64_t i, int64_t j, int64_t begin, int64_t end, float* y, int32_t* argmax) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const WindowBox box(s, i, j);
  int64_t c = begin;
  if (s.y.height == 1 && s.y.width == 1) {
    const int64_t width = kGlobalVectors * lanes;
    for (; c + width <= end; c += width) {
      max_channels<kGlobalVectors, true>(s, box, image + c, lanes, y + c, argmax + c, next_channels(s, c, begin, end, width));
    }
  }
  for (; c + 4 * lanes <= end; c += 4 * lanes) max_channels<4>(s, box, image + c, lanes, y + c, argmax + c);
  for (; c < end; c += lanes) max_channels<1>(s, box, image + c, end - c, y + c, argmax + c);
}

template <int kVectors, bool kGlobal = false>
HWY_INLINE void average_channels(const PoolingShape& s, const WindowBox& box, float divisor, const float* image, int64_t live, float* y,
                                 int64_t distance = 0) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sum[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
  for (int64_t row = box.top; row < box.bottom; ++row) {
    const float* from = image + s.x.offset(0, row, box.left);
    for (int64_t column = box.left; column < box.right; ++column, from += s.x.pixel_stride) {
      fetch_channels<kVectors, kGlobal>(from, distance);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Add(sum[v], load_channels(d, from + v * lanes, live, lanes));
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) store_channels(hn::Div(sum[v], hn::Set(d, divisor)), d, y + v * lanes, live, lanes);
}

static void average_window(const PoolingShape& s, const float* image, int64_t i, int64_t j, int64_t begin, int64_t end, float* y) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const WindowBox box(s, i, j);
  const float divisor = s.divisor(i, j);
  int64_t c = begin;
  if (s.y.height == 1 && s.y.width == 1) {
    const int64_t width = kGlobalVectors * lanes;
    for (; c + width <= end; c += width) {
      average_channels<kGlobalVectors, true>(s, box, divisor, image + c, lanes, y + c, next_channels(s, c, begin, end, width));
    }
  }
  for (; c + 4 * lanes <= end; c += 4 * lanes) average_channels<4>(s, box, divisor, image + c, lanes, y + c);
  for (; c < end; c += lanes) average_channels<1>(s, box, divisor, image + c, end - c, y + c);
}

// Windows [first, last) that contain a pixel.
struct WindowsOf {
  int64_t first = 0, last = 0;
  // Of the next pixel of the axis: without a division.
  HWY_INLINE void next(const PoolingAxis& axis, int64_t pixel) {
    while (first < axis.outputs && axis.end(first) <= pixel) ++first;
    while (last < axis.outputs && axis.begin(last) <= pixel) ++last;
  }
  HWY_INLINE int64_t count() const { return last - first; }
};

// The sum over two by two windows at most: their setting up stays in registers.
template <int kRows, int kColumns, class Part>
HWY_INLINE void add_windows(int64_t i, int64_t j, int64_t begin, int64_t end, float* dx, const Part& part) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const auto window = part(i, j), right = part(i, j + kColumns - 1), below = part(i + kRows - 1, j), last = part(i + kRows - 1, j + kColumns - 1);
  for (int64_t c = begin; c < end; c += lanes) {
    VF sum = window(c, end - c, lanes);
    if constexpr (kColumns == 2) sum = hn::Add(sum, right(c, end - c, lanes));
    if constexpr (kRows == 2) sum = hn::Add(sum, below(c, end - c, lanes));
    if constexpr (kRows == 2 && kColumns == 2) sum = hn::Add(sum, last(c, end - c, lanes));
    store_channels(sum, F32(), dx + c, end - c, lanes);
  }
}

// dx of one pixel, channels [begin, end): part(window row, window column)(channel, live, lanes) of every window that contains it, summed. The sum
// of more than two by two stays in dx, which is in the nearest cache: an inner loop over windows would set each of them up again for every vector.
template <class Part>
HWY_INLINE void gather_windows(const WindowsOf& rows, const WindowsOf& columns, int64_t begin, int64_t end, bool stream, float* dx, const Part& part) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), i = rows.first, j = columns.first;
  if (rows.count() <= 0 || columns.count() <= 0) {
    std::fill(dx + begin, dx + end, 0.0f);
  } else if (rows.count() == 1 && columns.count() == 1) {
    if (!stream) return add_windows<1, 1>(i, j, begin, end, dx, part);
    const auto window = part(i, j);
    for (int64_t c = begin; c < end; c += lanes) hn::Stream(window(c, lanes, lanes), d, dx + c);
  } else if (rows.count() == 1 && columns.count() == 2) {
    add_windows<1, 2>(i, j, begin, end, dx, part);
  } else if (rows.count() == 2 && columns.count() == 1) {
    add_windows<2, 1>(i, j, begin, end, dx, part);
  } else if (rows.count() == 2 && columns.count() == 2) {
    add_windows<2, 2>(i, j, begin, end, dx, part);
  } else {
    for (int64_t r = rows.first; r < rows.last; ++r) {
      for (int64_t q = columns.first; q < columns.last; ++q) {
        const bool first = r == rows.first && q == columns.first;
        const auto window = part(r, q);
        for (int64_t c = begin; c < end; c += lanes) {
          const VF gradient = window(c, end - c, lanes);
          store_channels(first ? gradient : hn::Add(load_channels(d, dx + c, end - c, lanes), gradient), d, dx + c, end - c, lanes);
        }
      }
    }
  }
}

// Streaming stores take whole lines, else a part would be written to memory by itself; and whole images: where windows overlap, pixels of several windows
// are added up in the cache, and memory is slow to take the others between them.
static bool streams(const PoolingShape& s, const float* dx) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t pixels = s.batch * (s.x.height * s.x.width + s.y.height * s.y.width);
  const bool apart = s.rows.stride >= s.rows.window && s.columns.stride >= s.columns.window;
  const bool whole = s.y.height == 1 && s.y.width == 1;
  return lanes == 16 && (apart || whole) && static_cast<int64_t>(sizeof(float)) * pixels * s.channels >= kStreamedBytes &&
         (s.channels | s.x.batch_stride | s.x.row_stride | s.x.pixel_stride) % lanes == 0 && reinterpret_cast<uintptr_t>(dx) % 64 == 0;
}

// body(b, row, first channel, end of channels) for every row of a grid. Streaming stores are done when it returns.
template <class Body>
HWY_INLINE void for_rows(int threads, int64_t batch, int64_t height, int64_t channels, const Body& body) {
  const int64_t blocks = (channels + kPoolingChannels - 1) / kPoolingChannels;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static) nowait
    for (int64_t item = 0; item < batch * height * blocks; ++item) {
      const int64_t begin = item % blocks * kPoolingChannels;
      const int64_t row = item / blocks;
      body(row / height, row % height, begin, std::min(channels, begin + kPoolingChannels));
    }
    hwy::FlushStream();
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
  const bool stream = streams(s, dx);
  for_rows(threads, s.batch, s.x.height, s.channels, [&](int64_t b, int64_t row, int64_t begin, int64_t end) HWY_ATTR {
    const F32 d;
    const I32 di;
    const WindowsOf rows{s.rows.first(row), s.rows.last(row)};
    WindowsOf columns;
    for (int64_t column = 0; column < s.x.width; ++column) {
      columns.next(s.columns, column);
      const VI self = hn::Set(di, static_cast<int32_t>(row * s.x.width + column));
      gather_windows(rows, columns, begin, end, stream, dx + s.x.offset(b, row, column), [&](int64_t i, int64_t j) HWY_ATTR {
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
  const bool stream = streams(s, dx);
  for_rows(threads, s.batch, s.x.height, s.channels, [&](int64_t b, int64_t row, int64_t begin, int64_t end) HWY_ATTR {
    const F32 d;
    const WindowsOf rows{s.rows.first(row), s.rows.last(row)};
    WindowsOf columns;
    for (int64_t column = 0; column < s.x.width; ++column) {
      columns.next(s.columns, column);
      gather_windows(rows, columns, begin, end, stream, dx + s.x.offset(b, row, column), [&](int64_t i, int64_t j) HWY_ATTR {
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
