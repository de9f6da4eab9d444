# SPDX-License-Identifier: Apache-2.0
# Highway is used as headers only. Looked for: GATUN_DEPS (Debian packages unpacked into the build folder), the system, a pinned download.
find_path(GATUN_HIGHWAY_INCLUDE hwy/highway.h HINTS "${GATUN_DEPS}/usr/include")
if(NOT GATUN_HIGHWAY_INCLUDE)
  message(STATUS "Highway not found on this machine (Debian: libhwy-dev); fetching the pinned release")
  include(FetchContent)
  FetchContent_Declare(highway
    GIT_REPOSITORY https://github.com/google/highway
    GIT_TAG 58746ca5b9f9444a2a3549704602ecc6239f8f41 # 1.0.3
    SOURCE_SUBDIR headers-only)
  FetchContent_MakeAvailable(highway)
  set(GATUN_HIGHWAY_INCLUDE "${highway_SOURCE_DIR}" CACHE PATH "" FORCE)
endif()

add_library(gatun_highway INTERFACE)
target_include_directories(gatun_highway SYSTEM INTERFACE "${GATUN_HIGHWAY_INCLUDE}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # Three levels: portable, AVX2, AVX-512. The ones between them would only cost compile time.
  # Portable means HWY_SCALAR (one lane): its emulation of vectors is miscompiled by GCC before 12.3.
  target_compile_definitions(gatun_highway INTERFACE "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4|HWY_AVX3_DL)" HWY_COMPILE_ALL_ATTAINABLE HWY_BROKEN_EMU128=1)
endif()
