// SPDX-License-Identifier: Apache-2.0
// How info_nce is cut into work items and tiles, and what scratch a thread has: the same for every instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

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
constexpr int64_t kMostChunk = 256;   // lanes that one work item owns: a tile of rows is fetched once for all of them
constexpr int64_t kLongRow = 512;     // from here on the rows of one block of lanes fill the cache
constexpr int64_t kEnoughItems = 16;  // work items that a small problem is cut into, if it can be

// Lanes that a work item owns.
inline int64_t chunk_lanes(int64_t lanes, int64_t depth) {
  if (depth > kLongRow) return kLanes;
  return std::clamp(round_up(chunk_count(lanes, kEnoughItems), kLanes), kLanes, kMostChunk);
}

struct ForwardScratch {
  float *lanes, *maximum, *sum, *positive, *scores;
  int32_t *groups, *counts;
  int64_t floats;
  ForwardScratch(float* base, const InfoNceProblem& p) {
    Carve carve{base};
    const int64_t chunk = chunk_lanes(p.queries.rows, p.depth);
    lanes = carve.take(chunk * p.depth);
    for (float** piece : {&maximum, &sum, &positive}) *piece = carve.take(chunk);
    for (int32_t** piece : {&groups, &counts}) *piece = reinterpret_cast<int32_t*>(carve.take(chunk));
    scores = carve.take(std::min(kRows, p.keys.rows) * kLanes);
    floats = carve.used;
  }
};

// What the gradient of each query's scores is made of; shared by all threads.
struct QueryTerms {
  float* lse;
  float *factor;  // dloss / temperature; 0 without positives
  float *share;   // factor / |P|
  int64_t floats;
  QueryTerms(float* base, const InfoNceProblem& p) {
    Carve carve{base};
    // Whole vectors are read.
    for (float** piece : {&lse, &factor, &share}) *piece = carve.take(p.queries.rows + kAlign);
    floats = carve.used;
  }
};

struct BackwardScratch {
  float *lanes, *gradient, *rows, *weights;
  int32_t* groups;
  int64_t floats;
  BackwardScratch(float* base, const InfoNceProblem& p) {
    Carve carve{base};
    const int64_t most = std::max(p.queries.rows, p.keys.rows);
    const int64_t chunk = chunk_lanes(most, p.depth);
    const int64_t padded = round_up(p.depth, kAlign);
    const int64_t tile = std::min(kRows, most);
    lanes = carve.take(chunk * p.depth);
    gradient = carve.take(chunk * padded);
    rows = carve.take(tile * padded);
    weights = carve.take(tile * kLanes);
    groups = reinterpret_cast<int32_t*>(carve.take(chunk));
    floats = carve.used;
  }
};

}  // namespace gatun::info_nce
