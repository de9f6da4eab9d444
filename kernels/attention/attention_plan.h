// SPDX-License-Identifier: Apache-2.0
// How attention is cut into work items and tiles, and what scratch a thread has: the same for every instruction set.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <numeric>

#include "kernels/attention/attention.h"

namespace gatun::attention {

using Problem = AttentionProblem<float>;
using Gradients = AttentionGradients<float>;

constexpr int64_t kQueryBlock = 64;   // lanes of a tile
constexpr int64_t kKeyTile = 136;     // rows of a tile: with 64 queries 34 KiB; two tiles for 257 tokens
constexpr int64_t kChunk = 320;       // queries (forward) or keys (backward) whose sums one work item keeps
constexpr int64_t kAlign = 16;        // floats: the widest vector, and a cache line
constexpr int64_t kMostDotted = 5;    // queries behind the last whole vector that are taken as dot products
constexpr int64_t kResidentWays = 8;
constexpr int64_t kWidestBlock = kQueryBlock + kAlign;
constexpr int64_t kOnePassItems = 16; // heads from which the backward pass need not be split within a head
constexpr int64_t kCausalThreads = 8; // for which causal heads are cut, whatever their number is
constexpr float kLog2E = 1.44269504f;
constexpr float kInverse = static_cast<float>(1.0 / double{kLog2E});
constexpr float kInverseLow = static_cast<float>(1.0 / double{kLog2E} - double{kInverse});
constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// n cut into the fewest parts of at most `most`, as even as multiples of `unit` allow.
inline int64_t even_part(int64_t n, int64_t most, int64_t unit) {
  const int64_t parts = chunk_count(n, most);
  return parts == 0 ? unit : round_up(chunk_count(n, parts), unit);
}

inline int64_t longest(const int32_t* offsets, int64_t sequences, int64_t rows) {
  if (offsets == nullptr) return rows;
  int64_t most = 0;
  for (int64_t s = 0; s < sequences; ++s) most = std::max<int64_t>(most, offsets[s + 1] - offsets[s]);
  return most;
}

// One batch entry or sequence, seen by one head.
struct Head {
  int64_t batch, head;           // for the views
  int64_t query_start, queries;  // rows of the views
  int64_t key_start, keys;
  int64_t diagonal;              // query i sees keys j <= i + diagonal
};

inline Head head_of(const Problem& p, int64_t batch, int64_t head) {
  Head h{batch, head, 0, p.queries, 0, p.keys, 0};
  if (p.query_offsets != nullptr) {
    h.query_start = p.query_offsets[batch];
    h.queries = p.query_offsets[batch + 1] - h.query_start;
    h.key_start = p.key_offsets[batch];
    h.keys = p.key_offsets[batch + 1] - h.key_start;
  }
  h.diagonal = p.causal ? h.keys - h.queries : std::numeric_limits<int64_t>::max() / 2;
  return h;
}

// Neighbouring heads share pages and lines of prefetching, so a thread takes a few in a row where there are plenty.
inline int64_t neighbours(const Problem& p, int64_t items) { return items >= 64 ? (p.heads <= 8 ? p.heads : 4) : 1; }

// The items of one thread of several: claimed one ahead, so that what comes next is known when an item begins.
class Items {
 public:
  Items(std::atomic<int64_t>& claimed, int64_t count, int64_t unit) : claimed_(claimed), count_(count), unit_(unit) {
    advance();
    advance();
  }
  int64_t item = 0, next = 0;  // count or more: none
  void advance() {
    item = next;
    if (++at_ >= end_) {
      at_ = claimed_.fetch_add(unit_, std::memory_order_relaxed);
      end_ = std::min(at_ + unit_, count_);
    }
    next = at_;
  }

 private:
  std::atomic<int64_t>& claimed_;
  int64_t count_, unit_, at_ = 0, end_ = 0;
};

// How many rows so far apart stay in a first cache of 64 sets and eight ways or more: rows a power of two apart fall on few of them.
inline int64_t resident_rows(int64_t row_stride, int64_t depth) {
  if (row_stride == depth) return std::numeric_limits<int64_t>::max();
  const int64_t lines = std::max<int64_t>(row_stride * int64_t{sizeof(float)} / 64, 1);
  return 64 / std::gcd(lines, int64_t{64}) * kResidentWays;
}

// Hands out pieces of a thread's scratch, in floats. Sizes depend on bounds only, so a null base computes the bytes needed.
struct Carve {
  float* base;
  int64_t used = 0;
  float* take(int64_t floats) {
    float* piece = base == nullptr ? nullptr : base + used;
    used += round_up(floats, kAlign);
    return piece;
  }
};

// Cache lines to be fetched beside one block of a product: rows of so many pairs of lines, and from the end of a row to the next.
struct Fetch {
  const char* at;
  int64_t pairs, pairs_per_row, jump;
};

// Rows that will be needed soon, fetched a few at a time within the products: heads lie apart in memory (D of every H·D or 3·H·D
// elements), which the processor's own prefetching does not follow. Affects speed only.
class Prefetch {
 public:
  template <class T>
  void add(const HeadView<T>& view, const Head& h, int64_t start, int64_t rows) {
    if (count_ == kMost || rows <= 0) return;
    list_[count_++] = {reinterpret_cast<const char*>(view.at(h.batch, start, h.head)), view.row_stride * int64_t{sizeof(float)}, rows};
    rows_ += rows;
  }
  // Spreads what was added over this many blocks of products. A block fetches rows of one view only, so the last of a view may be few: one or two
  // rows more a block, if with them all is fetched.
  void spread(int64_t depth, int64_t blocks) {
    pairs_ = chunk_count(depth * int64_t{sizeof(float)}, 128);
    const int64_t least = chunk_count(rows_, std::max<int64_t>(blocks, 1));
    rows_per_block_ = least;
    while (rows_per_block_ < least + 2 && blocks_needed() > blocks) ++rows_per_block_;
    if (blocks_needed() > blocks) rows_per_block_ = least;
  }
  // What the next block fetches within this many steps; valid until the next call.
  const Fetch& next(int64_t steps) {
    fetch_.pairs = 0;
    if (current_ == count_) return fetch_;
    Rows& rows = list_[current_];
    const int64_t n = std::min({rows_per_block_, rows.count, steps / pairs_});
    fetch_.at = rows.at;
    fetch_.pairs = n * pairs_;
    fetch_.pairs_per_row = pairs_;
    fetch_.jump = rows.stride - pairs_ * 128;
    rows.at += n * rows.stride;
    rows.count -= n;
    if (rows.count == 0) ++current_;
    return fetch_;
  }

 private:
  static constexpr int kMost = 8;
  struct Rows {
    const char* at;
    int64_t stride, count;
  };
  int64_t blocks_needed() const {
    int64_t blocks = 0;
    for (int i = 0; i < count_; ++i) blocks += chunk_count(list_[i].count, rows_per_block_);
    return blocks;
  }
  Rows list_[kMost];
  int count_ = 0, current_ = 0;
  int64_t rows_ = 0, pairs_ = 1, rows_per_block_ = 0;
  Fetch fetch_{};
};

struct ForwardScratch {
  float *queries, *dotted, *out, *maximum, *sum, *keys, *values, *scores, *bias, *alpha;
  int64_t floats;
  ForwardScratch(float* base, const Problem& p) {
    Carve carve{base};
    const int64_t padded = round_up(p.depth, kAlign);
    const int64_t tile = std::min(kKeyTile, p.keys);
    const int64_t rows = std::min(kChunk, round_up(p.queries, kAlign));
    queries = carve.take(rows * p.depth);
    dotted = carve.take(kMostDotted * padded);
    out = carve.take(rows * padded);
    maximum = carve.take(rows);
    sum = carve.take(rows);
    keys = carve.take(tile * padded);
    values = carve.take(tile * padded);
    scores = carve.take(tile * kWidestBlock);
    bias = carve.take(p.bias.data != nullptr ? tile * kWidestBlock : 0);
    alpha = carve.take(kWidestBlock);
    floats = carve.used;
  }
};

struct BackwardScratch {
  float *keys, *values, *dkeys, *dvalues;                                             // a chunk of keys
  float *queries_t, *dout_t, *queries, *dout, *dotted_queries, *dotted_dout, *dqueries;  // a block of queries
  float *probabilities, *dscores, *bias, *dbias, *lse, *lse_low, *delta;              // a tile
  int64_t floats;
  BackwardScratch(float* base, const Problem& p, bool with_dbias) {
    Carve carve{base};
    const int64_t padded = round_up(p.depth, kAlign);
    const int64_t chunk = std::min(kChunk, p.keys);
    const int64_t tile = round_up(std::min(kKeyTile, p.keys), kAlign);
    for (float** piece : {&keys, &values, &dkeys, &dvalues}) *piece = carve.take(chunk * padded);
    for (float** piece : {&queries_t, &dout_t}) *piece = carve.take(p.depth * kQueryBlock);
    for (float** piece : {&queries, &dout, &dqueries}) *piece = carve.take(kWidestBlock * padded);
    for (float** piece : {&dotted_queries, &dotted_dout}) *piece = carve.take(kMostDotted * padded);
    for (float** piece : {&probabilities, &dscores}) *piece = carve.take(tile * kWidestBlock);
    bias = carve.take(p.bias.data != nullptr ? tile * kWidestBlock : 0);
    dbias = carve.take(with_dbias ? tile * kWidestBlock : 0);
    for (float** piece : {&lse, &lse_low, &delta}) *piece = carve.take(kWidestBlock);
    floats = carve.used;
  }
};

// What a pass over a range of queries and keys writes.
enum class Pass { kAll, kQueries, kKeys, kBias };

struct Range {
  int64_t query_begin, query_end, key_begin, key_end;
};

}  // namespace gatun::attention
