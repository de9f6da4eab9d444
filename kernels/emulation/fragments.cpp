// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/fragments.h"

namespace gatun::emulation {
namespace {

float low(uint32_t pair, float (*value)(uint16_t)) { return value(static_cast<uint16_t>(pair)); }
float high(uint32_t pair, float (*value)(uint16_t)) { return value(static_cast<uint16_t>(pair >> 16)); }

template <int K>
void multiply(const float (&a)[16][K], const float (&b)[K][8], void* const* arguments) {
  float d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const float* c = static_cast<MmaArgument*>(arguments[lane])->d;
    const int row = lane / 4, column = lane % 4 * 2;
    d[row][column] = c[0];
    d[row][column + 1] = c[1];
    d[row + 8][column] = c[2];
    d[row + 8][column + 1] = c[3];
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < K; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* c = static_cast<MmaArgument*>(arguments[lane])->d;
    const int row = lane / 4, column = lane % 4 * 2;
    c[0] = d[row][column];
    c[1] = d[row][column + 1];
    c[2] = d[row + 8][column];
    c[3] = d[row + 8][column + 1];
  }
}

void mma_16(void* const* arguments, float (*value)(uint16_t)) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* argument = static_cast<MmaArgument*>(arguments[lane]);
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {  // registers: rows first, then the upper half of the columns
      float* to = &a[group + i % 2 * 8][pair + i / 2 * 8];
      to[0] = low(argument->a[i], value);
      to[1] = high(argument->a[i], value);
    }
    for (int i = 0; i < 2; ++i) {
      b[pair + i * 8][group] = low(argument->b[i], value);
      b[pair + i * 8 + 1][group] = high(argument->b[i], value);
    }
  }
  multiply<16>(a, b, arguments);
}

// The hardware looks at 19 of the 32 bits.
float tf32(uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

struct Rows {
  const void* row;
  uint32_t* result;
  int count;
  bool transposed;
};

void gather(uint32_t, void* const* arguments) {
  const auto* first = static_cast<Rows*>(arguments[0]);
  for (int matrix = 0; matrix < first->count; ++matrix) {
    uint16_t element[8][8];
    for (int row = 0; row < 8; ++row) std::memcpy(element[row], static_cast<Rows*>(arguments[matrix * 8 + row])->row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int i = lane / 4, j = lane % 4 * 2;
      const uint32_t x = first->transposed ? element[j][i] : element[i][j], y = first->transposed ? element[j + 1][i] : element[i][j + 1];
      static_cast<Rows*>(arguments[lane])->result[matrix] = x | y << 16;
    }
  }
}

}  // namespace

void mma_m16n8k16_bf16(uint32_t, void* const* arguments) { mma_16(arguments, bfloat16_value); }
void mma_m16n8k16_half(uint32_t, void* const* arguments) { mma_16(arguments, half_value); }

void mma_m16n8k8_tf32(uint32_t, void* const* arguments) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* argument = static_cast<MmaArgument*>(arguments[lane]);
    const int group = lane / 4, thread = lane % 4;
    for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][thread + i / 2 * 4] = tf32(argument->a[i]);
    for (int i = 0; i < 2; ++i) b[thread + i * 4][group] = tf32(argument->b[i]);
  }
  multiply<8>(a, b, arguments);
}

void load_matrices(const void* row, uint32_t* result, int count, bool transposed, const Site& site) {
  Rows mine{row, result, count, transposed};
  if (static_cast<int>(lane_id()) < count * 8) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) warp_fault(Defect::kAlignment, "a row of ldmatrix is not aligned to 16 bytes", site);
    if (!is_shared(row)) warp_fault(Defect::kBounds, "a row of ldmatrix is not in shared memory", site);
    touch(row, 16, Access::kRead, site);
  }
  collective(Op::kLdmatrix, 0xffffffffu, &mine, &gather, site);
}

}  // namespace gatun::emulation
