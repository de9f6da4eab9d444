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

// Philox is written in vectors; what turns its words into numbers are branch-free scalar loops over blocks, which the compiler vectorises for each level.
// IEEE operations and explicit fma give the same bits in every lane of every level.
HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kBlocks = 64;          // Philox blocks evaluated together
constexpr int64_t kColumns = 16 * 1024;  // columns a task fills, a multiple of 4 * kBlocks

struct Drawn {
  HWY_ALIGN uint32_t word[4 * kBlocks];
};

// draw_in_order: the words as the columns have them. draw_apart: each of a block's four words in a run of its own.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void draw_in_order(const RandomSource& source, uint64_t id, uint64_t first, Drawn& drawn) {
  for (int64_t i = 0; i < kBlocks; ++i) {
    const RandomWords words = random_block(source, id, first + static_cast<uint64_t>(i));
    for (int j = 0; j < 4; ++j) drawn.word[4 * i + j] = words.word[j];
  }
}

HWY_INLINE void draw_apart(const RandomSource& source, uint64_t id, uint64_t first, Drawn& drawn) {
  for (int64_t i = 0; i < kBlocks; ++i) {
    const RandomWords words = random_block(source, id, first + static_cast<uint64_t>(i));
    for (int j = 0; j < 4; ++j) drawn.word[j * kBlocks + i] = words.word[j];
  }
}
#else
using U64 = hn::ScalableTag<uint64_t>;
using VU64 = hn::Vec<U64>;

// Calls store(i, words) for blocks i to i + lanes of 64 bits. A word lies in a lane's low half; what is in the high half is never read, neither by the
// multiplication of low halves nor by what stores.
template <class Store>
HWY_INLINE void draw_vectors(const RandomSource& source, uint64_t id, uint64_t first, const Store& store) {
  const U64 d;
  const hn::Repartition<uint32_t, U64> halves;
  const auto product = [&](VU64 x, uint32_t factor) HWY_ATTR { return hn::MulEven(hn::BitCast(halves, x), hn::Set(halves, factor)); };
  // A vector's ten rounds are one chain: those of a few vectors overlap.
  constexpr int kSide = HWY_TARGET == HWY_AVX2 ? 2 : 4;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VU64 step = hn::Set(d, static_cast<uint64_t>(lanes));
  VU64 block = hn::Iota(d, first);
  for (int64_t i = 0; i < kBlocks; i += kSide * lanes) {
    VU64 c0[kSide], c1[kSide], c2[kSide], c3[kSide];
    each<kSide>([&](int v) HWY_ATTR {
      c0[v] = block;
      c1[v] = hn::ShiftRight<32>(block);
      c2[v] = hn::Set(d, static_cast<uint32_t>(id) ^ source.tweak[0]);
      c3[v] = hn::Set(d, static_cast<uint32_t>(id >> 32) ^ source.tweak[1]);
      block = hn::Add(block, step);
    });
    uint32_t k0 = source.key[0], k1 = source.key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const VU64 first_key = hn::Set(d, uint64_t{k0}), second_key = hn::Set(d, uint64_t{k1});
      each<kSide>([&](int v) HWY_ATTR {
        const VU64 a = product(c0[v], 0xD2511F53u), b = product(c2[v], 0xCD9E8D57u);
        c0[v] = hn::Xor3(hn::ShiftRight<32>(b), c1[v], first_key);
        c2[v] = hn::Xor3(hn::ShiftRight<32>(a), c3[v], second_key);
        c1[v] = b;
        c3[v] = a;
      });
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    each<kSide>([&](int v) HWY_ATTR { store(i + v * lanes, c0[v], c1[v], c2[v], c3[v]); });
  }
}

HWY_INLINE void draw_in_order(const RandomSource& source, uint64_t id, uint64_t first, Drawn& drawn) {
  draw_vectors(source, id, first, [&drawn](int64_t i, VU64 c0, VU64 c1, VU64 c2, VU64 c3) HWY_ATTR {
    const U64 d;
    const VU64 low = hn::Set(d, uint64_t{0xFFFFFFFFu});
    const VU64 early = hn::OrAnd(hn::ShiftLeft<32>(c1), c0, low), late = hn::OrAnd(hn::ShiftLeft<32>(c3), c2, low);
    hn::StoreInterleaved2(early, late, d, reinterpret_cast<uint64_t*>(drawn.word + 4 * i));
  });
}

HWY_INLINE void draw_apart(const RandomSource& source, uint64_t id, uint64_t first, Drawn& drawn) {
  draw_vectors(source, id, first, [&drawn](int64_t i, VU64 c0, VU64 c1, VU64 c2, VU64 c3) HWY_ATTR {
    const hn::Rebind<uint32_t, U64> words;
    hn::StoreU(hn::TruncateTo(words, c0), words, drawn.word + i);
    hn::StoreU(hn::TruncateTo(words, c1), words, drawn.word + kBlocks + i);
    hn::StoreU(hn::TruncateTo(words, c2), words, drawn.word + 2 * kBlocks + i);
    hn::StoreU(hn::TruncateTo(words, c3), words, drawn.word + 3 * kBlocks + i);
  });
}
#endif

// Calls convert(id, block, values), which makes 4 * kBlocks values in column order, for every run of blocks of every row.
template <class T, class Convert>
HWY_INLINE void fill(int threads, RandomIds ids, Rows<T> out, const Convert& convert) {
  const int64_t chunks = chunk_count(out.columns, kColumns);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t task = 0; task < out.rows * chunks; ++task) {
    const int64_t row = task / chunks;
    const int64_t begin = task % chunks * kColumns;
    const int64_t end = std::min(begin + kColumns, out.columns);
    const uint64_t id = ids.of(row);
    T* to = out.row(row);
    int64_t column = begin;
    for (; column + 4 * kBlocks <= end; column += 4 * kBlocks) convert(id, static_cast<uint64_t>(column) / 4, to + column);
    if (column < end) {
      T values[4 * kBlocks];
      convert(id, static_cast<uint64_t>(column) / 4, values);
      std::copy_n(values, end - column, to + column);
    }
  }
}

void bits(int threads, const gatun_random_key& key, RandomIds ids, Rows<uint32_t> out) {
  const RandomSource source = random_source(key);
  fill(threads, ids, out, [&source](uint64_t id, uint64_t block, uint32_t* values) HWY_ATTR {
    Drawn drawn;
    draw_in_order(source, id, block, drawn);
    std::copy_n(drawn.word, 4 * kBlocks, values);
  });
}

void uniform(int threads, const gatun_random_key& key, RandomIds ids, Rows<float> out, float low, float high) {
  const RandomSource source = random_source(key);
  fill(threads, ids, out, [&source, low, high](uint64_t id, uint64_t block, float* HWY_RESTRICT values) HWY_ATTR {
    Drawn drawn;
    draw_in_order(source, id, block, drawn);
    for (int64_t i = 0; i < 4 * kBlocks; ++i) values[i] = random_uniform_of(drawn.word[i], low, high);
  });
}

void normal(int threads, const gatun_random_key& key, RandomIds ids, Rows<float> out, float mean, float deviation) {
  const RandomSource source = random_source(key);
  fill(threads, ids, out, [&source, mean, deviation](uint64_t id, uint64_t block, float* HWY_RESTRICT values) HWY_ATTR {
    Drawn drawn;
    draw_apart(source, id, block, drawn);
    float z[4][kBlocks];
    for (int pair = 0; pair < 4; pair += 2) {
      const uint32_t* radius = drawn.word + pair * kBlocks;
      for (int64_t i = 0; i < kBlocks; ++i) random_normal_of(radius[i], radius[kBlocks + i], &z[pair][i], &z[pair + 1][i]);
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
