// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul/matmul.h"

#include <omp.h>

#include <algorithm>

#include "gatun/matmul.h"
#include "kernels/common/isa.h"
#include "kernels/common/loops.h"
#include "kernels/common/spin_barrier.h"
#include "kernels/matmul/plan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul/matmul.cpp"
#include "hwy/foreach_target.h"
#include "kernels/matmul/epilogue-inl.h"
#include "kernels/matmul/pack-inl.h"
#include "kernels/matmul/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

MatmulPlan plan(const MatmulCall& call, int threads) { return matmul_plan(call, threads, kRows, tile_columns(), lanes()); }

// Rows that far apart do not all meet in a few sets of the caches.
HWY_INLINE bool spread_lines(int64_t leading) { return leading % 512 != 0; }

// What a thread has to itself.
struct Scratch {
  float *a, *b, *c;
};

// A block of A as the tiles read it: rows [row, row + rows), k [first, first + count), packed into `to` unless it can be read where it lies.
struct PackedRows {
  const MatmulCall& call;
  const MatmulPlan& plan;
  const float *scale_m, *scale_k;  // one factor a row, one a column

  // Whether the tiles of whole kRows of rows can read A itself.
  bool direct() const {
    return call.a.prologue == GATUN_MATMUL_AS_IS && scale_m == nullptr && scale_k == nullptr && (call.a.transposed || call.a_sums == nullptr) &&
           spread_lines(call.a.leading);
  }

  template <class F>
  void pack_of(const F& f, int64_t row, int64_t rows, int64_t first, int64_t count, float* to, float* sums) const {
    if (call.a.transposed) pack_columns(f, call.a.data, call.a.leading, row, rows, first, count, kRows, to, panel(count), sums);
    else pack_rows(f, call.a.data, call.a.leading, row, rows, first, count, to, plan.a_step, sums);
  }
  // Elements from one kRows of rows to the next, of a packed A that lies in columns.
  int64_t panel(int64_t count) const { return count * kRows + lanes(); }

  void pack(int64_t row, int64_t rows, int64_t first, int64_t count, float* to, float* sums) const {
    if (call.a.prologue == GATUN_MATMUL_GELU) return pack_of(Activate{}, row, rows, first, count, to, sums);
    if (call.a.prologue == GATUN_MATMUL_LAYER_NORM) {
      if (first == 0 && !plan.statistics_first) {
        for (int64_t r = row; r < row + rows; ++r) row_statistics(call.a.data + r * call.a.leading, call.k, call.epsilon, call.mean[r], call.rstd[r]);
      }
      return pack_of(Normalize(call), row, rows, first, count, to, sums);
    }
    if (scale_m == nullptr && scale_k == nullptr) return pack_of(AsIs{}, row, rows, first, count, to, sums);
    pack_of(call.a.transposed ? Scale(scale_k, scale_m) : Scale(scale_m, scale_k), row, rows, first, count, to, sums);
  }
};

// Memory to be fetched ahead, a stretch with each tile: `tiles` of them, each `next` bytes after the one before.
struct Stretch {
  Ahead ahead;
  int64_t next, tiles;
};
// Contiguous bytes.
HWY_INLINE Stretch contiguous(const float* data, int64_t floats, int64_t depth) {
  constexpr int64_t kLine = 64;
  const int64_t each = std::max<int64_t>(depth, 1) * kLine;
  return {{reinterpret_cast<const char*>(data), kLine}, each, chunk_count(floats * 4, each)};
}
// `columns` floats of each of `depth` rows: one line of every row with a tile.
HWY_INLINE Stretch strip(const float* data, int64_t leading, int64_t columns) {
  return {{reinterpret_cast<const char*>(data), leading * 4}, 64, chunk_count(columns * 4, 64) + 1};
}

struct Prefetcher {
  Stretch streams[2];
  const char* idle;
  HWY_INLINE Ahead take() {
    for (Stretch& s : streams) {
      if (s.tiles > 0) {
        const Ahead ahead = s.ahead;
        s.ahead.at += s.next;
        --s.tiles;
        return ahead;
      }
    }
    return {idle, 0};
  }
};

// A block of B: packed panels, or, with a step, B itself.
struct PackedB {
  const float* data;
  int64_t step;
  HWY_INLINE PackedB from(int64_t n, int64_t count) const { return {data + (step == 0 ? n * count : n), step}; }
  HWY_INLINE TileColumns panel(int64_t n, int64_t columns, int64_t count) const {
    return step == 0 ? TileColumns{data + n * count, panel_columns(columns - n)} : TileColumns{data + n, step};
  }
};

// Tiles of kRows rows with all panels of a block of B. `last`: the sum over K is complete, so that the result is written; else it is kept in
// `partial`, from which it goes on unless `begin`. sums: `partial` is C itself, to which its tiles add what there is to add.
HWY_INLINE void row_of_tiles(const MatmulCall& call, bool sums, const TileRows& a, const PackedB& b, int64_t count, int64_t row, int64_t rows,
                             int64_t column, int64_t columns, TilePlace partial, bool begin, bool last, Prefetcher& prefetcher) {
  HWY_ALIGN float tile_memory[kRows * kWidth * (HWY_MAX_BYTES / sizeof(float))];
  for (int64_t n = 0; n < columns; n += tile_columns()) {
    const int64_t here = std::min(panel_columns(columns - n), columns - n);
    const int64_t at = column + n;
    const TilePlace kept{partial.data + n, partial.step}, result{call.c + row * call.ldc + at, call.ldc};
    const TileColumns panel = b.panel(n, columns, count);
    TilePlace from{begin ? nullptr : kept.data, kept.step};
    const float* bias = nullptr;
    if (sums && begin) {
      if (call.accumulate) from = result;
      else if (call.residual != nullptr) from = {const_cast<float*>(call.residual) + row * call.ld_residual + at, call.ld_residual};
      if (call.bias != nullptr) bias = call.bias + at;
    }
    Wanted wanted{kept.data, kept.step, kept.data, kept.step};
    if (sums || !last) {
      if (from.data != nullptr) wanted = {kept.data, kept.step, from.data, from.step};
      tile_of(a, panel, count, from, bias, kept, rows, here, wanted, prefetcher.take());
    } else {
      wanted = {result.data, result.step, result.data, result.step};
      if (call.hidden != nullptr) wanted = {result.data, result.step, call.hidden + row * call.ld_hidden + at, call.ld_hidden};
      else if (call.residual != nullptr) wanted = {result.data, result.step, call.residual + row * call.ld_residual + at, call.ld_residual};
      tile_of(a, panel, count, from, nullptr, {tile_memory, tile_columns()}, rows, here, wanted, prefetcher.take());
      epilogue(call, tile_memory, tile_columns(), row, rows, at, here);
    }
  }
}

// A part of C: rows [row, row + rows), columns [column, column + columns), summed over k [first, first + count).
struct Part {
  int64_t row, rows, column, columns, first, count;
  float* split;  // where K is split: this split's share of all of C, and of a_sums; else NULL
  float* sums;
};

// Rows [inner, inner_end) of a part, over one block of K. b: all its columns, packed.
HWY_INLINE void block(const PackedRows& a, const Part& part, const PackedB& b, int64_t inner, int64_t inner_end, int64_t k, int64_t depth,
                      const Scratch& scratch, Prefetcher& prefetcher) {
  const MatmulCall& call = a.call;
  const MatmulPlan& plan = a.plan;
  const bool sums = part.split == nullptr && matmul_sums_only(call), begin = k == part.first, last = part.split == nullptr && k + depth == part.first + part.count;
  // Without columns too A is packed once, for its statistics and sums.
  for (int64_t n = 0; n == 0 || n < part.columns; n += plan.n_block) {
    const int64_t width = std::min(plan.n_block, part.columns - n), column = part.column + n;
    const bool pack = n == 0, direct = a.direct();
    // Only the last rows may be too few to be read where they lie.
    const int64_t packed = !direct ? inner : inner_end - (inner_end - inner) % kRows;
    if (pack && call.a.transposed && packed < inner_end) {
      a.pack(packed, inner_end - packed, k, depth, scratch.a, direct || part.sums == nullptr ? nullptr : part.sums + packed);
    }
    if (pack && direct && part.sums != nullptr) add_columns(call.a.data, call.a.leading, inner, inner_end - inner, k, depth, part.sums + inner);
    for (int64_t m = inner; m < inner_end; m += kRows) {
      const int64_t height = std::min<int64_t>(kRows, inner_end - m);
      TileRows tiles{call.a.transposed ? call.a.data + k * call.a.leading + m : call.a.data + m * call.a.leading + k, call.a.leading, call.a.transposed};
      if (m >= packed && call.a.transposed) {
        tiles = {scratch.a + (m - packed) / kRows * a.panel(depth), kRows, true};
      } else if (m >= packed) {
        float* to = scratch.a + (m - inner) * plan.a_step;
        if (pack) a.pack(m, height, k, depth, to, part.sums == nullptr ? nullptr : part.sums + m);
        tiles = {to, plan.a_step, false};
      }
      if (width == 0) continue;
      TilePlace partial{scratch.c + (m - inner) * part.columns + n, part.columns};
      if (part.split != nullptr) partial = {part.split + m * call.n + column, call.n};
      else if (sums) partial = {call.c + m * call.ldc + column, call.ldc};
      row_of_tiles(call, sums, tiles, b.from(n, depth), depth, m, height, column, width, partial, begin, last, prefetcher);
    }
  }
}

void compute(const PackedRows& a, const Part& part, const float* shared_b, const Scratch& scratch) {
  const MatmulCall& call = a.call;
  const MatmulPlan& plan = a.plan;
  const int64_t end = part.first + part.count, row_end = part.row + part.rows;
  Prefetcher prefetcher{{}, reinterpret_cast<const char*>(scratch.a)};
  const bool direct_b = !call.b.transposed && call.b.prologue == GATUN_MATMUL_AS_IS && call.n % lanes() == 0 && spread_lines(call.b.leading);
  // What is read after the rows from m on, over k [k, k + depth).
  const auto fetch_rows = [&](int64_t m, int64_t k, int64_t depth) {
    const int64_t rows = std::min(plan.inner_rows, call.m - m);
    if (m >= call.m) prefetcher.streams[0].tiles = 0;
    else if (call.a.transposed) prefetcher.streams[0] = strip(call.a.data + k * call.a.leading + m, call.a.leading, rows);
    else prefetcher.streams[0] = contiguous(call.a.data + m * call.a.leading, rows * call.a.leading, depth);
  };
  // With K = 0 there is one block without depth.
  if (shared_b == nullptr) {
    for (int64_t k = part.first; k == part.first || k < end; k += plan.k_block) {
      const int64_t depth = std::min(plan.k_block, end - k);
      PackedB b{scratch.b, 0};
      if (direct_b) b = {call.b.data + k * call.b.leading + part.column, call.b.leading};
      else pack_b(call, k, depth, part.column, part.columns, scratch.b);
      if (!call.b.transposed && k + depth < call.k) {
        const float* next = call.b.data + (k + depth) * call.b.leading;
        prefetcher.streams[1] = part.columns < call.n ? strip(next + part.column, call.b.leading, part.columns)
                                                      : contiguous(next, std::min(plan.k_block, call.k - k - depth) * call.b.leading, depth);
      }
      for (int64_t m = part.row; m < row_end; m += plan.inner_rows) {
        if (m + plan.inner_rows < row_end) fetch_rows(m + plan.inner_rows, k, depth);
        else fetch_rows(part.row, k + depth, depth);
        block(a, part, b, m, std::min(row_end, m + plan.inner_rows), k, depth, scratch, prefetcher);
      }
    }
  } else {
    for (int64_t m = part.row; m < row_end; m += plan.inner_rows) {
      fetch_rows(m + plan.inner_rows, 0, std::min(plan.k_block, call.k));
      for (int64_t k = part.first; k == part.first || k < end; k += plan.k_block) {
        const int64_t depth = std::min(plan.k_block, end - k);
        block(a, part, {shared_b + k * plan.packed_columns + part.column * depth, 0}, m, std::min(row_end, m + plan.inner_rows), k, depth, scratch, prefetcher);
      }
    }
  }
}

// One factor for each of `extent` places.
void spread(const MatmulFactors& factors, int64_t extent, float* to) {
  const int64_t each = extent / factors.count;
  for (int64_t i = 0; i < factors.count; ++i) std::fill_n(to + i * each, each, factors.data[i]);
}

void add_rows(float* HWY_RESTRICT sum, const float* HWY_RESTRICT term, int64_t count) {
  for_vectors(count, [&](int64_t c, auto part) HWY_ATTR { part.store(hn::Add(part.load(sum + c), part.load(term + c)), sum + c); });
}

void run(int threads, const MatmulCall& call, float* workspace) {
  const MatmulPlan p = plan(call, threads);
  float* const scale_m = call.scale_m.data == nullptr ? nullptr : workspace + p.scale_m_at;
  float* const scale_k = call.scale_k.data == nullptr ? nullptr : workspace + p.scale_k_at;
  float* const shared_b = p.shared_b ? workspace + p.b_at : nullptr;
  const PackedRows a{call, p, scale_m, scale_k};
  const int64_t k_blocks = chunk_count(call.k, p.k_block), panels = chunk_count(call.n, p.n_pack);
  SpinBarrier barrier;
#pragma omp parallel num_threads(p.threads) if (p.threads > 1)
  {
    float* const own = workspace + p.thread_at + omp_get_thread_num() * p.thread_step;
    const Scratch scratch{own, own + p.thread_b, own + p.thread_c};
#pragma omp single nowait
    {
      if (scale_m != nullptr && call.m > 0) spread(call.scale_m, call.m, scale_m);
      if (scale_k != nullptr && call.k > 0) spread(call.scale_k, call.k, scale_k);
    }
    if (shared_b != nullptr) {
#pragma omp for schedule(dynamic, 1) nowait
      for (int64_t t = 0; t < k_blocks * panels; ++t) {
        const int64_t k = t / panels * p.k_block, n = t % panels * p.n_pack, depth = std::min(p.k_block, call.k - k);
        pack_b(call, k, depth, n, std::min(p.n_pack, call.n - n), shared_b + k * p.packed_columns + n * depth);
      }
    }
    if (p.statistics_first) {
#pragma omp for schedule(static) nowait
      for (int64_t r = 0; r < call.m; ++r) row_statistics(call.a.data + r * call.a.leading, call.k, call.epsilon, call.mean[r], call.rstd[r]);
    }
    barrier.wait();
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t t = 0; t < p.splits * p.down * p.across; ++t) {
      const int64_t s = t / (p.down * p.across), row = t / p.across % p.down * p.rows, column = t % p.across * p.columns;
      const int64_t rows = std::min(p.rows, call.m - row), first = s * p.split_depth, depth = std::min(p.split_depth, call.k - first);
      float* const split = p.splits_at < 0 ? nullptr : workspace + p.splits_at + s * call.m * call.n;
      float* sums = call.a_sums == nullptr || column != 0 ? nullptr : workspace + p.sums_at + s * call.m;
      if (sums != nullptr) std::fill_n(sums + row, rows, 0.0f);
      compute(a, {row, rows, column, std::min(p.columns, call.n - column), first, depth, split, sums}, shared_b, scratch);
    }
    if (p.splits_at >= 0) {
      barrier.wait();
#pragma omp for schedule(static) nowait
      for (int64_t m = 0; m < call.m; ++m) {
        float* const row = workspace + p.splits_at + m * call.n;
        for (int64_t s = 1; s < p.splits; ++s) add_rows(row, row + s * call.m * call.n, call.n);
        epilogue(call, row, call.n, m, 1, 0, call.n);
      }
    }
  }
  if (call.a_sums != nullptr) {
    float* const sums = workspace + p.sums_at;
    for (int64_t s = 1; s < p.splits; ++s) add_rows(sums, sums + s * call.m, call.m);
    if (call.accumulate) add_rows(call.a_sums, sums, call.m);
    else std::copy_n(sums, call.m, call.a_sums);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

size_t matmul_workspace(const Stream& stream, const MatmulCall& call) {
  return static_cast<size_t>(GATUN_DISPATCH(plan)(call, stream.threads()).size) * sizeof(float);
}

void matmul(const Stream& stream, const MatmulCall& call, float* workspace) { GATUN_DISPATCH(run)(stream.threads(), call, workspace); }

}  // namespace gatun
#endif
