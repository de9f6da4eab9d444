// SPDX-License-Identifier: Apache-2.0
// The forward pass as sm_90a likes it: one thread copies tiles of queries, keys and values in bulk and runs ahead, also into the block's next
// item; two warpgroups multiply them, each on 64 queries of its own, so that one's softmax overlaps the other's products. Masks, softmax, tails
// and outputs are the common code of attention_forward.h.
#pragma once

#include "kernels/attention/attention_forward.h"
#include "kernels/emulation/wgmma.h"

namespace gatun::attention {

// Products of a warpgroup (see attention_policy.h). Tiles are cut into parts of 64 columns, in the swizzle of bulk copies; what of a part
// lies beyond the head dimension is zero.
template <class Storage, int Depth>
struct Hopper {
  using T = Storage;
  static constexpr int kDepth = Depth, kRowBlocks = 1, kColumns = 128, kParts = (Depth + 63) / 64;
  static constexpr int kGroups = 2, kWarps = 4 * kGroups, kThreads = 32 * kWarps + 128, kGroupRows = 64, kRows = kHopperRows;
  static constexpr int kScratch = 0, kStages = 2;
  static constexpr int kLeftTile = kRows * 64 * kParts, kTile = kColumns * 64 * kParts;  // elements
  static constexpr bool kExact = false;
  static constexpr bool kStraight = true;
  static constexpr int kCopyRegisters = 24, kProductRegisters = 240;  // of a thread; 168 at the launch
  static_assert(kRows == kGroups * kGroupRows);

  // The same number in all lanes, as the compiler can see: it puts waits between products where it must fear that a warp diverges.
  __device__ static __forceinline__ int group_row() { return __shfl_sync(kFullMask, warp_index() / 4, 0) * kGroupRows; }
  __device__ static __forceinline__ int row_of(int) { return warp_index() * 16; }

  struct Left {
    __device__ __forceinline__ explicit Left(const T* tile) : rows(tile + group_row() * 64) {}
    const T* rows;
  };

  // Columns that do not exist were copied as zeros and are masked as all are that a row does not see: all tiles are full.
  template <bool Full>
  __device__ static __forceinline__ void mma_qk(float (&s)[1][kColumns / 8][4], const Left& left, const T* tile, int) {
    auto& d = reinterpret_cast<float(&)[kColumns / 2]>(s);
    wgmma_fence();
    GATUN_UNROLL
    for (int step = 0; step < Depth / 16; ++step) {
      const int part = step / 4, column = step % 4 * 16;
      wgmma<T, kColumns>(d, operand(left.rows + part * kRows * 64 + column), operand(tile + part * kColumns * 64 + column), step > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
    hold_registers(d);
  }

  // The accumulators of 16 columns are, rounded to T, the fragment of a left operand.
  template <bool Full>
  __device__ static __forceinline__ void mma_pv(float (&o)[1][Depth / 8][4], const float (&p)[1][kColumns / 8][4], const T* tile, int, float*) {
    auto& d = reinterpret_cast<float(&)[Depth / 2]>(o);
    uint32_t a[kColumns / 16][4];
    GATUN_UNROLL
    for (int g = 0; g < kColumns / 16; ++g) {
      GATUN_UNROLL
      for (int e = 0; e < 4; ++e) a[g][e] = packed<T>(p[0][2 * g + e / 2][e % 2 * 2], p[0][2 * g + e / 2][e % 2 * 2 + 1]);
    }
    hold_registers(d);
    wgmma_fence();
    GATUN_UNROLL
    for (int g = 0; g < kColumns / 16; ++g) wgmma<T, Depth, true>(d, a[g], operand(tile + g * 16 * 64, kColumns * 128), true);
    wgmma_commit();
    wgmma_wait<0>();
    hold_registers(d);
  }
};

// full: bytes have come; empty: all consumers have read. Queries have two places, so that the next item's come early.
template <class Policy>
struct HopperTiles {
  using T = typename Policy::T;
  T *q, *k, *v;
  uint64_t *q_full, *q_empty, *full, *empty;
  __host__ __device__ explicit HopperTiles(Carve& carve)
      : q(carve.take<T>(2 * Policy::kLeftTile, 1024)), k(carve.take<T>(Policy::kStages * Policy::kTile, 1024)),
        v(carve.take<T>(Policy::kStages * Policy::kTile, 1024)), q_full(carve.take<uint64_t>(2)), q_empty(carve.take<uint64_t>(2)),
        full(carve.take<uint64_t>(Policy::kStages)), empty(carve.take<uint64_t>(Policy::kStages)) {}
};

// Tiles of keys that some row of the item sees.
template <class Policy>
__device__ __forceinline__ int steps_of(const Work& w) {
  const int seen = clamped(min(w.queries, w.first + Policy::kRows) + w.diagonal, 0, w.keys);
  return (seen + Policy::kColumns - 1) / Policy::kColumns;
}

template <class Policy>
__device__ __forceinline__ void copy_parts(typename Policy::T* tile, int rows, const TensorMap& map, uint64_t* barrier, int first, const Work& w) {
  GATUN_UNROLL
  for (int part = 0; part < Policy::kParts; ++part) gatun::copy_tile(tile + part * rows * 64, map, barrier, {part * 64, first, w.head, w.batch});
}

template <class Policy>
__global__ void __launch_bounds__(Policy::kThreads) hopper_forward_kernel(const __grid_constant__ TensorMap map_q, const __grid_constant__ TensorMap map_k,
                                                                          const __grid_constant__ TensorMap map_v,
                                                                          const __grid_constant__ ForwardArguments<typename Policy::T> a) {
  using T = typename Policy::T;
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const HopperTiles<Policy> tiles(carve);
  const AttentionProblem<T>& p = a.p;
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      mbarrier_init(tiles.q_full + i, 1);
      mbarrier_init(tiles.q_empty + i, Policy::kWarps);
    }
    for (int i = 0; i < Policy::kStages; ++i) {
      mbarrier_init(tiles.full + i, 1);
      mbarrier_init(tiles.empty + i, Policy::kWarps);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  int turn = 0, round = 0;  // items with keys, tiles of keys, so far
  Work w;
  if (__shfl_sync(kFullMask, warp_index(), 0) >= Policy::kWarps) {
    give_registers<Policy::kCopyRegisters>();
    if (threadIdx.x != Policy::kWarps * 32) return;
    for (int64_t item = blockIdx.x; item < a.plan.items; item += gridDim.x) {
      if (!find_work<Side::kQueries>(p, a.plan, Policy::kRows, item, w)) continue;
      const int steps = steps_of<Policy>(w);
      if (steps == 0) continue;
      const int place = turn % 2;
      mbarrier_wait(tiles.q_empty + place, turn / 2 % 2 ^ 1);
      mbarrier_arrive_expect(tiles.q_full + place, Policy::kLeftTile * sizeof(T));
      copy_parts<Policy>(tiles.q + place * Policy::kLeftTile, Policy::kRows, map_q, tiles.q_full + place, w.first, w);
      ++turn;
      for (int step = 0; step < steps; ++step, ++round) {
        const int stage = round % Policy::kStages;
        mbarrier_wait(tiles.empty + stage, round / Policy::kStages % 2 ^ 1);
        mbarrier_arrive_expect(tiles.full + stage, 2 * Policy::kTile * sizeof(T));
        copy_parts<Policy>(tiles.k + stage * Policy::kTile, Policy::kColumns, map_k, tiles.full + stage, step * Policy::kColumns, w);
        copy_parts<Policy>(tiles.v + stage * Policy::kTile, Policy::kColumns, map_v, tiles.full + stage, step * Policy::kColumns, w);
      }
    }
    return;
  }
  take_registers<Policy::kProductRegisters>();
  const bool transformed = p.bias.data != nullptr || !(p.scale > 0);
  const float unit = transformed ? 1.0f : p.scale * kLog2E;
  for (int64_t item = blockIdx.x; item < a.plan.items; item += gridDim.x) {
    if (!find_work<Side::kQueries>(p, a.plan, Policy::kRows, item, w)) continue;
    const int steps = steps_of<Policy>(w), place = turn % 2;
    typename Policy::Left left(tiles.q + place * Policy::kLeftTile);
    Softmax<Policy> state;
    begin(state);
    if (steps > 0) mbarrier_wait(tiles.q_full + place, turn / 2 % 2);
    for (int step = 0; step < steps; ++step, ++round) {
      const int stage = round % Policy::kStages;
      mbarrier_wait(tiles.full + stage, round / Policy::kStages % 2);
      attend_tile<Policy>(p, w, left, tiles.k + stage * Policy::kTile, tiles.v + stage * Policy::kTile, nullptr, step * Policy::kColumns, transformed,
                          unit, state);
      if (lane_index() == 0) mbarrier_arrive(tiles.empty + stage);
    }
    if (steps > 0) {
      if (lane_index() == 0) mbarrier_arrive(tiles.q_empty + place);
      ++turn;
    }
    finish<Policy>(a, w, transformed, state);
  }
}

// Queries, keys or values as (column, row, head, batch) for bulk copies of so many rows.
template <class T>
TensorMap map_of(const HeadView<const T>& view, const AttentionProblem<T>& p, int64_t rows, int tile_rows) {
  const auto bytes = [](int64_t extent, int64_t stride) { return static_cast<uint64_t>(extent > 1 ? stride : 8) * sizeof(T); };
  const uint64_t size[4] = {static_cast<uint64_t>(p.depth), static_cast<uint64_t>(rows), static_cast<uint64_t>(p.heads), static_cast<uint64_t>(p.batch)};
  const uint64_t stride[3] = {bytes(rows, view.row_stride), bytes(p.heads, view.head_stride), bytes(p.batch, view.batch_stride)};
  TensorMap map;
  check_cuda(make_tensor_map(map, view.data, 4, size, stride, static_cast<unsigned>(tile_rows)));
  return map;
}

template <class Policy>
void run_hopper_forward(const Stream& stream, const ForwardArguments<typename Policy::T>& arguments) {
  const auto& p = arguments.p;
  Carve carve(nullptr);
  const HopperTiles<Policy> tiles(carve);
  // A block goes on with further items, whose tiles it fetches early.
  const int64_t blocks = resident_blocks(hopper_forward_kernel<Policy>, Policy::kThreads, carve.bytes());
  if (blocks == 0) throw std::runtime_error("attention of sm_90a does not fit the device");
  enqueue(stream, hopper_forward_kernel<Policy>, static_cast<unsigned>(std::min(blocks, arguments.plan.items)), Policy::kThreads, carve.bytes(),
          map_of(p.q, p, p.queries, Policy::kRows), map_of(p.k, p, p.keys, Policy::kColumns), map_of(p.v, p, p.keys, Policy::kColumns), arguments);
}

template <class T>
void launch_hopper_forward(const Stream& stream, const ForwardArguments<T>& arguments) {
  if (arguments.p.depth <= 64) run_hopper_forward<Hopper<T, 64>>(stream, arguments);
  else if (arguments.p.depth <= 96) run_hopper_forward<Hopper<T, 96>>(stream, arguments);
  else run_hopper_forward<Hopper<T, 128>>(stream, arguments);
}

}  // namespace gatun::attention
