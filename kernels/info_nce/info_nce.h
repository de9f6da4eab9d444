// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

template <class T>
struct InfoNceRows {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t stride = 0;
  T* at(int64_t row) const { return data + row * stride; }
};

// Of rows stored as T. In the self form `keys` and `key_groups` repeat the queries.
template <class T>
struct InfoNceProblemOf {
  bool self = false;
  int64_t depth = 0;
  float temperature = 1;
  InfoNceRows<const T> queries, keys;
  const int32_t* query_groups = nullptr;
  const int32_t* key_groups = nullptr;
};
using InfoNceProblem = InfoNceProblemOf<float>;

// lse and positives may be null.
struct InfoNceResult {
  float* loss;
  float* lse;
  int32_t* positives;
};

// dk.data is null where no gradient of the keys is wanted.
template <class T>
struct InfoNceGradientsOf {
  const float* lse = nullptr;
  const int32_t* positives = nullptr;
  const float* dloss = nullptr;
  int64_t dloss_stride = 0;
  InfoNceRows<T> dq, dk;
};
using InfoNceGradients = InfoNceGradientsOf<float>;

template <class T>
size_t info_nce_forward_workspace(const Stream& stream, const InfoNceProblemOf<T>& problem);
template <class T>
void info_nce_forward(const Stream& stream, const InfoNceProblemOf<T>& problem, const InfoNceResult& result, void* workspace);

template <class T>
size_t info_nce_backward_workspace(const Stream& stream, const InfoNceProblemOf<T>& problem);
template <class T>
void info_nce_backward(const Stream& stream, const InfoNceProblemOf<T>& problem, const InfoNceGradientsOf<T>& gradients, void* workspace);

}  // namespace gatun
