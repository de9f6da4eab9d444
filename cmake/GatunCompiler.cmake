# SPDX-License-Identifier: Apache-2.0
# How native code is compiled. No -march=native: kernels choose their instruction set at run time. No -ffast-math: results are IEEE.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
# What is built runs from wherever it is copied to, and does not say where that was: not in its search path, names of files or debug lines.
set(CMAKE_BUILD_RPATH_USE_ORIGIN ON)
add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-ffile-prefix-map=${GATUN_ROOT}/=>")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

add_library(gatun_compiler INTERFACE)
target_compile_options(gatun_compiler INTERFACE
  # -Wrestrict: false alarms on std::string in GCC 12
  -Wall -Wextra -Werror -Wno-psabi $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # a*b+c is one rounding only where the source says so: the same bits on every level and compiler
  -ffp-contract=off
  -fno-math-errno
  $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
target_compile_definitions(gatun_compiler INTERFACE GATUN_VERSION="${PROJECT_VERSION}")
target_link_options(gatun_compiler INTERFACE -Wl,--no-undefined -static-libgcc -static-libstdc++ -Wl,--exclude-libs,ALL)
# Nothing but the C interface is exported.
set(GATUN_EXPORTS "-Wl,--version-script=${GATUN_ROOT}/cmake/gatun.map")

if(GATUN_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
