# SPDX-License-Identifier: Apache-2.0
# gatun_cuda_test(NAME files... [DEFINITIONS ...] [BORDER ...]): tests of CUDA kernels without a GPU. The .cu files are compiled for the emulated device
# (docs/emulation.md) in three builds, each a CTest program that runs every schedule: plain, address and undefined-behaviour sanitizers,
# race check. Where nvcc is present, it compiles every .cu as well; its warnings are errors.
find_program(GATUN_NVCC nvcc HINTS ENV CUDA_HOME PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)

set(GATUN_EMULATION_FLAGS -Wall -Wextra -Werror -Wno-psabi -O2 -g1 -ffp-contract=off -fno-strict-aliasing)
set(GATUN_EMULATION_plain -O2)
# Not -O0: frames must fit a fiber's stack.
set(GATUN_EMULATION_asan -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
set(GATUN_EMULATION_race -O1)
set(GATUN_EMULATION_BUILDS plain asan race)

file(GLOB GATUN_EMULATION_SOURCES CONFIGURE_DEPENDS "${GATUN_ROOT}/kernels/emulation/*.cpp")
list(FILTER GATUN_EMULATION_SOURCES EXCLUDE REGEX "_test\\.cpp$")

foreach(build ${GATUN_EMULATION_BUILDS})
  add_library(gatun_emulation_${build} OBJECT ${GATUN_EMULATION_SOURCES})
  target_include_directories(gatun_emulation_${build} PUBLIC "${GATUN_ROOT}" "${GATUN_ROOT}/native/include")
  target_include_directories(gatun_emulation_${build} SYSTEM PUBLIC "${GATUN_DOCTEST_INCLUDE}")
  target_compile_features(gatun_emulation_${build} PUBLIC cxx_std_20)
  target_compile_options(gatun_emulation_${build} PUBLIC ${GATUN_EMULATION_FLAGS} ${GATUN_EMULATION_${build}})
endforeach()
target_compile_definitions(gatun_emulation_race PUBLIC GATUN_EMULATION_RACE=1)
target_link_options(gatun_emulation_asan INTERFACE -fsanitize=address,undefined)

if(NOT GATUN_NVCC)
  message(STATUS "CUDA sources are not compiled by nvcc: skipped: no nvcc")
  add_test(NAME nvcc COMMAND "${CMAKE_COMMAND}" -E echo "skipped: no nvcc")
  set_tests_properties(nvcc PROPERTIES SKIP_REGULAR_EXPRESSION "skipped: no nvcc")
endif()

# Objects of real architectures and PTX for those that come; ptxas is asked to be as strict as the front end.
function(gatun_nvcc name source)
  if(TARGET nvcc_${name})
    return()
  endif()
  list(TRANSFORM ARGN PREPEND -D)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/nvcc/${name}.o")
  file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/nvcc")
  add_custom_command(OUTPUT "${object}"
    COMMAND "${GATUN_NVCC}" -std=c++20 -O3 -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror
      -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a -gencode arch=compute_90,code=compute_90
      -I "${GATUN_ROOT}" -I "${GATUN_ROOT}/native/include" ${ARGN} -MD -MF "${object}.d" -c "${source}" -o "${object}"
    DEPENDS "${source}" DEPFILE "${object}.d" COMMENT "nvcc ${name}.cu" VERBATIM)
  add_custom_target(nvcc_${name} ALL DEPENDS "${object}")
  add_test(NAME nvcc.${name} COMMAND "${CMAKE_COMMAND}" -E md5sum "${object}")
endfunction()

# Sources of one of the three builds: .cu files as kernels, the rest as host code.
function(gatun_emulated_objects name build)
  cmake_parse_arguments(PARSE_ARGV 2 ARG "" "" "DEFINITIONS")
  set(kernels ${ARG_UNPARSED_ARGUMENTS})
  list(FILTER kernels INCLUDE REGEX "\\.cu$")
  set(host ${ARG_UNPARSED_ARGUMENTS})
  list(FILTER host EXCLUDE REGEX "\\.cu$")
  set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX)
  add_library(${name}_${build}_kernels OBJECT ${kernels})
  add_library(${name}_${build}_host OBJECT ${host})
  foreach(part kernels host)
    target_link_libraries(${name}_${build}_${part} PRIVATE gatun_emulation_${build})
    target_compile_definitions(${name}_${build}_${part} PRIVATE GATUN_ROOT="${GATUN_ROOT}" ${ARG_DEFINITIONS})
  endforeach()
  # Uninitialised locals get a pattern, not whatever an earlier fiber left.
  target_compile_options(${name}_${build}_kernels PRIVATE -x c++ -ftrivial-auto-var-init=pattern)
  if(build STREQUAL race)
    # libtsan is not linked: race.cpp has the functions that the compiler calls.
    target_compile_options(${name}_${build}_kernels PRIVATE -fsanitize=thread
      $<$<CXX_COMPILER_ID:GNU>:--param=tsan-instrument-func-entry-exit=0>)
  endif()
  if(GATUN_NVCC)
    foreach(kernel ${kernels})
      get_filename_component(file "${kernel}" NAME_WE)
      gatun_nvcc(${file} "${kernel}" ${ARG_DEFINITIONS})
    endforeach()
  endif()
endfunction()

# Objects of further libraries follow BORDER.
function(gatun_cuda_test name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "DEFINITIONS;BORDER")
  foreach(build ${GATUN_EMULATION_BUILDS})
    gatun_emulated_objects(${name} ${build} ${ARG_UNPARSED_ARGUMENTS} DEFINITIONS ${ARG_DEFINITIONS})
    set(objects $<TARGET_OBJECTS:${name}_${build}_kernels> $<TARGET_OBJECTS:${name}_${build}_host>)
    foreach(library ${ARG_BORDER})
      list(APPEND objects $<TARGET_OBJECTS:${library}_${build}_kernels> $<TARGET_OBJECTS:${library}_${build}_host>)
    endforeach()
    add_executable(${name}_${build} ${objects})
    target_link_libraries(${name}_${build} PRIVATE gatun_emulation_${build})
    add_test(NAME emulation.${name}.${build} COMMAND ${name}_${build})
    set_tests_properties(emulation.${name}.${build} PROPERTIES TIMEOUT 120)
  endforeach()
endfunction()

set(emulation "${GATUN_ROOT}/kernels/emulation")
gatun_cuda_test(samples "${emulation}/samples.cu" "${emulation}/samples_test.cpp")
gatun_cuda_test(intrinsics "${emulation}/intrinsics.cu" "${emulation}/intrinsics_test.cpp")
gatun_cuda_test(planted "${emulation}/planted_synchronisation.cu" "${emulation}/planted_memory.cu" "${emulation}/planted_test.cpp")

# What the operations share: contexts and streams of the CUDA device, and the checks of the border.
set(border "${GATUN_ROOT}/native/src")
foreach(build ${GATUN_EMULATION_BUILDS})
  gatun_emulated_objects(cuda_border ${build} "${border}/context.cu" "${border}/check.cpp" "${border}/error.cpp" "${border}/isa.cpp"
    "${border}/library.cpp" DEFINITIONS GATUN_CUDA=1)
endforeach()

# An operation that has a CUDA kernel runs the test cases of the CPU on the emulated device.
file(GLOB kernels CONFIGURE_DEPENDS "${GATUN_ROOT}/kernels/*/*.cu")
list(FILTER kernels EXCLUDE REGEX "/kernels/emulation/")
foreach(kernel ${kernels})
  get_filename_component(operation "${kernel}" NAME_WE)
  get_filename_component(folder "${kernel}" DIRECTORY)
  gatun_cuda_test(${operation}_cuda "${kernel}" "${border}/${operation}.cpp" "${folder}/${operation}_test.cpp"
    DEFINITIONS GATUN_CUDA=1 BORDER cuda_border)
endforeach()
