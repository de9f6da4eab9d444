// SPDX-License-Identifier: Apache-2.0
// The mathematics of activation, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cmath>

#include "gatun/activation.h"

namespace gatun {

template <class T>
T activation_reference(int function, T x) {
  switch (function) {
    case GATUN_ACTIVATION_RELU: return x > 0 || std::isnan(x) ? x : 0;
    case GATUN_ACTIVATION_GELU: return x * T(0.5) * std::erfc(-x * T(0.70710678118654752));
    case GATUN_ACTIVATION_SIGMOID: return 1 / (1 + std::exp(-x));
    default: return std::tanh(x);
  }
}

template <class T>
T activation_backward_reference(int function, T x, T dy) {
  switch (function) {
    case GATUN_ACTIVATION_RELU: return std::isnan(x) ? x : x > 0 ? dy : 0;
    case GATUN_ACTIVATION_GELU:
      return dy * (T(0.5) * std::erfc(-x * T(0.70710678118654752)) + x * T(0.39894228040143268) * std::exp(x * x * T(-0.5)));
    case GATUN_ACTIVATION_SIGMOID: {
      const T y = 1 / (1 + std::exp(-x));
      return dy * y * (1 - y);
    }
    default: {
      const T y = std::tanh(x);
      return dy * (1 - y * y);
    }
  }
}

}  // namespace gatun
