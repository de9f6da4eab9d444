// SPDX-License-Identifier: Apache-2.0
// What this library was compiled to, written down by the compiler itself: the Java side compares its bindings with it.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "gatun/base.h"

namespace gatun::abi {

template <class T>
const char* type_name() {
  if constexpr (std::is_pointer_v<T>) return "ptr";
  else if constexpr (std::is_same_v<T, gatun_layout>) return "layout";
  else if constexpr (std::is_same_v<T, float>) return "f32";
  else if constexpr (std::is_same_v<T, double>) return "f64";
  else if constexpr (std::is_integral_v<T> && sizeof(T) == 4) return std::is_signed_v<T> ? "i32" : "u32";
  else if constexpr (std::is_integral_v<T> && sizeof(T) == 8) return std::is_signed_v<T> ? "i64" : "u64";
  else if constexpr (std::is_integral_v<T> && sizeof(T) == 1) return "u8";
  else static_assert(sizeof(T) == 0, "a type the border does not use");
}

template <class R, class... A>
std::string signature(R (*)(A...)) {
  std::string text = std::string(type_name<R>()) + "(";
  [[maybe_unused]] const char* separator = "";
  ((text += separator, text += type_name<A>(), separator = ","), ...);
  return text + ")";
}

std::vector<std::string>& lines();
// Operations with a kernel, for gatun_info.
std::vector<std::string>& operations();

struct Register {
  Register(const char* kind, const std::string& text) { lines().push_back(std::string(kind) + " " + text); }
};
struct RegisterOperation {
  explicit RegisterOperation(const char* name) { operations().push_back(name); }
};

struct Field {
  std::string text;
};

inline std::string structure(const char* name, size_t size, std::initializer_list<Field> fields) {
  std::string text = std::string(name) + " " + std::to_string(size);
  for (const Field& field : fields) text += " " + field.text;
  return text;
}

}  // namespace gatun::abi

#define GATUN_ABI_JOIN_(A, B) A##B
#define GATUN_ABI_JOIN(A, B) GATUN_ABI_JOIN_(A, B)
#define GATUN_ABI_OPERATION(NAME) \
  static const ::gatun::abi::RegisterOperation GATUN_ABI_JOIN(abi_operation_, __COUNTER__)(#NAME)
#define GATUN_ABI_FUNCTION(NAME) \
  static const ::gatun::abi::Register GATUN_ABI_JOIN(abi_, __COUNTER__)("function", std::string(#NAME " ") + ::gatun::abi::signature(&NAME))
#define GATUN_ABI_FIELD(STRUCT, NAME) \
  ::gatun::abi::Field { std::string(#NAME ":") + std::to_string(offsetof(STRUCT, NAME)) + ":" + ::gatun::abi::type_name<decltype(STRUCT::NAME)>() }
// GATUN_ABI_STRUCT(gatun_x_desc, GATUN_ABI_FIELD(gatun_x_desc, struct_size), ...)
#define GATUN_ABI_STRUCT(NAME, ...) \
  static const ::gatun::abi::Register GATUN_ABI_JOIN(abi_, __COUNTER__)("struct", ::gatun::abi::structure(#NAME, sizeof(NAME), {__VA_ARGS__}))
