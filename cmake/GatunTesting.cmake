# SPDX-License-Identifier: Apache-2.0
# One test program a kernel, linked to the public library only, run once per instruction set.
find_path(GATUN_DOCTEST_INCLUDE doctest/doctest.h HINTS "${GATUN_DEPS}/usr/include")
if(NOT GATUN_DOCTEST_INCLUDE)
  message(STATUS "doctest not found on this machine (Debian: doctest-dev); fetching the pinned release")
  include(FetchContent)
  FetchContent_Declare(doctest
    GIT_REPOSITORY https://github.com/doctest/doctest
    GIT_TAG b7c21ec5ceeadb4951b00396fc1e4642dd347e5f # v2.4.9
    SOURCE_SUBDIR headers-only)
  FetchContent_MakeAvailable(doctest)
  set(GATUN_DOCTEST_INCLUDE "${doctest_SOURCE_DIR}" CACHE PATH "" FORCE)
endif()

add_library(gatun_testing OBJECT "${GATUN_ROOT}/kernels/testing/main.cpp")
target_include_directories(gatun_testing SYSTEM PUBLIC "${GATUN_DOCTEST_INCLUDE}")
target_include_directories(gatun_testing PUBLIC "${GATUN_ROOT}" "${GATUN_ROOT}/native/include")
target_compile_features(gatun_testing PUBLIC cxx_std_20)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(GATUN_ISA_LEVELS scalar avx2 avx512)
else()
  set(GATUN_ISA_LEVELS neon)
endif()

# What `make test-quick` builds and runs: the level that this processor would choose, and the emulated device without its detectors.
# What the Java tests load.
add_custom_target(java_tests DEPENDS gatun gatun-trials-cpu)
add_custom_target(quick_tests DEPENDS java_tests)
set(GATUN_QUICK_LEVEL neon)
if("avx2" IN_LIST GATUN_ISA_LEVELS)
  set(GATUN_QUICK_LEVEL avx2)
  file(STRINGS /proc/cpuinfo flags REGEX "avx512bw")
  if(flags)
    set(GATUN_QUICK_LEVEL avx512)
  endif()
endif()

file(GLOB GATUN_TEST_SOURCES CONFIGURE_DEPENDS "${GATUN_ROOT}/kernels/*/*_test.cpp" "${GATUN_ROOT}/native/src/*_test.cpp")
list(FILTER GATUN_TEST_SOURCES EXCLUDE REGEX "/kernels/emulation/|cuda_test\\.cpp$")
foreach(source ${GATUN_TEST_SOURCES})
  get_filename_component(name "${source}" NAME_WE)
  add_executable(${name} "${source}")
  target_link_libraries(${name} PRIVATE gatun gatun_testing)
  # The yardsticks of rounding are computed as written.
  target_compile_options(${name} PRIVATE -Wall -Wextra -O1 -ffp-contract=off)
  foreach(level ${GATUN_ISA_LEVELS})
    add_test(NAME ${name}.${level} COMMAND ${name})
    # 77: this processor does not have the level
    set_tests_properties(${name}.${level} PROPERTIES ENVIRONMENT "GATUN_ISA=${level};OMP_WAIT_POLICY=passive" SKIP_RETURN_CODE 77 TIMEOUT 300)
  endforeach()
  set_tests_properties(${name}.${GATUN_QUICK_LEVEL} PROPERTIES LABELS quick)
  add_dependencies(quick_tests ${name})
endforeach()

target_link_libraries(parallel_region_test PRIVATE OpenMP::OpenMP_CXX)

# Every exported function is in the library's own description (which the Java bindings are compared with), and nothing else is exported.
add_test(NAME exported_symbols
  COMMAND sh "${GATUN_ROOT}/cmake/exported_symbols.sh" "$<TARGET_FILE:gatun>" "${CMAKE_NM}" "${GATUN_ROOT}/native")
