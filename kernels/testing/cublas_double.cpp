// SPDX-License-Identifier: Apache-2.0
// A stand-in for the part of cuBLASLt that the Java side calls, on the host, for machines without CUDA: it multiplies by columns as the manual of
// cublasLtMatmul says, from the descriptors it is given. Compiled once under each name that the JavaCPP binding links (libcublasLt.so.13 ...).
#include "library_double.h"

using namespace library_double;

namespace {

enum Status { kSuccess = 0, kInvalidValue = 7, kExecutionFailed = 13, kNotSupported = 15 };
enum Epilogue { kNoEpilogue = 1, kBias = 4, kBiasGradientB = 512 };

constexpr uint64_t kMagic = 0x6c7473616c627563;

struct Layout {
  int32_t type;
  uint64_t rows, columns;
  int64_t leading;
};

struct Operation {
  int32_t compute, scale, transpose_a, transpose_b;
  uint32_t epilogue = kNoEpilogue;
  uint8_t* bias = nullptr;
  int32_t bias_type = -1;
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

struct Heuristic {
  uint64_t algorithm[8];
  size_t workspace;
  int32_t state;
  float waves;
  int32_t reserved[4];
};

bool aligned(const void* pointer, uint64_t alignment) { return reinterpret_cast<uintptr_t>(pointer) % alignment == 0; }

}  // namespace

extern "C" {

int cudaSetDevice(int device) { return device == 0 ? 0 : 101; }

const char* cudaGetErrorName(int) { return "cudaErrorInvalidDevice"; }

size_t cublasLtGetVersion() { return 130000; }

const char* cublasLtGetStatusName(int status) {
  return status == kExecutionFailed ? "CUBLAS_STATUS_EXECUTION_FAILED"
                                    : status == kNotSupported ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_INVALID_VALUE";
}

int cublasLtCreate(void** handle) {
  *handle = new uint64_t{kMagic};
  return kSuccess;
}

int cublasLtDestroy(void* handle) {
  delete static_cast<uint64_t*>(handle);
  return kSuccess;
}

int cublasLtMatmulDescCreate(void** operation, int compute, int scale) {
  *operation = new Operation{compute, scale, 0, 0};
  return kSuccess;
}

int cublasLtMatmulDescDestroy(void* operation) {
  delete static_cast<Operation*>(operation);
  return kSuccess;
}

int cublasLtMatmulDescSetAttribute(Operation* operation, int attribute, const void* value, size_t size) {
  const auto put = [&](auto& field) {
    if (size != sizeof(field)) return static_cast<int>(kInvalidValue);
    std::memcpy(&field, value, size);
    return static_cast<int>(kSuccess);
  };
  switch (attribute) {
    case 3: return put(operation->transpose_a);
    case 4: return put(operation->transpose_b);
    case 7: return put(operation->epilogue);
    case 8: return put(operation->bias);
    case 26: return put(operation->bias_type);
    default: return kInvalidValue;
  }
}

int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  if (rows == 0 || columns == 0 || leading < static_cast<int64_t>(rows)) return kInvalidValue;
  *layout = new Layout{type, rows, columns, leading};
  return kSuccess;
}

int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return kSuccess;
}

int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference;
  return kSuccess;
}

int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return kSuccess;
}

int cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value, size_t size) {
  if (attribute == 1 && size == 8) {
    std::memcpy(&preference->workspace, value, 8);
  } else if (attribute >= 5 && attribute <= 8 && size == 4) {
    std::memcpy(&preference->alignment[attribute - 5], value, 4);
  } else {
    return kInvalidValue;
  }
  return kSuccess;
}

// Has everything but a result in f16, and no bias gradient of f16. The algorithm remembers what it was chosen for.
int cublasLtMatmulAlgoGetHeuristic(void*, Operation* operation, Layout* a, Layout* b, Layout* c, Layout* d, Preference* preference, int requested,
                                   Heuristic* results, int* found) {
  *found = 0;
  const bool epilogue = operation->epilogue != kNoEpilogue;
  if (requested < 1 || a->type != b->type || c != d || preference->workspace == 0) return kInvalidValue;
  if (epilogue && (operation->bias == nullptr || operation->bias_type != d->type)) return kInvalidValue;
  if (d->type == kF16 || (operation->epilogue == kBiasGradientB && a->type == kF16)) return kNotSupported;
  results[0] = {};
  for (int i = 0; i < 4; ++i) results[0].algorithm[i] = preference->alignment[i];
  results[0].algorithm[4] = kMagic;
  results[0].algorithm[5] = d->rows;
  results[0].algorithm[6] = d->columns;
  results[0].workspace = preference->workspace;
  *found = 1;
  return kSuccess;
}

int cublasLtMatmul(const void* handle, const Operation* operation, const void* alpha, const void* a, const Layout* la, const void* b,
                   const Layout* lb, const void* beta, const void* c, const Layout* lc, void* d, const Layout* ld, const uint64_t* algorithm,
                   void* workspace, size_t workspace_bytes, void* stream) {
  const void* matrices[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i) {
    if (!aligned(matrices[i], algorithm[i])) return kInvalidValue;
  }
  const bool known = algorithm[4] == kMagic && algorithm[5] == ld->rows && algorithm[6] == ld->columns;
  if (*static_cast<const uint64_t*>(handle) != kMagic || !known || c != d || lc != ld || stream == nullptr || operation->scale != kF32) {
    return kInvalidValue;
  }
  if (workspace == nullptr || workspace_bytes < size_t{32} << 20) return kInvalidValue;
  const uint64_t m = ld->rows, n = ld->columns;
  const uint64_t k = operation->transpose_a != 0 ? la->rows : la->columns;
  const bool fits = (operation->transpose_a != 0 ? la->columns : la->rows) == m && (operation->transpose_b != 0 ? lb->rows : lb->columns) == n &&
                    (operation->transpose_b != 0 ? lb->columns : lb->rows) == k;
  if (!fits) return kInvalidValue;
  if (k == 7777) return kExecutionFailed;
  const auto reach = [](const Layout* layout, const void* data) {
    open(data, ((layout->columns - 1) * layout->leading + layout->rows) * (layout->type == kF32 ? 4 : 2));
  };
  reach(la, a);
  reach(lb, b);
  reach(ld, d);
  if (operation->bias != nullptr) open(operation->bias, (operation->epilogue == kBias ? m : n) * (operation->bias_type == kF32 ? 4 : 2));
  const auto left = [&](uint64_t i, uint64_t l) {
    return load(la->type, a, operation->transpose_a != 0 ? l + i * la->leading : i + l * la->leading);
  };
  const auto right = [&](uint64_t l, uint64_t j) {
    return load(lb->type, b, operation->transpose_b != 0 ? j + l * lb->leading : l + j * lb->leading);
  };
  const float scale = *static_cast<const float*>(alpha);
  const float onto = *static_cast<const float*>(beta);
  for (uint64_t j = 0; j < n; ++j) {
    double column = 0;
    for (uint64_t l = 0; l < k; ++l) column += right(l, j);
    if (operation->epilogue == kBiasGradientB) store(operation->bias_type, operation->bias, j, static_cast<float>(column));
    for (uint64_t i = 0; i < m; ++i) {
      double sum = 0;
      for (uint64_t l = 0; l < k; ++l) sum += static_cast<double>(left(i, l)) * right(l, j);
      sum *= scale;
      if (onto != 0) sum += onto * load(ld->type, d, i + j * ld->leading);
      if (operation->epilogue == kBias) sum += load(operation->bias_type, operation->bias, i);
      store(ld->type, d, i + j * ld->leading, static_cast<float>(sum));
    }
  }
  return kSuccess;
}

}  // extern "C"
