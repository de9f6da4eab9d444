// SPDX-License-Identifier: Apache-2.0
// A loop nest through which N operands move with strides of their own: what strided kernels see of tensors of any rank.
#pragma once

#include <algorithm>
#include <cstdint>

#include "gatun/base.h"

namespace gatun {

template <int N>
struct Loops {
  int rank = 0;  // at least 1 after simplify()
  int64_t shape[GATUN_MAX_RANK] = {};
  int64_t stride[N][GATUN_MAX_RANK] = {};

  void add(int64_t extent, const int64_t (&strides)[N]) {
    shape[rank] = extent;
    for (int k = 0; k < N; ++k) stride[k][rank] = strides[k];
    ++rank;
  }

  int64_t count() const {
    int64_t product = 1;
    for (int i = 0; i < rank; ++i) product *= shape[i];
    return product;
  }

  // The loop of the leader's smallest stride goes innermost (broadcast dimensions, stride 0, outermost); loops that run on into
  // each other for every operand become one. Neither changes which elements meet.
  void simplify(int leader) {
    Loops sorted;
    int order[GATUN_MAX_RANK];
    int used = 0;
    for (int i = 0; i < rank; ++i) {
      if (shape[i] != 1) order[used++] = i;
    }
    std::stable_sort(order, order + used, [&](int a, int b) {
      const int64_t first = stride[leader][a], second = stride[leader][b];
      return (first == 0 ? INT64_MAX : first) > (second == 0 ? INT64_MAX : second);
    });
    for (int i = 0; i < used; ++i) {
      const int from = order[i];
      const int last = sorted.rank - 1;
      bool continues = last >= 0;
      for (int k = 0; k < N && continues; ++k) continues = sorted.stride[k][last] == stride[k][from] * shape[from];
      const int to = continues ? last : sorted.rank++;
      sorted.shape[to] = continues ? sorted.shape[to] * shape[from] : shape[from];
      for (int k = 0; k < N; ++k) sorted.stride[k][to] = stride[k][from];
    }
    if (sorted.rank == 0) {
      sorted.shape[0] = 1;
      sorted.rank = 1;
    }
    *this = sorted;
  }
};

// A place in the outer loops (all but the last `inner` ones), stepped in row-major order.
template <int N>
struct Position {
  const Loops<N>& loops;
  int outer;
  int64_t index[GATUN_MAX_RANK] = {};
  int64_t at[N] = {};  // element offset of each operand

  Position(const Loops<N>& loops, int inner, int64_t row) : loops(loops), outer(loops.rank - inner) {
    for (int i = outer - 1; i >= 0 && row > 0; --i) {
      index[i] = row % loops.shape[i];
      row /= loops.shape[i];
      for (int k = 0; k < N; ++k) at[k] += index[i] * loops.stride[k][i];
    }
  }

  void next() {
    for (int i = outer - 1; i >= 0; --i) {
      for (int k = 0; k < N; ++k) at[k] += loops.stride[k][i];
      if (++index[i] < loops.shape[i]) return;
      for (int k = 0; k < N; ++k) at[k] -= loops.stride[k][i] * loops.shape[i];
      index[i] = 0;
    }
  }
};

// Below this many elements a second thread costs more than it brings.
constexpr int64_t kSerialElements = 8192;

constexpr int threads_for(int threads, int64_t elements) { return elements <= kSerialElements ? 1 : threads; }

}  // namespace gatun
