// SPDX-License-Identifier: Apache-2.0
// How info_nce is cut into work items and tiles, and what scratch a thread has: the same for every instruction set.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

#include "kernels/attention/attention_plan.h"
#include "kernels/info_nce/info_nce.h"

namespace gatun::info_nce {

using attention::Carve;
using attention::even_part;
using attention::kAlign;
using attention::kInfinity;
using attention::kLog2E;
using attention::round_up;

constexpr int64_t kLanes = 64;        // lanes of a tile
constexpr int64_t kRows = 128;        // rows of a tile: with 64 lanes 32 KiB
constexpr int64_t kLeastChunk = 64;   // lanes that one work item owns: whole vectors, so that none is shared
constexpr int64_t kMostChunk = 256;   // a tile of rows is fetched once for all of them
constexpr int64_t kLongRow = 512;     // from here on the rows of one block of lanes fill the cache
constexpr int64_t kEnoughItems = 16;  // chunks that a small problem is cut into, if it can be

// Lanes that a work item owns.
inline int64_t chunk_lanes(int64_t lanes, int64_t depth) {
  if (depth > kLongRow) return kLeastChunk;
  return std::clamp(round_up(chunk_count(lanes, kEnoughItems), kLeastChunk), kLeastChunk, kMostChunk);
}

// In the self form each pair of chunks is visited once, for both its sides. The pairs are those of a tournament: in a round no chunk plays
// twice, so the pairs of a round are independent, and each chunk meets the others in an order that depends on their number only.
struct Tournament {
  int64_t chunks;
  int64_t players() const { return chunks + chunks % 2; }  // one sits out if their number is odd
  int64_t rounds() const { return std::max<int64_t>(players() - 1, 0); }
  int64_t games() const { return players() / 2; }
  struct Pair {
    int64_t first, second;
    bool played;
  };
  Pair pair(int64_t round, int64_t game) const {
    const int64_t circle = players() - 1;
    const int64_t a = (round + game) % circle, b = game == 0 ? circle : (round + circle - game) % circle;
    return {std::min(a, b), std::max(a, b), std::max(a, b) < chunks};
  }
};

// Plays a tournament on all threads that call run(): own(chunk) for each, both(first, second) for each pair, done(chunk) after a chunk's
// last. Instead of waiting for all others after each round, a thread waits only for the two chunks of its pair.
class Play {
 public:
  // progress: one number a chunk
  Play(const Tournament& tournament, int32_t* progress) : tournament_(tournament), progress_(progress) {
    std::fill_n(progress, tournament.chunks, 0);
  }
  template <class Own, class Both, class Done>
  void run(Own&& own, Both&& both, Done&& done) {
    const int64_t chunks = tournament_.chunks, rounds = tournament_.rounds(), games = tournament_.games();
    // Handed out in order, so that what a thread waits for is done or another's turn.
    for (int64_t task = next_++; task < chunks + rounds * games; task = next_++) {
      if (task < chunks) {
        own(task);
        advance(task, 1);
        continue;
      }
      const int64_t round = (task - chunks) / games;
      const Tournament::Pair pair = tournament_.pair(round, (task - chunks) % games);
      wait(pair.first, round + 1);
      if (pair.played) {
        wait(pair.second, round + 1);
        both(pair.first, pair.second);
      }
      for (const int64_t chunk : {pair.first, pair.second}) {
        if (chunk >= chunks) continue;
        if (round + 1 == rounds) done(chunk);
        advance(chunk, round + 2);
      }
    }
  }

 private:
  void advance(int64_t chunk, int64_t to) const {
    std::atomic_ref<int32_t>(progress_[chunk]).store(static_cast<int32_t>(to), std::memory_order_release);
  }
  void wait(int64_t chunk, int64_t until) const {
    while (std::atomic_ref<int32_t>(progress_[chunk]).load(std::memory_order_acquire) < until) std::this_thread::yield();
  }

  Tournament tournament_;
  int32_t* progress_;
  std::atomic<int64_t> next_{0};
};

// Of a range of queries: what has been seen of their scores.
struct Statistics {
  float *maximum, *sum;  // Σ exp(score - maximum)
  float* positive;       // sum of positive scores
  int32_t* counts;       // of positives
  Statistics(Carve& carve, int64_t rows) {
    // Whole vectors are read and written.
    for (float** piece : {&maximum, &sum, &positive}) *piece = carve.take(rows + kAlign);
    counts = reinterpret_cast<int32_t*>(carve.take(rows + kAlign));
  }
};

// What tiles need; of one thread.
struct TileScratch {
  float* products;
  float* across;  // a vector for each row, before it is reduced to one number
  float *row_most, *row_unit, *row_total, *lane_most, *lane_positive;
  int32_t* lane_counts;
  explicit TileScratch(Carve& carve) {
    products = carve.take(kRows * kLanes);
    across = carve.take(kRows * kAlign);
    for (float** piece : {&row_most, &row_unit, &row_total}) *piece = carve.take(kRows);
    for (float** piece : {&lane_most, &lane_positive}) *piece = carve.take(kLanes);
    lane_counts = reinterpret_cast<int32_t*>(carve.take(kLanes));
  }
};

// Rows as lanes: transposed by blocks, with their groups. In the self form each chunk is packed once, for all that are compared with it
// (a vector more than there are rows); with two operands a thread packs the chunk that it works on.
struct Lanes {
  float* data;
  int32_t* groups;
  Lanes(Carve& carve, int64_t rows, int64_t depth)
      : data(carve.take(rows * depth)), groups(reinterpret_cast<int32_t*>(carve.take(rows))) {}
  Lanes(float* data, int32_t* groups) : data(data), groups(groups) {}
  Lanes from(int64_t row, int64_t depth) const { return {data + row * depth, groups + row}; }
};

inline int64_t shared_lanes(const InfoNceProblem& p) { return p.self ? p.queries.rows + kAlign : 0; }
inline int64_t self_chunks(const InfoNceProblem& p) {
  return p.self ? chunk_count(p.queries.rows, chunk_lanes(p.queries.rows, p.depth)) : 0;
}
inline int64_t thread_lanes(const InfoNceProblem& p) {
  return p.self ? 0 : chunk_lanes(std::max(p.queries.rows, p.keys.rows), p.depth);
}

// Shared by all threads.
struct ForwardState {
  Statistics statistics;
  Lanes lanes;
  int32_t* progress;
  ForwardState(Carve& carve, const InfoNceProblem& p)
      : statistics(carve, p.queries.rows),
        lanes(carve, shared_lanes(p), p.depth),
        progress(reinterpret_cast<int32_t*>(carve.take(self_chunks(p)))) {}
};

struct ForwardScratch {
  Lanes lanes;
  TileScratch tile;
  int64_t floats;
  ForwardScratch(Carve carve, const InfoNceProblem& p) : lanes(carve, thread_lanes(p), p.depth), tile(carve), floats(carve.used) {}
};

// What the gradient of each query's scores is made of.
struct QueryTerms {
  float* lse;
  float* factor;  // dloss / temperature; 0 without positives
  float* share;   // factor / |P|
  QueryTerms(Carve& carve, int64_t rows) {
    for (float** piece : {&lse, &factor, &share}) *piece = carve.take(rows + kAlign);
  }
};

// Whether rows consist of whole vectors for every instruction set: then they are read and summed where they lie.
inline bool whole_rows(const InfoNceProblem& p) { return p.depth % kAlign == 0; }
inline int64_t padded_depth(const InfoNceProblem& p) { return round_up(p.depth, kAlign); }

// The self form's sums of gradients, where they cannot be kept in dq.
inline int64_t padded_sums(const InfoNceProblem& p) { return p.self && !whole_rows(p) ? p.queries.rows * padded_depth(p) : 0; }

// Shared by all threads.
struct BackwardState {
  QueryTerms terms;
  Lanes lanes;
  float* sums;
  int32_t* progress;
  BackwardState(Carve& carve, const InfoNceProblem& p)
      : terms(carve, p.queries.rows),
        lanes(carve, shared_lanes(p), p.depth),
        sums(carve.take(padded_sums(p))),
        progress(reinterpret_cast<int32_t*>(carve.take(self_chunks(p)))) {}
};

struct BackwardScratch {
  Lanes lanes;
  float *lane_rows, *rows, *gradient, *weights;
  int64_t floats;
  BackwardScratch(Carve carve, const InfoNceProblem& p) : lanes(carve, thread_lanes(p), p.depth) {
    const int64_t chunk = chunk_lanes(std::max(p.queries.rows, p.keys.rows), p.depth);
    const int64_t packed = whole_rows(p) ? 0 : padded_depth(p);
    lane_rows = carve.take(p.self ? chunk * packed : 0);
    rows = carve.take(kRows * packed);
    gradient = carve.take(p.self ? 0 : chunk * padded_depth(p));
    weights = carve.take(kRows * kLanes);
    floats = carve.used;
  }
};

}  // namespace gatun::info_nce
