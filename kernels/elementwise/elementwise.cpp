// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/elementwise.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Elements of one task of a thread, and of the buffers through which an operand goes whose inner stride is neither 0 nor 1.
constexpr int64_t kTask = 16384;
constexpr int64_t kStrip = 512;

struct Copy {
  HWY_INLINE VF operator()(F32, VF x, VF) const { return x; }
};
struct Affine {
  float alpha, beta;
  HWY_INLINE VF operator()(F32 d, VF x, VF) const { return hn::MulAdd(hn::Set(d, alpha), x, hn::Set(d, beta)); }
};
struct Accumulate {
  float alpha;
  HWY_INLINE VF operator()(F32 d, VF x, VF y) const { return hn::MulAdd(hn::Set(d, alpha), x, y); }
};
struct Negate {
  HWY_INLINE VF operator()(F32, VF x, VF) const { return hn::Neg(x); }
};
struct Absolute {
  HWY_INLINE VF operator()(F32, VF x, VF) const { return hn::Abs(x); }
};
struct Exp {
  HWY_INLINE VF operator()(F32 d, VF x, VF) const { return exp(d, x); }
};
struct Log {
  HWY_INLINE VF operator()(F32 d, VF x, VF) const { return log(d, x); }
};
struct Sqrt {
  HWY_INLINE VF operator()(F32, VF x, VF) const { return hn::Sqrt(x); }
};
struct Square {
  HWY_INLINE VF operator()(F32, VF x, VF) const { return hn::Mul(x, x); }
};
struct Reciprocal {
  HWY_INLINE VF operator()(F32 d, VF x, VF) const { return hn::Div(hn::Set(d, 1.0f), x); }
};
struct Add {
  HWY_INLINE VF operator()(F32, VF x, VF z) const { return hn::Add(x, z); }
};
struct Subtract {
  HWY_INLINE VF operator()(F32, VF x, VF z) const { return hn::Sub(x, z); }
};
struct Multiply {
  HWY_INLINE VF operator()(F32, VF x, VF z) const { return hn::Mul(x, z); }
};
struct Divide {
  HWY_INLINE VF operator()(F32, VF x, VF z) const { return hn::Div(x, z); }
};
struct Maximum {
  HWY_INLINE VF operator()(F32, VF x, VF z) const { return maximum(x, z); }
};
struct Minimum {
  HWY_INLINE VF operator()(F32, VF x, VF z) const { return minimum(x, z); }
};

template <bool Repeated>
HWY_INLINE VF fetch(F32 d, const float* p, int64_t i) {
  return Repeated ? hn::Set(d, *p) : hn::LoadU(d, p + i);
}
template <bool Repeated>
HWY_INLINE VF fetch_tail(F32 d, const float* p, int64_t i, int64_t n) {
  return Repeated ? hn::Set(d, *p) : load_tail(d, p + i, n);
}

// One run of n elements. No HWY_RESTRICT: y may be x or z.
template <bool RepeatX, bool RepeatZ, class Op>
HWY_INLINE void run_row(const Op& op, const float* x, const float* z, float* y, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(op(d, fetch<RepeatX>(d, x, i), fetch<RepeatZ>(d, z, i)), d, y + i);
  if (i < n) store_tail(op(d, fetch_tail<RepeatX>(d, x, i, n - i), fetch_tail<RepeatZ>(d, z, i, n - i)), d, y + i, n - i);
}

template <class T>
HWY_INLINE void gather(const T* from, int64_t stride, int64_t n, float* to) {
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i * stride]);
  }
}

// n elements of x, as f32, from element `offset` on.
HWY_INLINE void gather_x(const void* x, int32_t dtype, int64_t offset, int64_t stride, int64_t n, float* to) {
  switch (dtype) {
    case GATUN_U8: return gather(static_cast<const uint8_t*>(x) + offset, stride, n, to);
    case GATUN_I32: return gather(static_cast<const int32_t*>(x) + offset, stride, n, to);
    case GATUN_I64: return gather(static_cast<const int64_t*>(x) + offset, stride, n, to);
    default: return gather(static_cast<const float*>(x) + offset, stride, n, to);
  }
}

template <bool Binary, class Op>
void run_all(int threads, const Op& op, const Elementwise& call, const void* x, const float* z, float* y) {
  const Loops<3>& loops = call.loops;
  const int inner = loops.rank - 1;
  const int64_t n = loops.shape[inner];
  const int64_t count = loops.count();
  if (count == 0) return;
  const int64_t rows = count / n;
  const int64_t x_stride = loops.stride[kX][inner], z_stride = loops.stride[kZ][inner], y_stride = loops.stride[kY][inner];
  const bool plain = call.x_dtype == GATUN_F32;
  const bool repeat_x = plain && x_stride == 0;
  const bool repeat_z = Binary && z_stride == 0 && !repeat_x;
  const bool gather_in = !repeat_x && !(plain && x_stride == 1);
  const bool gather_z = Binary && !repeat_z && z_stride != 1;
  const bool scatter = y_stride != 1;
  const int64_t strip = gather_in || gather_z || scatter ? kStrip : kTask;
  const int64_t blocks = chunk_count(n, kTask);
  const int64_t rows_a_task = std::max<int64_t>(1, kTask / n);
  const int64_t tasks = blocks * chunk_count(rows, rows_a_task);

#pragma omp parallel for num_threads(threads_for(threads, count)) schedule(static)
  for (int64_t task = 0; task < tasks; ++task) {
    HWY_ALIGN float x_strip[kStrip], z_strip[kStrip], y_strip[kStrip];
    const int64_t first = task / blocks * rows_a_task;
    const int64_t from = task % blocks * kTask;
    const int64_t to = std::min(n, from + kTask);
    Position<3> position(loops, 1, first);
    for (int64_t row = first; row < std::min(rows, first + rows_a_task); ++row, position.next()) {
      for (int64_t i = from; i < to; i += strip) {
        const int64_t length = std::min(strip, to - i);
        const int64_t x_at = position.at[kX] + i * x_stride;
        const float* a = static_cast<const float*>(x) + x_at;
        if (gather_in) {
          gather_x(x, call.x_dtype, x_at, x_stride, length, x_strip);
          a = x_strip;
        }
        const float* b = Binary ? z + position.at[kZ] + i * z_stride : a;
        if (gather_z) {
          gather(b, z_stride, length, z_strip);
          b = z_strip;
        }
        float* out = y + position.at[kY] + i * y_stride;
        float* result = scatter ? y_strip : out;
        if (repeat_x) {
          // Without a second operand b stands for a, and must not be read beyond its one value either.
          run_row<true, !Binary>(op, a, b, result, length);
        } else if (repeat_z) {
          run_row<false, true>(op, a, b, result, length);
        } else {
          run_row<false, false>(op, a, b, result, length);
        }
        if (scatter) {
          for (int64_t j = 0; j < length; ++j) out[j * y_stride] = y_strip[j];
        }
      }
    }
  }
}

void dispatch(int threads, const Elementwise& call, const void* x, const float* z, float* y) {
  switch (call.operation) {
    case GATUN_ELEMENTWISE_COPY:
    case GATUN_ELEMENTWISE_FILL: return run_all<false>(threads, Copy{}, call, x, z, y);
    case GATUN_ELEMENTWISE_AFFINE: return run_all<false>(threads, Affine{call.alpha, call.beta}, call, x, z, y);
    case GATUN_ELEMENTWISE_ACCUMULATE: return run_all<true>(threads, Accumulate{call.alpha}, call, x, z, y);
    case GATUN_ELEMENTWISE_NEGATE: return run_all<false>(threads, Negate{}, call, x, z, y);
    case GATUN_ELEMENTWISE_ABSOLUTE: return run_all<false>(threads, Absolute{}, call, x, z, y);
    case GATUN_ELEMENTWISE_EXP: return run_all<false>(threads, Exp{}, call, x, z, y);
    case GATUN_ELEMENTWISE_LOG: return run_all<false>(threads, Log{}, call, x, z, y);
    case GATUN_ELEMENTWISE_SQRT: return run_all<false>(threads, Sqrt{}, call, x, z, y);
    case GATUN_ELEMENTWISE_SQUARE: return run_all<false>(threads, Square{}, call, x, z, y);
    case GATUN_ELEMENTWISE_RECIPROCAL: return run_all<false>(threads, Reciprocal{}, call, x, z, y);
    case GATUN_ELEMENTWISE_ADD: return run_all<true>(threads, Add{}, call, x, z, y);
    case GATUN_ELEMENTWISE_SUBTRACT: return run_all<true>(threads, Subtract{}, call, x, z, y);
    case GATUN_ELEMENTWISE_MULTIPLY: return run_all<true>(threads, Multiply{}, call, x, z, y);
    case GATUN_ELEMENTWISE_DIVIDE: return run_all<true>(threads, Divide{}, call, x, z, y);
    case GATUN_ELEMENTWISE_MAXIMUM: return run_all<true>(threads, Maximum{}, call, x, z, y);
    case GATUN_ELEMENTWISE_MINIMUM: return run_all<true>(threads, Minimum{}, call, x, z, y);
  }
}

// A transposition y[o][i] = x[i][o] goes through a tile that takes whole cache lines of x and gives runs of whole lines of y, each touched once:
// rows of x, and of y, that are a power of 2 apart share a few sets of the first-level cache.
constexpr int64_t kTileAlongX = 16, kTileAlongY = 64;

HWY_INLINE void transpose_block(const uint32_t* x, int64_t stride, uint32_t* tile) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t o = 0; o < 4; ++o) tile[o * kTileAlongY + i] = x[i * stride + o];
  }
#else
  const hn::FixedTag<uint32_t, 4> d;
  const hn::FixedTag<uint64_t, 2> pairs;
  const auto r0 = hn::LoadU(d, x), r1 = hn::LoadU(d, x + stride), r2 = hn::LoadU(d, x + 2 * stride), r3 = hn::LoadU(d, x + 3 * stride);
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1)), high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3)), high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, tile);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, tile + kTileAlongY);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, tile + 2 * kTileAlongY);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, tile + 3 * kTileAlongY);
#endif
}

void transpose(int threads, const Loops<3>& loops, const uint32_t* x, uint32_t* y) {
  const int inner = loops.rank - 1;
  const int64_t along_y = loops.shape[inner], along_x = loops.shape[inner - 1];
  const int64_t x_stride = loops.stride[kX][inner], y_stride = loops.stride[kY][inner - 1];
  const int64_t across = chunk_count(along_x, kTileAlongX), tiles = chunk_count(along_y, kTileAlongY) * across;
  const int64_t count = loops.count();
#pragma omp parallel for num_threads(threads_for(threads, count)) schedule(static)
  for (int64_t task = 0; task < count / (along_x * along_y) * tiles; ++task) {
    const Position<3> position(loops, 2, task / tiles);
    const int64_t i = task % tiles / across * kTileAlongY, o = task % tiles % across * kTileAlongX;
    const int64_t height = std::min(kTileAlongY, along_y - i), width = std::min(kTileAlongX, along_x - o);
    const uint32_t* from = x + position.at[kX] + i * x_stride + o;
    uint32_t* to = y + position.at[kY] + o * y_stride + i;
    HWY_ALIGN uint32_t tile[kTileAlongX * kTileAlongY];
    for (int64_t r = 0; r < height; r += 4) {
      for (int64_t c = 0; c < width; c += 4) {
        if (r + 4 <= height && c + 4 <= width) {
          transpose_block(from + r * x_stride + c, x_stride, tile + c * kTileAlongY + r);
          continue;
        }
        for (int64_t a = r; a < std::min(height, r + 4); ++a) {
          for (int64_t b = c; b < std::min(width, c + 4); ++b) tile[b * kTileAlongY + a] = from[a * x_stride + b];
        }
      }
    }
    for (int64_t c = 0; c < width; ++c) std::memcpy(to + c * y_stride, tile + c * kTileAlongY, static_cast<size_t>(height) * sizeof(uint32_t));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

void elementwise(const Stream& stream, const Elementwise& call, const void* x, const void* second, void* result) {
  const auto* z = static_cast<const float*>(second);
  auto* y = static_cast<float*>(result);
  if (call.operation == GATUN_ELEMENTWISE_FILL) {
    // An input that repeats one value everywhere.
    Elementwise fill = call;
    fill.x_dtype = GATUN_F32;
    std::fill_n(fill.loops.stride[kX], GATUN_MAX_RANK, 0);
    GATUN_DISPATCH(dispatch)(stream.threads(), fill, &call.alpha, z, y);
  } else if (call.operation == GATUN_ELEMENTWISE_ACCUMULATE) {
    Elementwise accumulate = call;
    std::copy_n(call.loops.stride[kY], GATUN_MAX_RANK, accumulate.loops.stride[kZ]);
    GATUN_DISPATCH(dispatch)(stream.threads(), accumulate, x, y, y);
  } else {
    GATUN_DISPATCH(dispatch)(stream.threads(), call, x, z, y);
  }
}

namespace {

// Rows of a tile of a transposition: the cache lines of x that a tile reads are used whole before they leave the first-level cache.
constexpr int64_t kTile = 16;

template <class T>
void copy_elements(int threads, const Loops<3>& loops, const T* x, T* y) {
  const int64_t count = loops.count();
  if (count == 0) return;
  if (loops.rank == 1 && loops.stride[kX][0] == 1 && loops.stride[kY][0] == 1) {
    constexpr int64_t kBlock = 16384;
#pragma omp parallel for num_threads(threads_for(threads, count)) schedule(static)
    for (int64_t i = 0; i < count; i += kBlock) std::memmove(y + i, x + i, static_cast<size_t>(std::min(kBlock, count - i)) * sizeof(T));
    return;
  }
  // The two inner loops are one unit, so that a transposition can go through it in tiles.
  const int inner = loops.rank - 1;
  const bool matrix = loops.rank > 1;
  const int64_t n = loops.shape[inner], m = matrix ? loops.shape[inner - 1] : 1;
  const int64_t x_inner = loops.stride[kX][inner], y_inner = loops.stride[kY][inner];
  const int64_t x_outer = matrix ? loops.stride[kX][inner - 1] : 0, y_outer = matrix ? loops.stride[kY][inner - 1] : 0;
  const int64_t bands = chunk_count(m, kTile);
  const int64_t matrices = count / (n * m);
#pragma omp parallel for num_threads(threads_for(threads, count)) schedule(static)
  for (int64_t task = 0; task < matrices * bands; ++task) {
    const Position<3> position(loops, matrix ? 2 : 1, task / bands);
    const int64_t first = task % bands * kTile;
    const int64_t height = std::min(kTile, m - first);
    const T* from = x + position.at[kX] + first * x_outer;
    T* to = y + position.at[kY] + first * y_outer;
    if (x_inner == 1 && y_inner == 1) {
      for (int64_t r = 0; r < height; ++r) std::memmove(to + r * y_outer, from + r * x_outer, static_cast<size_t>(n) * sizeof(T));
      continue;
    }
    for (int64_t block = 0; block < n; block += kTile) {
      const int64_t width = std::min(kTile, n - block);
      for (int64_t r = 0; r < height; ++r) {
        for (int64_t c = block; c < block + width; ++c) to[r * y_outer + c * y_inner] = from[r * x_outer + c * x_inner];
      }
    }
  }
}

}  // namespace

void strided_copy(const Stream& stream, const Loops<3>& loops, int64_t element_bytes, const void* x, void* y) {
  if (element_bytes == 1) return copy_elements(stream.threads(), loops, static_cast<const uint8_t*>(x), static_cast<uint8_t*>(y));
  const int inner = loops.rank - 1;
  if (element_bytes == 4 && inner > 0 && loops.stride[kY][inner] == 1 && loops.stride[kX][inner - 1] == 1 && loops.count() > 0) {
    return GATUN_DISPATCH(transpose)(stream.threads(), loops, static_cast<const uint32_t*>(x), static_cast<uint32_t*>(y));
  }
  if (element_bytes == 4) return copy_elements(stream.threads(), loops, static_cast<const uint32_t*>(x), static_cast<uint32_t*>(y));
  copy_elements(stream.threads(), loops, static_cast<const uint64_t*>(x), static_cast<uint64_t*>(y));
}

}  // namespace gatun
#endif
