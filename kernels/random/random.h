// SPDX-License-Identifier: Apache-2.0
// Random numbers as a pure function of a key, a sample id and a draw index (packing: gatun/random.h). Plain functions without state or
// library calls, for CPU kernels and CUDA kernels alike. Floating point is written as single-rounded operations and explicit fma, with
// no product that feeds a sum, so that no compiler has anything to contract and every device computes the same bits.
#pragma once

#include <stdint.h>

#include "gatun/base.h"

#if defined(__CUDACC__)
#define GATUN_RANDOM_INLINE __host__ __device__ __forceinline__
#else
#define GATUN_RANDOM_INLINE inline __attribute__((always_inline))
#endif

namespace gatun {

struct RandomWords {
  uint32_t word[4];
};

// A key made ready for drawing: what is left to do per block is one Philox evaluation.
struct RandomSource {
  uint32_t key[2];
  uint32_t tweak[2];
};

// Draws of random_below live above this bit of the index: other draws use indices below 2^56.
constexpr int kRandomRetryBit = 56;

// Philox4x32-10: four words of counter and two of key to four words.
GATUN_RANDOM_INLINE RandomWords philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t b = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(b);
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Philox has 64 bits of key and a gatun_random_key has 160: they are folded by Philox itself, and what does not fit the key (the
// tweak) is added to the counter, so that two keys share their numbers only if all 128 folded bits agree.
GATUN_RANDOM_INLINE RandomSource random_source(const gatun_random_key& key) {
  const RandomWords folded = philox(static_cast<uint32_t>(key.step), static_cast<uint32_t>(key.step >> 32), key.stream, 0x6761746Eu,
                                    static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32));
  return {{folded.word[0], folded.word[1]}, {folded.word[2], folded.word[3]}};
}

// Draws 4 * block to 4 * block + 3 of a sample.
GATUN_RANDOM_INLINE RandomWords random_block(const RandomSource& source, uint64_t id, uint64_t block) {
  return philox(static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(id) ^ source.tweak[0],
                static_cast<uint32_t>(id >> 32) ^ source.tweak[1], source.key[0], source.key[1]);
}

// 32 random bits: draw `index` of sample `id`.
GATUN_RANDOM_INLINE uint32_t random_bits(const RandomSource& source, uint64_t id, uint64_t index) {
  const RandomWords words = random_block(source, id, index >> 2);
  // Not an index: registers have none.
  const uint32_t low = (index & 1) == 0 ? words.word[0] : words.word[1];
  const uint32_t high = (index & 1) == 0 ? words.word[2] : words.word[3];
  return (index & 2) == 0 ? low : high;
}

GATUN_RANDOM_INLINE float random_fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

// A product or quotient that no sum behind it may swallow.
GATUN_RANDOM_INLINE float random_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

GATUN_RANDOM_INLINE float random_quotient(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

GATUN_RANDOM_INLINE float random_square_root(float x) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x);
#else
  return __builtin_sqrtf(x);
#endif
}

GATUN_RANDOM_INLINE float random_float_of(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

GATUN_RANDOM_INLINE uint32_t random_bits_of(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

// [0, 1), every multiple of 2^-24 equally likely.
GATUN_RANDOM_INLINE float random_uniform_of(uint32_t bits) { return static_cast<float>(static_cast<int32_t>(bits >> 8)) * 0x1p-24f; }

// low + (high - low) u in one rounding; may round to high.
GATUN_RANDOM_INLINE float random_uniform_of(uint32_t bits, float low, float high) {
  return random_fma(random_uniform_of(bits), high - low, low);
}

// True with probability p, to 2^-32: p <= 0 never, p >= 1 always.
GATUN_RANDOM_INLINE bool random_bernoulli_of(uint32_t bits, float p) {
  if (!(p > 0.0f)) return false;
  if (p >= 1.0f) return true;
  return bits < static_cast<uint32_t>(p * 0x1p32f);
}

// Natural logarithm of a positive normal float, relative error below 2 ulp: m 2^e with m around 1, ln(1 + f) by a minimax polynomial.
GATUN_RANDOM_INLINE float random_log(float x) {
  const uint32_t shifted = random_bits_of(x) + (0x3F800000u - 0x3F3504F3u);
  const float e = static_cast<float>(static_cast<int32_t>(shifted >> 23) - 127);
  const float f = random_float_of((shifted & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
  float p = 0.0691536888f;
  p = random_fma(p, f, -0.117898077f);
  p = random_fma(p, f, 0.118729763f);
  p = random_fma(p, f, -0.123843484f);
  p = random_fma(p, f, 0.142186582f);
  p = random_fma(p, f, -0.16669251f);
  p = random_fma(p, f, 0.200022265f);
  p = random_fma(p, f, -0.249999866f);
  p = random_fma(p, f, 0.333333105f);
  const float square = f * f;
  // ln 2 in two parts: e times the first is exact.
  float low = random_fma(e, -2.12194442e-4f, (f * square) * p);
  low = random_fma(-0.5f, square, low);
  return random_fma(e, 0.693359375f, f + low);
}

// e^x for -87 <= x <= 88, relative error below 2 ulp; clamped to these bounds.
GATUN_RANDOM_INLINE float random_exp(float x) {
  const float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const float shifted = random_fma(clamped, 1.44269504f, 12582912.0f);
  const float n = shifted - 12582912.0f;
  float r = random_fma(n, -0.693359375f, clamped);
  r = random_fma(n, 2.12194442e-4f, r);
  float p = 0.000199178277f;
  p = random_fma(p, r, 0.00139460748f);
  p = random_fma(p, r, 0.00833326578f);
  p = random_fma(p, r, 0.0416662693f);
  p = random_fma(p, r, 0.166666672f);
  p = random_fma(p, r, 0.5f);
  const float y = random_fma(p, r * r, r) + 1.0f;
  const int32_t exponent = static_cast<int32_t>(random_bits_of(shifted) - 0x4B400000u);
  return y * random_float_of(static_cast<uint32_t>(exponent + 127) << 23);
}

// Cosine and sine of the angle 2 pi bits / 2^32. It is the nearest multiple of pi/2 plus
// an angle in [-pi/4, pi/4).
GATUN_RANDOM_INLINE void random_angle_of(uint32_t bits, float* cosine, float* sine) {
  const float t = static_cast<float>(static_cast<int32_t>(bits << 2)) * 0x1p-31f;
  const float q = t * t;
  float s = 3.08997556e-07f;
  s = random_fma(s, q, -3.65723936e-05f);
  s = random_fma(s, q, 0.00249039312f);
  s = random_fma(s, q, -0.0807455108f);
  s = random_fma(s, q, 0.785398185f);
  s = s * t;
  float c = 3.52981124e-06f;
  c = random_fma(c, q, -0.000325938629f);
  c = random_fma(c, q, 0.0158543251f);
  c = random_fma(c, q, -0.308425128f);
  c = random_fma(c, q, 1.0f);
  const uint32_t quadrant = (bits + (1u << 29)) >> 30;
  const bool odd = (quadrant & 1u) != 0;
  const float first = odd ? s : c;
  const float second = odd ? c : s;
  // cos(a + q pi/2) is c, -s, -c, s; sin is s, c, -s, -c.
  *cosine = random_float_of(random_bits_of(first) ^ (((quadrant + 1u) & 2u) << 30));
  *sine = random_float_of(random_bits_of(second) ^ ((quadrant & 2u) << 30));
}

// Two independent standard normal numbers (Box and Muller). The radius has 31 bits, hence |z| < 6.67.
GATUN_RANDOM_INLINE void random_normal_of(uint32_t radius_bits, uint32_t angle_bits, float* first, float* second) {
  const float u = random_fma(static_cast<float>(static_cast<int32_t>(radius_bits >> 1)), 0x1p-31f, 0x1p-32f);
  const float squared = -2.0f * random_log(u);
  // u = 1 gives -0: the root of that is -0, harmless but for its sign.
  const float radius = random_square_root(squared > 0.0f ? squared : 0.0f);
  float cosine, sine;
  random_angle_of(angle_bits, &cosine, &sine);
  *first = radius * cosine;
  *second = radius * sine;
}

// An integer in [0, n), n > 0, each equally likely (Lemire's method: a product whose low half is in the biased part is drawn again).
// Retry r uses draw index + r 2^56, so index must be below 2^56; a retry is needed with probability below n / 2^32.
GATUN_RANDOM_INLINE uint32_t random_below(const RandomSource& source, uint64_t id, uint64_t index, uint32_t n) {
  uint64_t product = static_cast<uint64_t>(random_bits(source, id, index)) * n;
  if (static_cast<uint32_t>(product) < n) {
    const uint32_t biased = (0u - n) % n;
    for (uint64_t retry = 1; static_cast<uint32_t>(product) < biased && retry < 256; ++retry) {
      product = static_cast<uint64_t>(random_bits(source, id, index + (retry << kRandomRetryBit))) * n;
    }
  }
  return static_cast<uint32_t>(product >> 32);
}

// One number each: draw `index` of sample `id`.
GATUN_RANDOM_INLINE float random_uniform(const RandomSource& source, uint64_t id, uint64_t index) {
  return random_uniform_of(random_bits(source, id, index));
}

GATUN_RANDOM_INLINE float random_uniform(const RandomSource& source, uint64_t id, uint64_t index, float low, float high) {
  return random_uniform_of(random_bits(source, id, index), low, high);
}

GATUN_RANDOM_INLINE bool random_bernoulli(const RandomSource& source, uint64_t id, uint64_t index, float p) {
  return random_bernoulli_of(random_bits(source, id, index), p);
}

// The normal number of column `index` of gatun_random_normal.
GATUN_RANDOM_INLINE float random_normal(const RandomSource& source, uint64_t id, uint64_t index) {
  const RandomWords words = random_block(source, id, index >> 2);
  const bool early = (index & 2) == 0;
  float first, second;
  random_normal_of(early ? words.word[0] : words.word[2], early ? words.word[1] : words.word[3], &first, &second);
  return (index & 1) == 0 ? first : second;
}

// What orders a random permutation.
GATUN_RANDOM_INLINE uint64_t random_order(const RandomSource& source, uint64_t id) {
  const RandomWords words = random_block(source, id, 0);
  return static_cast<uint64_t>(words.word[1]) << 32 | words.word[0];
}

}  // namespace gatun
