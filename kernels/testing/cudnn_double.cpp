// SPDX-License-Identifier: Apache-2.0
// A stand-in for the part of cuDNN that the Java side calls, on the host: convolves images of any strides with filters (K, R, S, C), as the
// manual says. Of two algorithms it proposes first one that it calls not deterministic, and computes with the other only.
#include "library_double.h"

using library_double::load;
using library_double::store;

namespace {

enum Status { kSuccess = 0, kBadParam = 2000, kNotSupported = 3000 };
enum { kFloat = 0, kHalf = 2, kBfloat16 = 9 };
enum { kNhwc = 1, kCrossCorrelation = 1, kFmaMath = 3 };
constexpr int kAlgorithm = 1;
constexpr size_t kWorkspace = 1000;

struct Images {
  int type, n, c, h, w;
  int64_t stride_n, stride_c, stride_h, stride_w;
  size_t at(int b, int channel, int i, int j) const { return b * stride_n + channel * stride_c + i * stride_h + j * stride_w; }
};

size_t span(const Images& t) { return t.at(t.n - 1, t.c - 1, t.h - 1, t.w - 1) + 1; }

struct Filter {
  int type, k, c, r, s;
  size_t at(int o, int u, int v, int channel) const { return ((static_cast<size_t>(o) * r + u) * s + v) * c + channel; }
};

struct Convolution {
  int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, groups = 1, math = 0;
};

struct Handle {
  void* stream = nullptr;
};

struct Proposal {
  int algorithm, status;
  float time;
  size_t memory;
  int determinism, math, reserved[3];
};

int type_of(int type) { return type == kBfloat16 ? library_double::kBf16 : type; }

bool fits(const Images& x, const Filter& w, const Convolution& p, const Images& y) {
  const auto out = [](int in, int pad, int dilation, int kernel, int stride) { return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1; };
  return x.type == w.type && y.type == x.type && x.n == y.n && y.c == w.k && x.c == w.c * p.groups && w.k % p.groups == 0 &&
         y.h == out(x.h, p.pad_h, p.dilation_h, w.r, p.stride_h) && y.w == out(x.w, p.pad_w, p.dilation_w, w.s, p.stride_w);
}

// Calls f(b, o, i, j, u, v, channel of the group, channel, row, column) for each product.
template <class F>
void products(const Images& x, const Filter& w, const Convolution& p, const Images& y, F f) {
  for (int b = 0; b < x.n; ++b)
    for (int o = 0; o < w.k; ++o)
      for (int i = 0; i < y.h; ++i)
        for (int j = 0; j < y.w; ++j)
          for (int u = 0; u < w.r; ++u)
            for (int v = 0; v < w.s; ++v) {
              const int row = i * p.stride_h + u * p.dilation_h - p.pad_h;
              const int column = j * p.stride_w + v * p.dilation_w - p.pad_w;
              if (row < 0 || row >= x.h || column < 0 || column >= x.w) continue;
              for (int c = 0; c < w.c; ++c) f(b, o, i, j, u, v, c, o / (w.k / p.groups) * w.c + c, row, column);
            }
}

int propose(const Images* x, const Filter* w, const Convolution* p, const Images* y, int requested, int* found, Proposal* list) {
  if (requested < 2 || !fits(*x, *w, *p, *y)) return kBadParam;
  if (x->type == kHalf) {
    *found = 0;
    return kSuccess;
  }
  list[0] = {0, kSuccess, 1, 0, 0, p->math, {}};
  list[1] = {kAlgorithm, kSuccess, 2, kWorkspace, 1, p->math, {}};
  *found = 2;
  return kSuccess;
}

int workspace(int algorithm, size_t* bytes) {
  *bytes = algorithm == kAlgorithm ? kWorkspace : 0;
  return kSuccess;
}

// Sums of the products that belong to one element of the result, in doubles, as f32 at the end.
template <class F>
int run(const Handle* handle, const float* alpha, const float* beta, const Images* x, const void* dx, const Filter* w, const void* dw,
        const Convolution* p, const Images* y, const void* dy, int algorithm, const void* work, size_t bytes, size_t elements, F f) {
  if (handle->stream == nullptr || *alpha != 1 || *beta != 0 || !fits(*x, *w, *p, *y) || algorithm != kAlgorithm) return kBadParam;
  if (work == nullptr || bytes < kWorkspace || (x->type == kFloat && p->math != kFmaMath)) return kBadParam;
  const size_t size = x->type == kFloat ? 4 : 2;
  library_double::open(dx, span(*x) * size);
  library_double::open(dw, static_cast<size_t>(w->k) * w->r * w->s * w->c * size);
  library_double::open(dy, span(*y) * size);
  double* sums = new double[elements]();
  f(sums);
  delete[] sums;
  return kSuccess;
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() { return 91000; }

const char* cudnnGetErrorString(int status) { return status == kBadParam ? "CUDNN_STATUS_BAD_PARAM" : "CUDNN_STATUS_NOT_SUPPORTED"; }

int cudnnCreate(Handle** handle) {
  *handle = new Handle;
  return kSuccess;
}

int cudnnDestroy(Handle* handle) {
  delete handle;
  return kSuccess;
}

int cudnnSetStream(Handle* handle, void* stream) {
  handle->stream = stream;
  return kSuccess;
}

int cudnnCreateTensorDescriptor(Images** images) {
  *images = new Images{};
  return kSuccess;
}

int cudnnDestroyTensorDescriptor(Images* images) {
  delete images;
  return kSuccess;
}

int cudnnSetTensor4dDescriptorEx(Images* images, int type, int n, int c, int h, int w, int sn, int sc, int sh, int sw) {
  *images = {type, n, c, h, w, sn, sc, sh, sw};
  return sc == 1 ? kSuccess : kNotSupported;
}

int cudnnCreateFilterDescriptor(Filter** filter) {
  *filter = new Filter{};
  return kSuccess;
}

int cudnnDestroyFilterDescriptor(Filter* filter) {
  delete filter;
  return kSuccess;
}

int cudnnSetFilter4dDescriptor(Filter* filter, int type, int format, int k, int c, int h, int w) {
  *filter = {type, k, c, h, w};
  return format == kNhwc ? kSuccess : kNotSupported;
}

int cudnnCreateConvolutionDescriptor(Convolution** convolution) {
  *convolution = new Convolution{};
  return kSuccess;
}

int cudnnDestroyConvolutionDescriptor(Convolution* convolution) {
  delete convolution;
  return kSuccess;
}

int cudnnSetConvolution2dDescriptor(Convolution* convolution, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
                                    int mode, int compute) {
  *convolution = {pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w};
  return mode == kCrossCorrelation && compute == kFloat ? kSuccess : kNotSupported;
}

int cudnnSetConvolutionGroupCount(Convolution* convolution, int groups) {
  convolution->groups = groups;
  return kSuccess;
}

int cudnnSetConvolutionMathType(Convolution* convolution, int math) {
  convolution->math = math;
  return kSuccess;
}

int cudnnGetConvolutionForwardAlgorithm_v7(Handle*, Images* x, Filter* w, Convolution* p, Images* y, int requested, int* found, Proposal* list) {
  return propose(x, w, p, y, requested, found, list);
}

int cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle*, Filter* w, Images* y, Convolution* p, Images* x, int requested, int* found,
                                                Proposal* list) {
  return propose(x, w, p, y, requested, found, list);
}

int cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle*, Images* x, Images* y, Convolution* p, Filter* w, int requested, int* found,
                                                  Proposal* list) {
  return propose(x, w, p, y, requested, found, list);
}

int cudnnGetConvolutionForwardWorkspaceSize(Handle*, Images*, Filter*, Convolution*, Images*, int algorithm, size_t* bytes) {
  return workspace(algorithm, bytes);
}

int cudnnGetConvolutionBackwardDataWorkspaceSize(Handle*, Filter*, Images*, Convolution*, Images*, int algorithm, size_t* bytes) {
  return workspace(algorithm, bytes);
}

int cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle*, Images*, Images*, Convolution*, Filter*, int algorithm, size_t* bytes) {
  return workspace(algorithm, bytes);
}

int cudnnConvolutionForward(Handle* handle, const float* alpha, Images* x, const void* dx, Filter* w, const void* dw, Convolution* p, int algorithm,
                            void* work, size_t bytes, const float* beta, Images* y, void* dy) {
  return run(handle, alpha, beta, x, dx, w, dw, p, y, dy, algorithm, work, bytes, span(*y), [&](double* sums) {
    const int type = type_of(x->type);
    products(*x, *w, *p, *y, [&](int b, int o, int i, int j, int u, int v, int c, int channel, int row, int column) {
      sums[y->at(b, o, i, j)] += static_cast<double>(load(type, dx, x->at(b, channel, row, column))) * load(type, dw, w->at(o, u, v, c));
    });
    for (int b = 0; b < y->n; ++b)
      for (int o = 0; o < y->c; ++o)
        for (int i = 0; i < y->h; ++i)
          for (int j = 0; j < y->w; ++j) store(type, dy, y->at(b, o, i, j), static_cast<float>(sums[y->at(b, o, i, j)]));
  });
}

int cudnnConvolutionBackwardData(Handle* handle, const float* alpha, Filter* w, const void* dw, Images* y, const void* dy, Convolution* p,
                                 int algorithm, void* work, size_t bytes, const float* beta, Images* x, void* dx) {
  return run(handle, alpha, beta, x, dx, w, dw, p, y, dy, algorithm, work, bytes, span(*x), [&](double* sums) {
    const int type = type_of(x->type);
    products(*x, *w, *p, *y, [&](int b, int o, int i, int j, int u, int v, int c, int channel, int row, int column) {
      sums[x->at(b, channel, row, column)] += static_cast<double>(load(type, dy, y->at(b, o, i, j))) * load(type, dw, w->at(o, u, v, c));
    });
    for (int b = 0; b < x->n; ++b)
      for (int c = 0; c < x->c; ++c)
        for (int i = 0; i < x->h; ++i)
          for (int j = 0; j < x->w; ++j) store(type, dx, x->at(b, c, i, j), static_cast<float>(sums[x->at(b, c, i, j)]));
  });
}

int cudnnConvolutionBackwardFilter(Handle* handle, const float* alpha, Images* x, const void* dx, Images* y, const void* dy, Convolution* p,
                                   int algorithm, void* work, size_t bytes, const float* beta, Filter* w, void* dw) {
  const size_t elements = static_cast<size_t>(w->k) * w->r * w->s * w->c;
  return run(handle, alpha, beta, x, dx, w, dw, p, y, dy, algorithm, work, bytes, elements, [&](double* sums) {
    const int type = type_of(x->type);
    products(*x, *w, *p, *y, [&](int b, int o, int i, int j, int u, int v, int c, int channel, int row, int column) {
      sums[w->at(o, u, v, c)] += static_cast<double>(load(type, dx, x->at(b, channel, row, column))) * load(type, dy, y->at(b, o, i, j));
    });
    for (size_t i = 0; i < elements; ++i) store(type, dw, i, static_cast<float>(sums[i]));
  });
}

}  // extern "C"
