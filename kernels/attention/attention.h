// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

// Rows of D contiguous elements, one for each (batch, row, head). Ragged operands have batch stride 0.
template <class T>
struct HeadView {
  T* data = nullptr;
  int64_t batch_stride = 0;
  int64_t row_stride = 0;
  int64_t head_stride = 0;
  T* at(int64_t batch, int64_t row, int64_t head) const { return data + batch * batch_stride + row * row_stride + head * head_stride; }
};

// (B, H, N): the log-sum-exp. Rows are contiguous.
template <class T>
struct RowStatistic {
  T* data = nullptr;
  int64_t batch_stride = 0;
  int64_t head_stride = 0;
  T* at(int64_t batch, int64_t head, int64_t row) const { return data + batch * batch_stride + head * head_stride + row; }
};

// (B, H, Nq, Nk) with strides; a broadcast dimension has extent 1 and stride 0.
template <class T>
struct BiasView {
  T* data = nullptr;
  int64_t batches = 1, heads = 1, queries = 1;
  int64_t batch_stride = 0, head_stride = 0, query_stride = 0;
  T* at(int64_t batch, int64_t head, int64_t query) const {
    return data + batch * batch_stride + head * head_stride + query * query_stride;
  }
};

// What forward and backward share. In the ragged form `batch` counts sequences, `queries` and `keys` are the total rows,
// and the offsets say which rows a sequence has; on CUDA they lie in the device's memory. T is the storage type of what has a head
// dimension; the bias and the log-sum-exp are float.
template <class T>
struct AttentionProblem {
  int64_t batch, heads, queries, keys, depth;
  const int32_t* query_offsets = nullptr;
  const int32_t* key_offsets = nullptr;
  bool ragged = false;  // also where the pointers are not known yet
  bool causal = false;
  float scale = 1;
  HeadView<const T> q, k, v;
  BiasView<const float> bias;
};

template <class T>
struct AttentionGradients {
  HeadView<const T> out, dout;
  RowStatistic<const float> log_sum_exp;
  HeadView<T> dq, dk, dv;
  BiasView<float> dbias;
};

// Instantiated for every storage type of the device. The workspace is aligned to 64 bytes.
template <class T>
size_t attention_forward_workspace(const Stream& stream, const AttentionProblem<T>& problem);
template <class T>
void attention_forward(const Stream& stream, const AttentionProblem<T>& problem, HeadView<T> out, RowStatistic<float> log_sum_exp,
                       void* workspace);

template <class T>
size_t attention_backward_workspace(const Stream& stream, const AttentionProblem<T>& problem, bool dbias);
template <class T>
void attention_backward(const Stream& stream, const AttentionProblem<T>& problem, const AttentionGradients<T>& gradients, void* workspace);

namespace attention {
// CUDA: whether the forward pass of sm_90a takes a problem: it is chosen (attention_hopper.cu), the device has it, operands and shape suit it.
template <class T>
bool hopper_takes(const AttentionProblem<T>& problem);
}  // namespace attention

}  // namespace gatun
