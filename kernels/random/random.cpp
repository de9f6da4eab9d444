// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.h"

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/random/random_fill.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/random/random.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

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

size_t random_order_bytes(int64_t count) { return static_cast<size_t>(count) * sizeof(RandomRank); }

void random_order_rows(const Stream&, const gatun_random_key* key, RandomIds ids, int64_t count, int64_t wanted, void* workspace,
                       int32_t* out) {
  RandomRank* ranks = static_cast<RandomRank*>(workspace);
  const RandomSource source = random_source(*key);
  for (int64_t i = 0; i < count; ++i) ranks[i] = {random_order(source, ids.of(i)), i};
  // A total order: the result does not depend on the algorithm.
  std::sort(ranks, ranks + count, [](const RandomRank& a, const RandomRank& b) {
    return a.order != b.order ? a.order < b.order : a.number < b.number;
  });
  for (int64_t i = 0; i < wanted; ++i) out[i] = static_cast<int32_t>(ranks[i].number);
}

}  // namespace gatun
#endif
