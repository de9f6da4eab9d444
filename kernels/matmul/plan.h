// SPDX-License-Identifier: Apache-2.0
// How a product is cut: a function of its shape and of the instruction set's tile, but for the threads' own memory of their number only where that leaves every sum as it is.
#pragma once

#include "kernels/matmul/matmul.h"

namespace gatun {

// Places and sizes in floats.
struct MatmulPlan {
  int threads;
  bool shared_b;          // B is packed once for all; else each task packs what it meets
  bool statistics_first;  // of LAYER_NORM of a: several tasks meet a row, or none does
  int64_t rows, columns, down, across;  // of C a task computes, and how many tasks there are down and across it
  int64_t splits, split_depth;          // of K
  int64_t inner_rows;                   // rows that go through all of K before the next ones
  int64_t k_block, n_block, n_pack;
  int64_t packed_columns;  // of B: N rounded up to whole panels
  int64_t a_step;          // from one row of a packed A to the next
  int64_t scale_m_at, scale_k_at, b_at, splits_at, sums_at;  // splits_at: -1 where C is written by the tasks
  int64_t thread_at, thread_step, thread_b, thread_c;
  int64_t size;
};

// How many tiles of rows are packed, and their sums taken, at a time where K is long.
constexpr int64_t kInnerTiles = 8;

// Whether all there is to do can be added to the product as its tiles are written: a bias, and a residual or c itself.
bool matmul_sums_only(const MatmulCall& call);

MatmulPlan matmul_plan(const MatmulCall& call, int threads, int64_t tile_rows, int64_t tile_columns, int64_t lanes);

}  // namespace gatun
