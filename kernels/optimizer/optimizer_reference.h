// SPDX-License-Identifier: Apache-2.0
// The mathematics of optimizer, as plainly as it can be written, for one tensor. T = double is the truth, T = float the yardstick.
#pragma once

#include <cmath>
#include <cstdint>

namespace gatun {

template <class T>
void adamw_reference(T* p, const T* g, T* m, T* v, int64_t n, int64_t step, T rate, T beta1, T beta2, T epsilon, T decay, T scale) {
  const T first = 1 - std::pow(beta1, static_cast<T>(step));
  const T second = 1 - std::pow(beta2, static_cast<T>(step));
  for (int64_t i = 0; i < n; ++i) {
    const T gradient = g[i] * scale;
    m[i] = beta1 * m[i] + (1 - beta1) * gradient;
    v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient;
    p[i] = p[i] * (1 - rate * decay) - rate * (m[i] / first) / (std::sqrt(v[i] / second) + epsilon);
  }
}

template <class T>
void sgd_reference(T* p, const T* g, T* m, int64_t n, T rate, T momentum, T decay, T factor, T scale, bool nesterov) {
  for (int64_t i = 0; i < n; ++i) {
    const T u = (g[i] * scale + decay * p[i]) * factor;
    m[i] = momentum * m[i] + u;
    p[i] -= rate * (nesterov ? u + momentum * m[i] : m[i]);
  }
}

template <class T>
T norm_reference(const T* x, T x_scale, const T* y, T y_scale, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const T z = x[i] * x_scale + y[i] * y_scale;
    sum += z * z;
  }
  return std::sqrt(sum);
}

template <class T>
void lars_reference(T* p, const T* g, T* m, int64_t n, T rate, T momentum, T decay, T trust, T scale, bool adapt) {
  const T value_norm = norm_reference<T>(p, 1, p, 0, n);
  const T update_norm = norm_reference<T>(g, scale, p, decay, n);
  const bool used = adapt && value_norm != 0 && update_norm != 0;
  sgd_reference<T>(p, g, m, n, rate, momentum, decay, used ? trust * value_norm / update_norm : T(1), scale, false);
}

template <class T>
void larc_reference(T* p, const T* g, T* m, int64_t n, T rate, T momentum, T decay, T trust, T scale, bool adapt) {
  const T value_norm = norm_reference<T>(p, 1, p, 0, n);
  const T gradient_norm = norm_reference<T>(g, scale, p, 0, n);
  if (adapt && (value_norm == 0 || gradient_norm == 0)) {
    sgd_reference<T>(p, g, m, n, rate, momentum, 0, 1, scale, false);
  } else {
    const T factor = adapt ? trust * value_norm / (gradient_norm + decay * value_norm + T(1e-8)) : T(1);
    sgd_reference<T>(p, g, m, n, rate, momentum, decay, factor, scale, false);
  }
}

template <class T>
void ema_reference(T* average, const T* values, int64_t n, T momentum) {
  for (int64_t i = 0; i < n; ++i) average[i] = momentum * average[i] + (1 - momentum) * values[i];
}

}  // namespace gatun
