// SPDX-License-Identifier: Apache-2.0
// Entry points of the random operations; the numbers themselves are in random.h, which other kernels include.
#pragma once

#include <cstddef>

#include "kernels/common/rows.h"
#include "kernels/common/stream.h"
#include "kernels/random/random.h"

namespace gatun {

// Sample ids of the rows of an operand: ids[row], or first + row where ids is null.
struct RandomIds {
  const int64_t* ids;
  int64_t first;
  GATUN_RANDOM_INLINE uint64_t of(int64_t row) const {
    return ids != nullptr ? static_cast<uint64_t>(ids[row]) : static_cast<uint64_t>(first) + static_cast<uint64_t>(row);
  }
};

struct RandomRank {
  uint64_t order;
  int64_t number;
};

// The key is read when the operation runs: on CUDA it is device memory.
void random_bits_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<uint32_t> out);
void random_uniform_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<float> out, float low, float high);
void random_normal_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<float> out, float mean, float deviation);

// The first `wanted` of `count` rows in the order of random_order(id), then of the row. A permutation is that of the ids 0, 1, ...
size_t random_order_bytes(int64_t count);
void random_order_rows(const Stream& stream, const gatun_random_key* key, RandomIds ids, int64_t count, int64_t wanted, void* workspace,
                       int32_t* out);

}  // namespace gatun
