// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.h"

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/random/random_fill.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/random/random.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

#ifndef GATUN_RANDOM_ORDER_
#define GATUN_RANDOM_ORDER_
namespace gatun {

// A total order: the result does not depend on the algorithm.
inline bool before(const RandomRank& a, const RandomRank& b) { return a.order != b.order ? a.order < b.order : a.number < b.number; }

// Keys are uniform, so their highest bits are buckets of about kBucket numbers, and the next bits places of about one.
struct RandomBuckets {
  static constexpr int64_t kFew = 4096, kBucket = 1024, kMostBits = 12, kChunks = 16;
  int bits = 1;
  int64_t count;
  explicit RandomBuckets(int64_t numbers) : count(numbers) {
    while (bits < kMostBits && (count >> (bits + 1)) >= kBucket) ++bits;
  }
  bool few() const { return count <= kFew; }
  int64_t buckets() const { return int64_t{1} << bits; }
  int64_t chunk(int64_t c) const { return count * c / kChunks; }
};

}  // namespace gatun
#endif

// No intrinsics here: the loops below are branch-free scalar code over blocks, which the compiler vectorises for each level.
// IEEE operations and explicit fma give the same bits in every lane of every level.
HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kBlocks = 64;          // Philox blocks evaluated together
constexpr int64_t kColumns = 16 * 1024;  // columns a task fills, a multiple of 4 * kBlocks

struct Drawn {
  uint32_t word[4][kBlocks];
};

HWY_INLINE void draw(const RandomSource& source, uint64_t id, uint64_t first, Drawn& drawn) {
  for (int64_t i = 0; i < kBlocks; ++i) {
    const RandomWords words = random_block(source, id, first + static_cast<uint64_t>(i));
    for (int j = 0; j < 4; ++j) drawn.word[j][i] = words.word[j];
  }
}

// Calls convert(drawn, values), which makes 4 * kBlocks values in column order, for every run of blocks of every row.
template <class T, class Convert>
HWY_INLINE void fill(int threads, const gatun_random_key& key, RandomIds ids, Rows<T> out, const Convert& convert) {
  const RandomSource source = random_source(key);
  const int64_t chunks = chunk_count(out.columns, kColumns);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t task = 0; task < out.rows * chunks; ++task) {
    const int64_t row = task / chunks;
    const int64_t begin = task % chunks * kColumns;
    const int64_t end = std::min(begin + kColumns, out.columns);
    const uint64_t id = ids.of(row);
    T* to = out.row(row);
    Drawn drawn;
    T values[4 * kBlocks];
    for (int64_t column = begin; column < end; column += 4 * kBlocks) {
      draw(source, id, static_cast<uint64_t>(column) / 4, drawn);
      convert(drawn, values);
      std::copy_n(values, std::min(4 * kBlocks, end - column), to + column);
    }
  }
}

void bits(int threads, const gatun_random_key& key, RandomIds ids, Rows<uint32_t> out) {
  fill(threads, key, ids, out, [](const Drawn& drawn, uint32_t* values) HWY_ATTR {
    for (int64_t i = 0; i < kBlocks; ++i) {
      for (int j = 0; j < 4; ++j) values[4 * i + j] = drawn.word[j][i];
    }
  });
}

void uniform(int threads, const gatun_random_key& key, RandomIds ids, Rows<float> out, float low, float high) {
  fill(threads, key, ids, out, [low, high](const Drawn& drawn, float* values) HWY_ATTR {
    for (int64_t i = 0; i < kBlocks; ++i) {
      for (int j = 0; j < 4; ++j) values[4 * i + j] = random_uniform_of(drawn.word[j][i], low, high);
    }
  });
}

void normal(int threads, const gatun_random_key& key, RandomIds ids, Rows<float> out, float mean, float deviation) {
  fill(threads, key, ids, out, [mean, deviation](const Drawn& drawn, float* values) HWY_ATTR {
    float z[4][kBlocks];
    for (int pair = 0; pair < 4; pair += 2) {
      for (int64_t i = 0; i < kBlocks; ++i) random_normal_of(drawn.word[pair][i], drawn.word[pair + 1][i], &z[pair][i], &z[pair + 1][i]);
    }
    for (int64_t i = 0; i < kBlocks; ++i) {
      for (int j = 0; j < 4; ++j) values[4 * i + j] = random_fma(z[j][i], deviation, mean);
    }
  });
}

void ranks_of(const RandomSource& source, RandomIds ids, int64_t begin, int64_t end, RandomRank* ranks) {
  uint64_t orders[kBlocks];
  for (int64_t first = begin; first < end; first += kBlocks) {
    const int64_t n = std::min(kBlocks, end - first);
    if (n == kBlocks && ids.ids == nullptr) {
      for (int64_t i = 0; i < kBlocks; ++i) orders[i] = random_order(source, static_cast<uint64_t>(ids.first + first + i));
    } else {
      for (int64_t i = 0; i < n; ++i) orders[i] = random_order(source, ids.of(first + i));
    }
    for (int64_t i = 0; i < n; ++i) ranks[first + i] = {orders[i], first + i};
  }
}

// Sorts a bucket from `from` to `to` of the same length by counting its next bits, and what shares a place by comparing.
void sort_bucket(int bits, const RandomRank* from, RandomRank* to, int64_t count) {
  int next = 1;
  while (next < RandomBuckets::kMostBits && (int64_t{1} << next) < count) ++next;
  int64_t places[(1 << RandomBuckets::kMostBits) + 1] = {};
  const auto place = [&](const RandomRank& rank) { return rank.order << bits >> (64 - next); };
  for (int64_t i = 0; i < count; ++i) ++places[place(from[i]) + 1];
  const int64_t all = int64_t{1} << next;
  for (int64_t p = 0; p < all; ++p) places[p + 1] += places[p];
  for (int64_t i = 0; i < count; ++i) to[places[place(from[i])]++] = from[i];
  // Each place now ends where the next one began.
  for (int64_t p = 0, begin = 0; p < all; begin = places[p++]) {
    if (places[p] - begin > 1) std::sort(to + begin, to + places[p], before);
  }
}

// starts: kChunks by buckets
void order_many(int threads, const RandomSource& source, RandomIds ids, const RandomBuckets& plan, int64_t wanted, RandomRank* ranks, RandomRank* other,
                int64_t* starts, int32_t* out) {
  constexpr int64_t kChunks = RandomBuckets::kChunks;
  const int64_t buckets = plan.buckets();
  const int shift = 64 - plan.bits;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t c = 0; c < kChunks; ++c) {
    int64_t* own = starts + c * buckets;
    std::fill_n(own, buckets, 0);
    ranks_of(source, ids, plan.chunk(c), plan.chunk(c + 1), ranks);
    for (int64_t i = plan.chunk(c); i < plan.chunk(c + 1); ++i) ++own[ranks[i].order >> shift];
  }
  int64_t at = 0;
  for (int64_t b = 0; b < buckets; ++b) {
    for (int64_t c = 0; c < kChunks; ++c) {
      const int64_t here = starts[c * buckets + b];
      starts[c * buckets + b] = at;
      at += here;
    }
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t c = 0; c < kChunks; ++c) {
    int64_t* own = starts + c * buckets;
    for (int64_t i = plan.chunk(c); i < plan.chunk(c + 1); ++i) other[own[ranks[i].order >> shift]++] = ranks[i];
  }
  // The last chunk's places are the ends of the buckets now.
  const int64_t* ends = starts + (kChunks - 1) * buckets;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
  for (int64_t b = 0; b < buckets; ++b) {
    const int64_t begin = b == 0 ? 0 : ends[b - 1], end = ends[b];
    if (begin >= wanted) continue;
    sort_bucket(plan.bits, other + begin, ranks + begin, end - begin);
    for (int64_t i = begin; i < std::min(end, wanted); ++i) out[i] = static_cast<int32_t>(ranks[i].number);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

void random_bits_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<uint32_t> out) {
  GATUN_DISPATCH(bits)(stream.threads(), *key, ids, out);
}

void random_uniform_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<float> out, float low, float high) {
  GATUN_DISPATCH(uniform)(stream.threads(), *key, ids, out, low, high);
}

void random_normal_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<float> out, float mean, float deviation) {
  GATUN_DISPATCH(normal)(stream.threads(), *key, ids, out, mean, deviation);
}

size_t random_order_bytes(int64_t count) {
  const RandomBuckets plan(count);
  if (plan.few()) return static_cast<size_t>(count) * sizeof(RandomRank);
  return static_cast<size_t>(2 * count) * sizeof(RandomRank) + static_cast<size_t>(RandomBuckets::kChunks * plan.buckets()) * sizeof(int64_t);
}

void random_order_rows(const Stream& stream, const gatun_random_key* key, RandomIds ids, int64_t count, int64_t wanted, void* workspace,
                       int32_t* out) {
  RandomRank* ranks = static_cast<RandomRank*>(workspace);
  const RandomSource source = random_source(*key);
  const RandomBuckets plan(count);
  if (!plan.few()) {
    int64_t* starts = reinterpret_cast<int64_t*>(ranks + 2 * count);
    GATUN_DISPATCH(order_many)(stream.threads(), source, ids, plan, wanted, ranks, ranks + count, starts, out);
    return;
  }
  for (int64_t i = 0; i < count; ++i) ranks[i] = {random_order(source, ids.of(i)), i};
  std::sort(ranks, ranks + count, before);
  for (int64_t i = 0; i < wanted; ++i) out[i] = static_cast<int32_t>(ranks[i].number);
}

}  // namespace gatun
#endif
