// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul/plan.h"

#include <algorithm>

#include "gatun/matmul.h"

namespace gatun {

namespace {

constexpr int64_t kDepth = 384;              // of a block: a panel of B stays in the first-level cache
constexpr int64_t kResident = 192 * 1024;    // floats of B that stay in a second-level cache of 1 MiB beside the rest
constexpr int64_t kBlock = 96 * 1024;        // floats of a block of B that is one of many
constexpr int64_t kPackedDepth = 256;        // of a block of B that is packed for one part of C
constexpr int64_t kPartColumns = 384;        // of C, at most, that meet such a block: they and the block stay in the second-level cache
constexpr int64_t kTasks = 64;               // at most, down a resident B
constexpr int64_t kFewTiles = 16;            // groups of 8 x 8 tiles; a C of fewer is small
constexpr int64_t kLong = 1024;              // a K that a small C goes through in blocks, packed as they come
constexpr int64_t kSplits = 8;              // at most
constexpr int64_t kSplitDepth = 3072;        // of each, at least
constexpr int64_t kTasksPerThread = 2;
constexpr int64_t kMostPartials = 4 << 20;   // floats
constexpr double kSerialWork = 1 << 19;      // multiply-adds for which a second thread is not worth waking: it wakes in 25 us where it sleeps

int64_t round_up(int64_t value, int64_t step) { return chunk_count(value, step) * step; }
int64_t aligned(int64_t floats) { return round_up(floats, 16); }

}  // namespace

bool matmul_sums_only(const MatmulCall& call) {
  return call.activation == GATUN_MATMUL_LINEAR && call.factor_m.data == nullptr && call.factor_n == nullptr &&
         (call.residual == nullptr || !call.accumulate);
}

MatmulPlan matmul_plan(const MatmulCall& call, int threads, int64_t tile_rows, int64_t tile_columns, int64_t lanes) {
  MatmulPlan p{};
  const int64_t m = call.m, n = call.n, k = call.k;
  p.packed_columns = round_up(n, lanes);
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  p.threads = work < kSerialWork ? 1 : threads;

  // Gradients of weights: a small C and a long K.
  p.rows = round_up(std::max<int64_t>(m, 1), tile_rows);
  p.columns = round_up(std::max<int64_t>(n, 1), tile_columns);
  p.splits = 1;
  const int64_t tiles = chunk_count(m, 8 * tile_rows) * chunk_count(n, 8 * tile_columns);
  const bool long_sums = tiles < kFewTiles && m * n > 0 && k >= kLong;
  p.k_block = round_up(chunk_count(std::max<int64_t>(k, 1), chunk_count(std::max<int64_t>(k, 1), kDepth)), 16);
  if (long_sums) {
    // Splits of equal depth, each of equal blocks: threads end together.
    p.splits = std::clamp<int64_t>(std::min(k / kSplitDepth, kMostPartials / (m * n)), 1, kSplits);
    p.split_depth = round_up(chunk_count(k, p.splits), 16);
    p.splits = chunk_count(k, p.split_depth);
    p.shared_b = false;
    const bool as_is = !call.b.transposed && call.b.prologue == GATUN_MATMUL_AS_IS;
    p.k_block = round_up(chunk_count(p.split_depth, chunk_count(p.split_depth, as_is ? kDepth : kPackedDepth)), 16);
    // Every element is summed in the same order however C is shared out. Rows share the packing of b, columns the reading of a.
    const int64_t parts = p.threads == 1 ? 1 : chunk_count(kTasksPerThread * p.threads, p.splits);
    const bool by_rows = m >= n && call.b.prologue != GATUN_MATMUL_GELU;
    if (by_rows) p.rows = round_up(chunk_count(m, parts), tile_rows);
    p.columns = round_up(std::min(chunk_count(n, by_rows ? 1 : parts), kPartColumns), tile_columns);
    p.n_block = p.columns;
    p.inner_rows = kInnerTiles * tile_rows;
  } else {
    p.splits = 1;
    p.split_depth = std::max<int64_t>(k, 1);
    p.shared_b = true;
    const bool resident = k * p.packed_columns <= kResident;
    p.n_block = resident ? p.columns : std::max(tile_columns, kBlock / p.k_block / tile_columns * tile_columns);
    p.rows = resident ? round_up(chunk_count(std::max<int64_t>(m, 1), kTasks), tile_rows) : 16 * tile_rows;
    p.inner_rows = !resident ? p.rows : call.a.transposed ? std::min(p.rows, 8 * tile_rows) : tile_rows;
  }
  p.down = chunk_count(m, p.rows);
  // A few rows: the columns are shared out.
  if (!long_sums && p.down > 0 && p.down < kFewTiles) {
    p.columns = std::max(round_up(chunk_count(n, kFewTiles / p.down), tile_columns), 2 * tile_columns);
  }
  p.across = std::max<int64_t>(chunk_count(n, p.columns), 1);
  p.n_block = std::min(p.n_block, p.columns);
  p.n_pack = tile_columns;
  p.statistics_first = call.a.prologue == GATUN_MATMUL_LAYER_NORM && (p.across > 1 || p.splits > 1 || call.k == 0);
  // An odd number of cache lines: rows of a tile fall into different sets.
  p.a_step = (p.k_block / 16 | 1) * 16;
  if (p.a_step < p.k_block + lanes) p.a_step += 32;

  int64_t at = 0;
  const auto take = [&](int64_t floats) {
    const int64_t start = at;
    at += aligned(floats);
    return start;
  };
  if (call.scale_m.data != nullptr) p.scale_m_at = take(m);
  if (call.scale_k.data != nullptr) p.scale_k_at = take(k);
  if (p.shared_b) p.b_at = take(k * p.packed_columns);
  p.splits_at = p.splits > 1 || (long_sums && !matmul_sums_only(call)) ? take(p.splits * m * n) : -1;
  if (call.a_sums != nullptr) p.sums_at = take(p.splits * m);
  p.thread_at = at;
  const int64_t inner = round_up(std::min(p.inner_rows, std::max<int64_t>(m, 1)), tile_rows);
  p.thread_b = aligned(std::max(inner * p.a_step, chunk_count(inner, tile_rows) * (p.k_block * tile_rows + lanes)));
  p.thread_c = p.thread_b + (p.shared_b ? 0 : aligned(p.k_block * std::min(p.packed_columns, p.columns)));
  p.thread_step = p.thread_c + (p.shared_b && k > p.k_block ? aligned(inner * p.columns) : 0);
  p.size = at + p.threads * p.thread_step;
  return p;
}

}  // namespace gatun
