# SPDX-License-Identifier: Apache-2.0
# The CUDA side: an operation whose folder has .cu files. nvcc compiles them into libgatun_cuda.so, where it is present; the host compiler
# compiles them for the emulated device (GatunEmulation.cmake), as libgatun_emulated.so and in the tests.
find_program(GATUN_NVCC nvcc HINTS ENV CUDA_HOME PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)

# Real architectures, and PTX for those that come. Of compute capability 9.0 only sm_90a: a second image for the same device could be chosen. Warnings of the front end, of ptxas and of the host compiler are errors.
set(GATUN_NVCC_FLAGS -std=c++20 -O3 -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror,-fPIC,-fvisibility=hidden,-fno-gnu-unique
  -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a -gencode arch=compute_90,code=compute_90)

# nvcc_NAME makes nvcc/NAME.o
function(gatun_nvcc name source)
  if(NOT GATUN_NVCC)
    return()
  endif()
  set(object "${CMAKE_BINARY_DIR}/nvcc/${name}.o")
  file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/nvcc")
  add_custom_command(OUTPUT "${object}"
    COMMAND sh "${GATUN_ROOT}/cmake/nvcc.sh" "${CMAKE_BINARY_DIR}/nvcc/${name}.ptxas" "${GATUN_NVCC}" ${GATUN_NVCC_FLAGS} -Xptxas -v -DGATUN_CUDA=1 -I "${GATUN_ROOT}" -I "${GATUN_ROOT}/native/include" -I "${GATUN_ROOT}/native/src"
      -MD -MF "${object}.d" -c "${source}" -o "${object}"
    DEPENDS "${source}" DEPFILE "${object}.d" COMMENT "nvcc ${name}.cu" VERBATIM)
  add_custom_target(nvcc_${name} DEPENDS "${object}")
endfunction()

# Host code that goes with CUDA kernels: it sees no CUDA header, so the CUDA device and the emulated one share it.
function(gatun_cuda_host name)
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${ARGN})
  target_include_directories(${name} PRIVATE "${GATUN_ROOT}" "${GATUN_ROOT}/native/include" "${GATUN_ROOT}/native/src")
  target_compile_definitions(${name} PRIVATE GATUN_CUDA=1)
  target_link_libraries(${name} PRIVATE gatun_compiler)
endfunction()

set(border "${GATUN_ROOT}/native/src")
gatun_cuda_host(gatun_cuda_base "${border}/check.cpp" "${border}/error.cpp" "${border}/library.cpp")
set(GATUN_CUDA_BORDER $<TARGET_OBJECTS:gatun_cuda_base>)
set(GATUN_CUDA_BASE "${border}/context.cu" "${border}/memory.cu")
set(GATUN_CUDA_KERNELS ${GATUN_CUDA_BASE})
set(GATUN_CUDA_OPERATIONS "")
file(GLOB files CONFIGURE_DEPENDS "${GATUN_ROOT}/kernels/*/*.cu")
list(FILTER files EXCLUDE REGEX "/kernels/emulation/")
foreach(file ${files})
  get_filename_component(folder "${file}" DIRECTORY)
  get_filename_component(operation "${folder}" NAME)
  list(APPEND GATUN_CUDA_KERNELS "${file}")
  list(APPEND GATUN_CUDA_${operation} "${file}")
  if(NOT operation IN_LIST GATUN_CUDA_OPERATIONS)
    list(APPEND GATUN_CUDA_OPERATIONS ${operation})
    gatun_cuda_host(${operation}_cuda_border "${border}/${operation}.cpp")
    list(APPEND GATUN_CUDA_BORDER $<TARGET_OBJECTS:${operation}_cuda_border>)
  endif()
endforeach()
# The CPU's alone: elsewhere there is only the border, which says so.
foreach(operation matmul linear_cross_entropy)
  gatun_cuda_host(${operation}_cuda_border "${border}/${operation}.cpp")
  list(APPEND GATUN_CUDA_BORDER $<TARGET_OBJECTS:${operation}_cuda_border>)
endforeach()

if(GATUN_NVCC)
  set(objects "")
  foreach(kernel ${GATUN_CUDA_KERNELS})
    get_filename_component(name "${kernel}" NAME_WE)
    gatun_nvcc(${name} "${kernel}")
    list(APPEND objects "${CMAKE_BINARY_DIR}/nvcc/${name}.o")
  endforeach()
  # nvcc may be a wrapper: it is asked where its toolkit lies.
  file(WRITE "${CMAKE_BINARY_DIR}/nvcc/empty.cu" "")
  execute_process(COMMAND "${GATUN_NVCC}" --dryrun -c "${CMAKE_BINARY_DIR}/nvcc/empty.cu" -o empty.o OUTPUT_VARIABLE toolkit ERROR_VARIABLE toolkit)
  string(REGEX MATCH "TOP=([^\n]*)" toolkit "${toolkit}")
  find_library(GATUN_CUDART cudart_static REQUIRED HINTS "${CMAKE_MATCH_1}" PATH_SUFFIXES lib64 lib targets/${CMAKE_SYSTEM_PROCESSOR}-linux/lib targets/sbsa-linux/lib)
  # cudart is static: the library loads on a machine without CUDA and says so.
  set(GATUN_CUDA_OBJECTS ${GATUN_CUDA_BORDER} ${objects})
  add_library(gatun_cuda SHARED EXCLUDE_FROM_ALL ${GATUN_CUDA_OBJECTS})
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  target_link_libraries(gatun_cuda PRIVATE gatun_compiler ${GATUN_EXPORTS} "${GATUN_CUDART}" dl rt pthread)
  # One target makes an object; two at once would write over each other under make.
  foreach(kernel ${GATUN_CUDA_KERNELS})
    get_filename_component(name "${kernel}" NAME_WE)
    add_dependencies(gatun_cuda nvcc_${name})
  endforeach()
  set_target_properties(gatun_cuda PROPERTIES LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
else()
  message(STATUS "CUDA sources are not compiled by nvcc: skipped: no nvcc")
endif()
