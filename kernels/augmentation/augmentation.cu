// SPDX-License-Identifier: Apache-2.0
// A block a view draws its decisions and turns them into tables of weights; then the pixels: rows are mixed into shared memory, columns
// from there, and normalised on the way out. Only views that are jittered (their mean is needed first), blurred or noisy go through the
// workspace.
#include "kernels/augmentation/augmentation.h"

#include "kernels/augmentation/augmentation_draw.h"
#include "kernels/common/cuda.h"

namespace gatun {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kStrip = 16;      // rows of a view that a block makes
constexpr int kRows = 4;        // of them at a time
constexpr int kSegment = 1024;  // numbers of a mixed row held at a time
constexpr int kBlurRows = 8;    // that a thread blurs from one column
constexpr int kMostTaps = 64;   // of the blur

// What is known of a view before its pixels.
struct View {
  float parameters[GATUN_AUGMENTATION_PARAMETERS];
  float mean;        // of the crop's luma, for the contrast
  int64_t pixels;    // where the image begins; negative: no image that could be read
  int64_t pitch;     // of its rows
  int32_t row_taps, row_end, column_taps, column_end;
  float blur[kMostTaps];

  __device__ __forceinline__ bool readable() const { return pixels >= 0; }
  __device__ __forceinline__ bool jittered() const { return augmentation_jitters(parameters); }
  __device__ __forceinline__ bool blurred() const { return parameters[GATUN_AUGMENTATION_SIGMA] > 0.0f; }
  __device__ __forceinline__ bool staged(const Augmentation& a) const {
    return readable() && (jittered() || blurred() || a.settings.noise > 0.0f);
  }
};

// Where things lie in the workspace.
struct Plan {
  View* views;
  float* scale;      // of a channel; NaN where its deviation cannot be divided by
  float* shift;
  int32_t* columns;  // (view, width): first source column
  int32_t* lines;    // (view, height): first source row
  float* column_weights;  // (view, tap, width)
  float* row_weights;     // (view, height, tap), of bytes
  float* sums;       // (view, block) of luma
  float* staged;     // (view, element)
  float* blurred;    // (view, element), down the columns
  int64_t column_taps, row_taps, row, chunks, strips;

  __host__ __device__ Plan(const Augmentation& a, Carve& carve, int64_t most_column_taps, int64_t most_row_taps)
      : column_taps(most_column_taps), row_taps(most_row_taps), row(a.width * a.channels), chunks((row + kThreads - 1) / kThreads),
        strips((a.height + kStrip - 1) / kStrip) {
    const bool jitter = a.settings.jitter > 0.0f, blur = a.settings.blur > 0.0f, noise = a.settings.noise > 0.0f;
    const size_t count = static_cast<size_t>(a.views), elements = count * static_cast<size_t>(a.height * row);
    views = carve.take<View>(count);
    scale = carve.take<float>(static_cast<size_t>(a.channels));
    shift = carve.take<float>(static_cast<size_t>(a.channels));
    columns = carve.take<int32_t>(count * static_cast<size_t>(a.width));
    lines = carve.take<int32_t>(count * static_cast<size_t>(a.height));
    column_weights = carve.take<float>(count * static_cast<size_t>(column_taps * a.width));
    row_weights = carve.take<float>(count * static_cast<size_t>(a.height * row_taps));
    sums = carve.take<float>(jitter ? count * static_cast<size_t>(chunks * strips) : 0);
    staged = carve.take<float>(jitter || blur || noise ? elements : 0);
    blurred = carve.take<float>(blur ? elements : 0);
  }
};

__device__ __forceinline__ float nan() { return __int_as_float(0x7fc00000); }

// Where the image of a view begins, or -1 where it does not lie within the buffer.
__device__ __forceinline__ int64_t place(const Augmentation& a, int64_t view) {
  const int64_t i = a.image(view);
  if (i < 0 || i >= a.image_count()) return -1;
  if (a.offsets == nullptr) return a.offset_of(i);
  const int64_t height = a.heights[i], width = a.widths[i];
  if (height < 1 || height > a.image_height || width < 1 || width > a.image_width) return -1;
  const int64_t begin = a.offsets[i], end = a.offsets[i + 1];
  return begin < 0 || end > a.settings.images.shape[0] || height * width * a.channels > end - begin ? -1 : begin;
}

// Everything of a view but its pixels. A block a view.
__global__ void __launch_bounds__(kThreads) plan_kernel(Augmentation a, Plan plan) {
  __shared__ View shared;
  __shared__ double heights[kMostTaps];
  const int thread = static_cast<int>(threadIdx.x), taps = a.settings.blur_taps, radius = taps / 2;
  for (int64_t c = thread; blockIdx.x == 0 && c < a.channels; c += kThreads) {
    const float scale = a.deviation[c] > 0.0f ? 1.0f / a.deviation[c] : nan();
    plan.scale[c] = scale;
    plan.shift[c] = -a.mean[c] * scale;
  }
  for (int64_t view = blockIdx.x; view < a.views; view += gridDim.x) {
    if (thread == 0) {
      shared.pixels = place(a, view);
      if (shared.readable()) {
        const int64_t image = a.image(view), height = a.height_of(image), width = a.width_of(image);
        augmentation_draw(a.settings, random_source(*a.key), a.id(view), height, width, a.height, a.width, shared.parameters);
        shared.pitch = width * a.channels;
      } else {
        for (float& parameter : shared.parameters) parameter = nan();
      }
    }
    __syncthreads();
    const bool readable = shared.readable(), blurred = shared.blurred();
    if (readable) {
      const float* const p = shared.parameters;
      const int64_t image = a.image(view);
      const AugmentationAxis rows(p[GATUN_AUGMENTATION_TOP], p[GATUN_AUGMENTATION_HEIGHT], a.height, a.height_of(image), a.settings);
      const AugmentationAxis columns(p[GATUN_AUGMENTATION_LEFT], p[GATUN_AUGMENTATION_WIDTH], a.width, a.width_of(image), a.settings);
      for (int64_t o = thread; o < a.width; o += kThreads) {
        const int64_t x = p[GATUN_AUGMENTATION_FLIP] != 0.0f ? a.width - 1 - o : o;
        plan.columns[view * a.width + x] = static_cast<int32_t>(columns.find(o, plan.column_weights + view * plan.column_taps * a.width + x, a.width));
      }
      for (int64_t y = thread; y < a.height; y += kThreads) {
        float* const weights = plan.row_weights + (view * a.height + y) * plan.row_taps;
        plan.lines[view * a.height + y] = static_cast<int32_t>(rows.find(y, weights, 1));
        for (int64_t t = 0; t < rows.taps; ++t) weights[t] *= 1.0f / 255.0f;
      }
      if (blurred && thread < taps) {
        const double distance = (thread - radius) / static_cast<double>(p[GATUN_AUGMENTATION_SIGMA]);
        heights[thread] = exp(-0.5 * distance * distance);
      }
      if (thread == 0) {
        shared.row_taps = static_cast<int32_t>(rows.taps);
        shared.row_end = static_cast<int32_t>(rows.high);
        shared.column_taps = static_cast<int32_t>(columns.taps);
        shared.column_end = static_cast<int32_t>(columns.high);
      }
    }
    __syncthreads();
    if (readable && blurred && thread < taps) {
      double total = 0;
      for (int t = 0; t < taps; ++t) total += heights[t];
      plan.views[view].blur[thread] = static_cast<float>(heights[thread] / total);
    }
    if (thread == 0) {
      View& to = plan.views[view];
      for (int i = 0; i < GATUN_AUGMENTATION_PARAMETERS; ++i) {
        to.parameters[i] = shared.parameters[i];
        if (a.parameters != nullptr) a.parameters[view * GATUN_AUGMENTATION_PARAMETERS + i] = shared.parameters[i];
      }
      to.pixels = shared.pixels;
      if (readable) {
        to.pitch = shared.pitch;
        to.row_taps = shared.row_taps;
        to.row_end = shared.row_end;
        to.column_taps = shared.column_taps;
        to.column_end = shared.column_end;
      }
    }
  }
}

__device__ __forceinline__ float clamped(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

__device__ __forceinline__ float adjusted(float x, const AugmentationJitter& jitter, float mean) {
  return clamped(clamped(fmaf(jitter.contrast, x - mean, mean)) * jitter.after);
}

__device__ __forceinline__ float luma(int channels, int channel) {
  if (channels != 3) return 1.0f / static_cast<float>(channels);
  return channel == 0 ? 0.299f : channel == 1 ? 0.587f : 0.114f;
}

// Crop, resize and flip of kThreads elements of the rows of a strip; views that need no more are finished.
template <class T>
__global__ void __launch_bounds__(kThreads, 3) resample_kernel(Augmentation a, Plan plan) {
  __shared__ float mixed[kRows][kSegment];
  __shared__ float partial[kWarps];
  const int thread = static_cast<int>(threadIdx.x);
  // The border sees to it that positions in a row, of the view and of the image, fit 32 bits.
  const int channels = static_cast<int>(a.channels), row = static_cast<int>(plan.row), width = static_cast<int>(a.width);
  const int height = static_cast<int>(a.height);
  const int64_t blocks = plan.strips * plan.chunks;
  for (int64_t item = blockIdx.x; item < a.views * blocks; item += gridDim.x) {
    const int64_t index = item / blocks;
    const int place = static_cast<int>(item % blocks), chunks = static_cast<int>(plan.chunks), chunk = place % chunks * kThreads;
    const View& view = plan.views[index];
    const int e = chunk + thread, y_begin = place / chunks * kStrip, y_end = min(height, y_begin + kStrip);
    const bool inside = e < row;
    const int x = e / channels, c = e - x * channels;
    T* const out = static_cast<T*>(a.batch) + index * a.stride;
    if (!view.readable()) {
      for (int y = y_begin; inside && y < y_end; ++y) out[static_cast<int64_t>(y) * row + e] = static_cast<T>(nan());
      continue;
    }
    // The source columns of the chunk: they rise with x, or fall where the view is flipped.
    const int32_t* const columns = plan.columns + index * width;
    const int left = columns[chunk / channels], right = columns[(min(row, chunk + kThreads) - 1) / channels];
    const int begin = min(left, right) * channels, length = min(view.column_end, max(left, right) + view.column_taps) * channels - begin;
    const int first = inside ? columns[x] * channels + c - begin : 0;
    const int behind = inside ? min(first + view.column_taps * channels, length) : 0;
    const float* const column_weights = plan.column_weights + index * plan.column_taps * width + x;
    const float* const row_weights = plan.row_weights + index * height * plan.row_taps;
    const uint8_t* const pixels = a.images + view.pixels + begin;
    const bool staged = view.staged(a), jittered = view.jittered();
    const float before = jittered ? AugmentationJitter(view.parameters).before : 1.0f;
    const float weight_of_luma = luma(channels, c);
    float total = 0;
    for (int y = y_begin; y < y_end; y += kRows) {
      const int rows = min(kRows, y_end - y);
      float values[kRows] = {};
      for (int segment = 0; segment < length; segment += kSegment) {
        const int size = min(kSegment, length - segment);
        for (int r = 0; r < rows; ++r) {
          const int line = plan.lines[index * height + y + r], taps = min(view.row_taps, view.row_end - line);
          const float* const weights = row_weights + (y + r) * plan.row_taps;
          const uint8_t* const from = pixels + line * view.pitch + segment;
          for (int i = thread; i < size; i += kThreads) {
            const uint8_t* at = from + i;
            float sum = 0;
            for (int t = 0; t < taps; ++t, at += view.pitch) sum = fmaf(weights[t], static_cast<float>(*at), sum);
            mixed[r][i] = sum;
          }
        }
        __syncthreads();
        // The taps that lie in this segment; nearly always all of them.
        const int skipped = first < segment ? (segment - first + channels - 1) / channels : 0;
        const float* weight = column_weights + static_cast<int64_t>(skipped) * width;
        for (int at = first + skipped * channels - segment; at < min(behind - segment, size); at += channels, weight += width) {
          for (int r = 0; r < kRows; ++r) values[r] = fmaf(*weight, r < rows ? mixed[r][at] : 0.0f, values[r]);
        }
        __syncthreads();
      }
      for (int r = 0; r < kRows; ++r) {
        if (!inside || r >= rows) continue;
        const int64_t to = static_cast<int64_t>(y + r) * row + e;
        const float value = jittered ? clamped(values[r] * before) : values[r];
        if (staged) plan.staged[index * height * plan.row + to] = value;
        else out[to] = static_cast<T>(fmaf(value, plan.scale[c], plan.shift[c]));
        total = fmaf(value, weight_of_luma, total);
      }
    }
    if (a.settings.jitter > 0.0f) {
      const float sum = block_sum(total, partial);
      if (thread == 0) plan.sums[item] = sum;
    }
  }
}

// A warp a view.
__global__ void __launch_bounds__(kThreads) mean_kernel(Augmentation a, Plan plan) {
  const int64_t blocks = plan.strips * plan.chunks;
  for (int64_t view = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; view < a.views; view += static_cast<int64_t>(gridDim.x) * kWarps) {
    float sum = 0;
    const int64_t count = plan.views[view].staged(a) ? blocks : 0;
    for (int64_t i = threadIdx.x % 32; i < count; i += 32) sum += plan.sums[view * blocks + i];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) plan.views[view].mean = sum / static_cast<float>(a.height * a.width);
  }
}

// Down the columns: a thread makes kBlurRows rows of one, so that a number is read (kBlurRows + taps) / kBlurRows times, not taps.
__global__ void __launch_bounds__(kThreads) blur_kernel(Augmentation a, Plan plan) {
  __shared__ float weights[kMostTaps + 2 * kBlurRows];  // zeros on both sides: no case where a row is out of reach
  const int thread = static_cast<int>(threadIdx.x), taps = a.settings.blur_taps, radius = taps / 2;
  const int64_t tiles = (a.height + kBlurRows - 1) / kBlurRows, blocks = tiles * plan.chunks;
  for (int64_t item = blockIdx.x; item < a.views * blocks; item += gridDim.x) {
    const int64_t index = item / blocks, y0 = item % blocks / plan.chunks * kBlurRows, e = item % plan.chunks * kThreads + thread;
    const View& view = plan.views[index];
    if (!view.readable() || !view.blurred()) continue;
    for (int i = thread; i < kMostTaps + 2 * kBlurRows; i += kThreads) {
      weights[i] = i >= kBlurRows && i < kBlurRows + taps ? view.blur[i - kBlurRows] : 0.0f;
    }
    __syncthreads();
    if (e < plan.row) {
      const AugmentationJitter jitter(view.parameters);
      const bool jittered = view.jittered();
      const float mean = jittered ? view.mean : 0.0f;
      const float* const from = plan.staged + index * a.height * plan.row + e;
      float values[kBlurRows] = {};
      for (int j = 0; j < kBlurRows - 1 + taps; ++j) {
        float x = from[augmentation_reflect(y0 + j - radius, a.height) * plan.row];
        if (jittered) x = adjusted(x, jitter, mean);
        for (int r = 0; r < kBlurRows; ++r) values[r] = fmaf(weights[kBlurRows + j - r], x, values[r]);
      }
      for (int r = 0; r < kBlurRows && y0 + r < a.height; ++r) plan.blurred[(index * a.height + y0 + r) * plan.row + e] = values[r];
    }
    __syncthreads();
  }
}

// What the staged views lack: contrast, or the blur along the rows; noise and normalisation.
template <class T>
__global__ void __launch_bounds__(kThreads) finish_kernel(Augmentation a, Plan plan) {
  const int radius = a.settings.blur_taps / 2;
  const int64_t channels = a.channels, size = a.height * plan.row, blocks = (size + kThreads - 1) / kThreads;
  for (int64_t item = blockIdx.x; item < a.views * blocks; item += gridDim.x) {
    const int64_t index = item / blocks, e = item % blocks * kThreads + threadIdx.x;
    const View& view = plan.views[index];
    if (!view.staged(a) || e >= size) continue;
    // Divisions of 32 bits where they do.
    const int64_t y = size <= INT32_MAX ? static_cast<uint32_t>(e) / static_cast<uint32_t>(plan.row) : e / plan.row;
    const uint32_t in_row = static_cast<uint32_t>(e - y * plan.row), x = in_row / static_cast<uint32_t>(channels);
    const uint32_t c = in_row - x * static_cast<uint32_t>(channels);
    float value = 0;
    if (view.blurred()) {
      const float* const from = plan.blurred + index * size + y * plan.row + c;
      for (int k = -radius; k <= radius; ++k) {
        value = fmaf(view.blur[k + radius], from[augmentation_reflect(static_cast<int64_t>(x) + k, a.width) * channels], value);
      }
    } else {
      value = plan.staged[index * size + e];
      if (view.jittered()) value = adjusted(value, AugmentationJitter(view.parameters), view.mean);
    }
    if (a.settings.noise > 0.0f) {
      // Rare, and cheap beside what four threads would have to do to share a block of random numbers.
      const float z = random_normal(random_source(*a.key), a.id(index), static_cast<uint64_t>(e) + kAugmentationNoiseDraws);
      value = fmaf(a.settings.noise, z, value);
    }
    static_cast<T*>(a.batch)[index * a.stride + e] = static_cast<T>(fmaf(value, plan.scale[c], plan.shift[c]));
  }
}

Plan plan_of(const Augmentation& a, Carve& carve) {
  const bool antialias = a.settings.antialias != 0;
  return Plan(a, carve, AugmentationAxis::most_taps(a.image_width, a.width, antialias),
              AugmentationAxis::most_taps(a.image_height, a.height, antialias));
}

}  // namespace

size_t augmentation_workspace_bytes(const Augmentation& a) {
  Carve carve(nullptr);
  (void)plan_of(a, carve);
  return carve.bytes();
}

template <class T>
void augmentation(const Stream& stream, const Augmentation& a, void* workspace) {
  if (a.views == 0) return;
  Carve carve(static_cast<unsigned char*>(workspace));
  const Plan plan = plan_of(a, carve);
  const bool jitter = a.settings.jitter > 0.0f, blur = a.settings.blur > 0.0f;
  enqueue(stream, plan_kernel, grid_for(a.views, 1), kThreads, 0, a, plan);
  enqueue(stream, resample_kernel<T>, grid_for(a.views * plan.strips * plan.chunks, 1), kThreads, 0, a, plan);
  if (jitter) enqueue(stream, mean_kernel, grid_for(a.views, kWarps), kThreads, 0, a, plan);
  if (blur) enqueue(stream, blur_kernel, grid_for(a.views * ((a.height + kBlurRows - 1) / kBlurRows) * plan.chunks, 1), kThreads, 0, a, plan);
  if (jitter || blur || a.settings.noise > 0.0f) {
    enqueue(stream, finish_kernel<T>, grid_for(a.views * ((a.height * plan.row + kThreads - 1) / kThreads), 1), kThreads, 0, a, plan);
  }
}

#define GATUN_AUGMENTATION(T) template void augmentation<T>(const Stream&, const Augmentation&, void*);
GATUN_FOR_EACH_STORAGE(GATUN_AUGMENTATION)
#undef GATUN_AUGMENTATION

}  // namespace gatun
