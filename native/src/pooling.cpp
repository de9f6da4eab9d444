// SPDX-License-Identifier: Apache-2.0
#include "gatun/pooling.h"

#include <algorithm>

#include "abi.h"
#include "check.h"
#include "kernels/common/storage.h"
#include "kernels/pooling/pooling.h"

namespace gatun {

static void check_window(const char* axis, int32_t window, int32_t stride, int32_t before, int32_t after) {
  if (window < 1) invalid("window_%s is %d, it must be at least 1", axis, window);
  if (stride < 1) invalid("stride_%s is %d, it must be at least 1", axis, stride);
  // A window that lies in the padding alone would have no maximum and no mean.
  if (before < 0 || after < 0 || before >= window || after >= window) {
    invalid("padding along the %s is %d and %d, allowed are 0 to %d (less than the window)", axis, before, after, window - 1);
  }
}

static int64_t output_size(const char* axis, int64_t size, int64_t padding, int64_t window, int64_t stride, const gatun_pooling_desc& desc) {
  if (size + padding < window) {
    invalid("the window is larger than the padded image along the %s: x is %s, the window is %d x %d", axis, describe(desc.x).c_str(),
            desc.window_height, desc.window_width);
  }
  return (size + padding - window) / stride + 1;
}

static PixelGrid pixels(const gatun_layout& layout) {
  return {layout.shape[1], layout.shape[2], layout.stride[0], layout.stride[1], layout.stride[2]};
}

#if defined(GATUN_CUDA)
static void check_extents(const PoolingShape& s, const gatun_pooling_desc& desc) {
  if (s.batch > 0 && s.x.height > kMaxPoolingPixels / s.batch / s.x.width) {
    invalid("x is %s, at most %lld pixels are possible on CUDA", describe(desc.x).c_str(), static_cast<long long>(kMaxPoolingPixels));
  }
  if (s.batch > 0 && s.y.height > kMaxPoolingPixels / s.batch / s.y.width) {
    invalid("y is %s, at most %lld pixels are possible on CUDA", describe(desc.y).c_str(), static_cast<long long>(kMaxPoolingPixels));
  }
  if (std::max({s.rows.size, s.columns.size, s.rows.window, s.columns.window, s.rows.stride, s.columns.stride, s.channels}) > kMaxPoolingExtent) {
    invalid("extents and steps of at most %lld are possible on CUDA: x is %s, the window is %d x %d", static_cast<long long>(kMaxPoolingExtent),
            describe(desc.x).c_str(), desc.window_height, desc.window_width);
  }
}
#else
static void check_extents(const PoolingShape&, const gatun_pooling_desc&) {}
#endif

static PoolingShape check_pooling(const gatun_pooling_desc& desc) {
  if (desc.mode != GATUN_POOLING_MAX && desc.mode != GATUN_POOLING_AVERAGE) {
    invalid("mode is %d, allowed are 1 (max) and 2 (average)", desc.mode);
  }
  const bool max = desc.mode == GATUN_POOLING_MAX;
  if (desc.count_include_pad != 0 && (max || desc.count_include_pad != 1)) {
    invalid("count_include_pad is %d, allowed are 0 and, for averages, 1", desc.count_include_pad);
  }
  check_window("height", desc.window_height, desc.stride_height, desc.padding_top, desc.padding_bottom);
  check_window("width", desc.window_width, desc.stride_width, desc.padding_left, desc.padding_right);
  check_storage("x", desc.x, 4);
  check_storage("y", desc.y, 4);
  check_same_dtype("y", desc.y, "x", desc.x);
  for (int i = 1; i < 4; ++i) {
    if (desc.x.shape[i] < 1) invalid("x has an empty image: %s", describe(desc.x).c_str());
  }
  if (max && desc.x.shape[1] > INT32_MAX / desc.x.shape[2]) {
    invalid("x has more pixels than an i32 argmax can name: %s", describe(desc.x).c_str());
  }
  const int64_t height = output_size("height", desc.x.shape[1], int64_t{desc.padding_top} + desc.padding_bottom, desc.window_height,
                                     desc.stride_height, desc);
  const int64_t width = output_size("width", desc.x.shape[2], int64_t{desc.padding_left} + desc.padding_right, desc.window_width,
                                    desc.stride_width, desc);
  check_shape("y", desc.y, {desc.x.shape[0], height, width, desc.x.shape[3]});
  if (max) {
    check_layout("argmax", desc.argmax, GATUN_I32, 4);
    check_shape("argmax", desc.argmax, {desc.x.shape[0], height, width, desc.x.shape[3]});
    int64_t stride = 1;
    for (int i = 3; i >= 0; --i) {
      if (desc.argmax.shape[i] > 1 && desc.argmax.stride[i] != stride) invalid("argmax must be contiguous: %s", describe(desc.argmax).c_str());
      stride *= desc.argmax.shape[i];
    }
  } else if (present(desc.argmax)) {
    invalid("argmax has no part in an average, its dtype must be none: %s", describe(desc.argmax).c_str());
  }
  const PoolingShape shape{desc.x.shape[0],
                           desc.x.shape[3],
                           pixels(desc.x),
                           pixels(desc.y),
                           {desc.window_height, desc.stride_height, desc.padding_top, desc.x.shape[1], height},
                           {desc.window_width, desc.stride_width, desc.padding_left, desc.x.shape[2], width},
                           desc.count_include_pad == 1};
  check_extents(shape, desc);
  return shape;
}

}  // namespace gatun

extern "C" {

gatun_status gatun_pooling_forward(gatun_stream* stream, const gatun_pooling_desc* desc, const void* x, void* y, void* argmax,
                                   gatun_error* error) {
  using namespace gatun;
  return border("pooling_forward", error, [&] {
    check_call(stream, desc);
    const PoolingShape shape = check_pooling(*desc);
    check_no_overlap("y", desc->y);
    check_pointer("x", desc->x, x);
    check_pointer("y", desc->y, y);
    check_pointer("argmax", desc->argmax, argmax);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      if (desc->mode == GATUN_POOLING_MAX) {
        pooling_max_forward<T>(*stream, shape, static_cast<const T*>(x), static_cast<T*>(y), static_cast<int32_t*>(argmax));
      } else {
        pooling_average_forward<T>(*stream, shape, static_cast<const T*>(x), static_cast<T*>(y));
      }
    });
  });
}

gatun_status gatun_pooling_backward(gatun_stream* stream, const gatun_pooling_desc* desc, const void* dy, const void* argmax, void* dx,
                                    gatun_error* error) {
  using namespace gatun;
  return border("pooling_backward", error, [&] {
    check_call(stream, desc);
    const PoolingShape shape = check_pooling(*desc);
    check_no_overlap("dx", desc->x);
    check_pointer("dy", desc->y, dy);
    check_pointer("argmax", desc->argmax, argmax);
    check_pointer("dx", desc->x, dx);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      if (desc->mode == GATUN_POOLING_MAX) {
        pooling_max_backward<T>(*stream, shape, static_cast<const T*>(dy), static_cast<const int32_t*>(argmax), static_cast<T*>(dx));
      } else {
        pooling_average_backward<T>(*stream, shape, static_cast<const T*>(dy), static_cast<T*>(dx));
      }
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(pooling);
GATUN_ABI_FUNCTION(gatun_pooling_forward);
GATUN_ABI_FUNCTION(gatun_pooling_backward);
GATUN_ABI_STRUCT(gatun_pooling_desc, GATUN_ABI_FIELD(gatun_pooling_desc, struct_size), GATUN_ABI_FIELD(gatun_pooling_desc, mode),
                 GATUN_ABI_FIELD(gatun_pooling_desc, x), GATUN_ABI_FIELD(gatun_pooling_desc, y), GATUN_ABI_FIELD(gatun_pooling_desc, argmax),
                 GATUN_ABI_FIELD(gatun_pooling_desc, window_height), GATUN_ABI_FIELD(gatun_pooling_desc, window_width),
                 GATUN_ABI_FIELD(gatun_pooling_desc, stride_height), GATUN_ABI_FIELD(gatun_pooling_desc, stride_width),
                 GATUN_ABI_FIELD(gatun_pooling_desc, padding_top), GATUN_ABI_FIELD(gatun_pooling_desc, padding_bottom),
                 GATUN_ABI_FIELD(gatun_pooling_desc, padding_left), GATUN_ABI_FIELD(gatun_pooling_desc, padding_right),
                 GATUN_ABI_FIELD(gatun_pooling_desc, count_include_pad));
