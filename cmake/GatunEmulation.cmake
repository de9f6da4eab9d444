# SPDX-License-Identifier: Apache-2.0
# CUDA sources on the emulated device (docs/emulation.md), compiled by the host compiler in three builds: plain, address and
# undefined-behaviour sanitizers, race check. libgatun_emulated.so is of the plain build.
set(GATUN_EMULATION_FLAGS -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-psabi -O2 -g1 -ffp-contract=off -fno-strict-aliasing
  $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
set(GATUN_EMULATION_plain -O2)
# Not -O0: frames must fit a fiber's stack.
set(GATUN_EMULATION_asan -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
set(GATUN_EMULATION_race -O1)
set(GATUN_EMULATION_BUILDS plain asan race)

file(GLOB GATUN_EMULATION_SOURCES CONFIGURE_DEPENDS "${GATUN_ROOT}/kernels/emulation/*.cpp")
list(FILTER GATUN_EMULATION_SOURCES EXCLUDE REGEX "_test\\.cpp$|/test_main\\.cpp$")

foreach(build ${GATUN_EMULATION_BUILDS})
  add_library(gatun_emulation_flags_${build} INTERFACE)
  target_include_directories(gatun_emulation_flags_${build} INTERFACE "${GATUN_ROOT}" "${GATUN_ROOT}/native/include" "${GATUN_ROOT}/native/src")
  target_compile_options(gatun_emulation_flags_${build} INTERFACE ${GATUN_EMULATION_FLAGS} ${GATUN_EMULATION_${build}})
  target_compile_definitions(gatun_emulation_flags_${build} INTERFACE GATUN_CUDA=1)
  add_library(gatun_emulation_${build} OBJECT EXCLUDE_FROM_ALL ${GATUN_EMULATION_SOURCES})
  target_link_libraries(gatun_emulation_${build} PRIVATE gatun_emulation_flags_${build})
endforeach()
target_compile_definitions(gatun_emulation_flags_race INTERFACE GATUN_EMULATION_RACE=1)
target_link_options(gatun_emulation_flags_asan INTERFACE -fsanitize=address,undefined)

# NAME_kernels_BUILD: .cu files as objects of each build.
function(gatun_emulated_kernels name)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
  foreach(build ${GATUN_EMULATION_BUILDS})
    add_library(${name}_kernels_${build} OBJECT EXCLUDE_FROM_ALL ${ARGN})
    target_link_libraries(${name}_kernels_${build} PRIVATE gatun_emulation_flags_${build})
    # Uninitialised locals get a pattern, not whatever an earlier fiber left.
    target_compile_options(${name}_kernels_${build} PRIVATE -x c++ -ftrivial-auto-var-init=pattern)
    if(build STREQUAL race)
      # libtsan is not linked: race.cpp has the functions that the compiler calls.
      target_compile_options(${name}_kernels_${build} PRIVATE -fsanitize=thread
        $<$<CXX_COMPILER_ID:GNU>:--param=tsan-instrument-func-entry-exit=0>)
    endif()
  endforeach()
endfunction()

gatun_emulated_kernels(context ${GATUN_CUDA_BASE})
set(objects $<TARGET_OBJECTS:context_kernels_plain>)
foreach(operation ${GATUN_CUDA_OPERATIONS})
  gatun_emulated_kernels(${operation} ${GATUN_CUDA_${operation}})
  list(APPEND objects $<TARGET_OBJECTS:${operation}_kernels_plain>)
endforeach()
add_library(gatun_emulated SHARED EXCLUDE_FROM_ALL ${objects} ${GATUN_CUDA_BORDER} $<TARGET_OBJECTS:gatun_emulation_plain>)
target_link_libraries(gatun_emulated PRIVATE gatun_compiler ${GATUN_EXPORTS})
set_target_properties(gatun_emulated PROPERTIES LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
