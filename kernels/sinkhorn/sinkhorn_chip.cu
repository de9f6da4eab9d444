// SPDX-License-Identifier: Apache-2.0
// Sinkhorn's iteration where all of the scores' exponentials fit the processors' shared memories: one launch, in which each block keeps the
// rows of its own, and the blocks exchange sums of columns between two barriers an iteration. The scores are read once, the codes written
// once.
#include "kernels/sinkhorn/sinkhorn_device.h"

namespace gatun::sinkhorn_cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / 32;
constexpr int64_t kFewestElements = 4096;  // of a block: with less the barriers would cost more than the rows

struct ChipMemory {
  float *p, *u, *v;
  double* columns;  // [kWarps][32]
  __host__ __device__ ChipMemory(Carve& carve, int64_t rows, int64_t width)
      : p(carve.take<float>(static_cast<size_t>(rows * width))), u(carve.take<float>(static_cast<size_t>(width))),
        v(carve.take<float>(static_cast<size_t>(rows))), columns(carve.take<double>(kThreads)) {}
};

size_t chip_bytes(int64_t rows, int64_t width) {
  Carve carve(nullptr);
  const ChipMemory memory(carve, rows, width);
  return carve.bytes();
}

struct Chip {
  View scores;
  int64_t part_rows, width;
  float epsilon;
  Scale scale;
  int iterations;
  float *partial, *u;
  SinkhornRange *range, *ranges;
  unsigned* arrived;
  float* codes;
  int64_t codes_stride, codes_rows;
};

// The sum over a row, by a warp.
__device__ __forceinline__ float weighed(const float* p, const float* u, int64_t width) {
  float sum = 0;
  for (int64_t c = threadIdx.x % 32 * 4; c < width; c += 128) sum += dot(*reinterpret_cast<const float4*>(p + c), *reinterpret_cast<const float4*>(u + c));
  return warp_sum(sum);
}

// u = 1 / the sums of all blocks' columns; each block joins a slice of them, in the order of the blocks.
__device__ __forceinline__ void join_columns(const Chip& chip, double* columns) {
  const int x = static_cast<int>(threadIdx.x) % 32, y = static_cast<int>(threadIdx.x) / 32;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * 32; first < chip.width; first += static_cast<int64_t>(gridDim.x) * 32) {
    double total = 0;
    for (int64_t block = y; block < gridDim.x; block += kWarps) total += static_cast<double>(chip.partial[block * chip.width + first + x]);
    columns[threadIdx.x] = total;
    __syncthreads();
    if (y == 0) {
      for (int i = 1; i < kWarps; ++i) total += columns[i * 32 + x];
      chip.u[first + x] = first + x < chip.scores.columns ? 1.0f / static_cast<float>(total) : 0.0f;
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads, 1) chip_kernel(Chip chip) {
  GATUN_DYNAMIC_SHARED(memory);
  __shared__ Extremes extremes_of[kWarps];
  Carve carve(memory);
  const ChipMemory shared(carve, chip.part_rows, chip.width);
  const View& scores = chip.scores;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t begin = blockIdx.x * chip.part_rows, rows = min(chip.part_rows, scores.rows - begin), quads = chip.width / 4;

  const float filler = scores.data[begin * scores.stride];
  Extremes own = Extremes::of(filler);
  for (int64_t i = threadIdx.x; i < rows * quads; i += kThreads) {
    const float4 s = load_four(scores, begin + i / quads, i % quads * 4, true, filler);
    own.add(s.x), own.add(s.y), own.add(s.z), own.add(s.w);
    *reinterpret_cast<float4*>(shared.p + i * 4) = s;
  }
  own = block_extremes<kThreads>(own, extremes_of);
  if (threadIdx.x == 0) chip.ranges[blockIdx.x] = own.range();
  grid_barrier(chip.arrived);
  const SinkhornRange range = join_ranges<kThreads>(chip.ranges, gridDim.x, extremes_of);
  if (blockIdx.x == 0 && threadIdx.x == 0) *chip.range = range;
  if (wide(range, chip.epsilon)) return;  // the same for all blocks

  for (int64_t i = threadIdx.x; i < rows * quads; i += kThreads) {
    float4* four = reinterpret_cast<float4*>(shared.p + i * 4);
    const float4 s = *four;
    *four = make_float4(chip.scale.power(s.x - range.maximum), chip.scale.power(s.y - range.maximum), chip.scale.power(s.z - range.maximum),
                        chip.scale.power(s.w - range.maximum));
  }
  for (int64_t r = threadIdx.x; r < rows; r += kThreads) shared.v[r] = 1;
  __syncthreads();
  for (int iteration = 0; iteration < chip.iterations; ++iteration) {
    if (iteration > 0) {
      for (int64_t r = warp; r < rows; r += kWarps) {
        const float sum = weighed(shared.p + r * chip.width, shared.u, chip.width);
        if (lane == 0) shared.v[r] = 1.0f / sum;
      }
      __syncthreads();
    }
    for (int64_t c = threadIdx.x; c < quads; c += kThreads) {
      float4 sum = make_float4(0, 0, 0, 0);
      for (int64_t r = 0; r < rows; ++r) {
        const float v = shared.v[r];
        const float4 p = *reinterpret_cast<const float4*>(shared.p + r * chip.width + c * 4);
        sum.x += v * p.x, sum.y += v * p.y, sum.z += v * p.z, sum.w += v * p.w;
      }
      *reinterpret_cast<float4*>(chip.partial + blockIdx.x * chip.width + c * 4) = sum;
    }
    grid_barrier(chip.arrived);
    join_columns(chip, shared.columns);
    grid_barrier(chip.arrived);
    for (int64_t c = threadIdx.x; c < quads; c += kThreads) {
      *reinterpret_cast<float4*>(shared.u + c * 4) = *reinterpret_cast<const float4*>(chip.u + c * 4);
    }
    __syncthreads();
  }

  const int64_t skipped = scores.rows - chip.codes_rows;
  const float valid = usable(range, chip.epsilon) ? 1.0f : NAN;
  for (int64_t r = warp; r < rows; r += kWarps) {
    const float* p = shared.p + r * chip.width;
    const float v = valid / weighed(p, shared.u, chip.width);
    if (begin + r < skipped) continue;
    float* out = chip.codes + (begin + r - skipped) * chip.codes_stride;
    for (int64_t c = lane; c < scores.columns; c += 32) out[c] = p[c] * shared.u[c] * v;
  }
}

}  // namespace

// The blocks that hold all rows, 0 where they do not fit the device.
static int64_t chip_blocks(int64_t samples, int64_t width, int64_t most, int64_t& rows) {
  const int64_t wanted = std::clamp<int64_t>(chunk_count(samples * width, kFewestElements), 1, std::min({samples, most, kChipBlocks}));
  rows = chunk_count(samples, wanted);
  return chunk_count(samples, rows);
}

bool chip_codes(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, const Workspace& w) {
  const int64_t most = resident_blocks(chip_kernel, kThreads, chip_bytes(1, w.parts.width));
  if (most == 0) return false;
  int64_t rows = 0;
  const int64_t blocks = chip_blocks(scores.rows, w.parts.width, most, rows);
  const size_t bytes = chip_bytes(rows, w.parts.width);
  if (resident_blocks(chip_kernel, kThreads, bytes) < blocks) return false;
  const Chip chip{view(scores), rows,    w.parts.width, epsilon,   Scale(epsilon), iterations,   w.partial, w.sums,
                  w.range,      w.ranges, w.arrived,    codes.data, codes.stride,   codes.rows};
  enqueue_cooperative(stream, chip_kernel, static_cast<unsigned>(blocks), kThreads, bytes, chip);
  return true;
}

}  // namespace gatun::sinkhorn_cuda
