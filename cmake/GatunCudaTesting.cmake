# SPDX-License-Identifier: Apache-2.0
# Tests of the CUDA side that need no GPU. The test cases of an operation (kernels/X/X_test.cpp, and X_*cuda_test.cpp that the CPU does not run)
# are compiled once with GATUN_CUDA and linked with each build of the kernels; every program runs under several schedules.
foreach(build ${GATUN_EMULATION_BUILDS})
  add_library(gatun_emulation_main_${build} OBJECT "${GATUN_ROOT}/kernels/emulation/test_main.cpp")
  target_include_directories(gatun_emulation_main_${build} SYSTEM PUBLIC "${GATUN_DOCTEST_INCLUDE}")
  target_link_libraries(gatun_emulation_main_${build} PRIVATE gatun_emulation_flags_${build})
endforeach()

# gatun_emulated_test(NAME BUILD objects...)
function(gatun_emulated_test name build)
  add_executable(${name}_${build} ${ARGN} $<TARGET_OBJECTS:gatun_emulation_${build}> $<TARGET_OBJECTS:gatun_emulation_main_${build}>)
  target_link_libraries(${name}_${build} PRIVATE gatun_emulation_flags_${build})
  add_test(NAME emulation.${name}.${build} COMMAND ${name}_${build})
  set_tests_properties(emulation.${name}.${build} PROPERTIES TIMEOUT 300)
  if(build STREQUAL plain)
    set_tests_properties(emulation.${name}.plain PROPERTIES LABELS quick)
    add_dependencies(quick_tests ${name}_plain)
  endif()
endfunction()

function(gatun_nvcc_test name)
  if(GATUN_NVCC)
    add_custom_target(nvcc_${name}_all ALL)
    add_dependencies(nvcc_${name}_all nvcc_${name})
    add_test(NAME nvcc.${name} COMMAND "${CMAKE_COMMAND}" -E md5sum "${CMAKE_BINARY_DIR}/nvcc/${name}.o")
  endif()
endfunction()

# Tests of the emulation itself: .cu files, and host code that looks into it.
function(gatun_emulation_test name)
  set(kernels ${ARGN})
  list(FILTER kernels INCLUDE REGEX "\\.cu$")
  set(host ${ARGN})
  list(FILTER host EXCLUDE REGEX "\\.cu$")
  gatun_emulated_kernels(${name} ${kernels})
  foreach(build ${GATUN_EMULATION_BUILDS})
    add_library(${name}_host_${build} OBJECT ${host})
    target_include_directories(${name}_host_${build} SYSTEM PRIVATE "${GATUN_DOCTEST_INCLUDE}")
    target_link_libraries(${name}_host_${build} PRIVATE gatun_emulation_flags_${build})
    target_compile_definitions(${name}_host_${build} PRIVATE GATUN_ROOT="${GATUN_ROOT}")
    gatun_emulated_test(${name} ${build} $<TARGET_OBJECTS:${name}_kernels_${build}> $<TARGET_OBJECTS:${name}_host_${build}>)
  endforeach()
  foreach(kernel ${kernels})
    get_filename_component(file "${kernel}" NAME_WE)
    gatun_nvcc(${file} "${kernel}")
    gatun_nvcc_test(${file})
  endforeach()
endfunction()

set(emulation "${GATUN_ROOT}/kernels/emulation")
gatun_emulation_test(samples "${emulation}/samples.cu" "${emulation}/samples_hopper.cu" "${emulation}/samples_test.cpp")
gatun_emulation_test(intrinsics "${emulation}/intrinsics.cu" "${emulation}/intrinsics_test.cpp")
gatun_emulation_test(planted "${emulation}/planted_synchronisation.cu" "${emulation}/planted_memory.cu" "${emulation}/planted_grid.cu"
  "${emulation}/planted_hopper.cu" "${emulation}/planted_test.cpp")

# Operations that call others.
set(GATUN_CUDA_NEEDS_augmentation random)
set(GATUN_CUDA_NEEDS_stochastic_depth gather_rows random)

foreach(operation ${GATUN_CUDA_OPERATIONS})
  file(GLOB cases CONFIGURE_DEPENDS "${GATUN_ROOT}/kernels/${operation}/${operation}_test.cpp" "${GATUN_ROOT}/kernels/${operation}/*cuda_test.cpp")
  gatun_cuda_host(${operation}_cuda_test ${cases})
  target_include_directories(${operation}_cuda_test SYSTEM PRIVATE "${GATUN_DOCTEST_INCLUDE}")
  # The yardsticks of rounding are computed as written.
  target_compile_options(${operation}_cuda_test PRIVATE -O1)
  foreach(build ${GATUN_EMULATION_BUILDS})
    set(objects "")
    foreach(part ${operation} ${GATUN_CUDA_NEEDS_${operation}})
      list(APPEND objects $<TARGET_OBJECTS:${part}_kernels_${build}> $<TARGET_OBJECTS:${part}_cuda_border>)
    endforeach()
    gatun_emulated_test(${operation}_cuda ${build} $<TARGET_OBJECTS:${operation}_cuda_test> ${objects} $<TARGET_OBJECTS:context_kernels_${build}>
      $<TARGET_OBJECTS:gatun_cuda_base>)
  endforeach()
  foreach(kernel ${GATUN_CUDA_${operation}})
    get_filename_component(file "${kernel}" NAME_WE)
    gatun_nvcc_test(${file})
  endforeach()
endforeach()

# The border's own cases, with an operation to launch.
gatun_cuda_host(memory_cuda_test "${border}/memory_test.cpp")
target_include_directories(memory_cuda_test SYSTEM PRIVATE "${GATUN_DOCTEST_INCLUDE}")
foreach(build ${GATUN_EMULATION_BUILDS})
  gatun_emulated_test(memory_cuda ${build} $<TARGET_OBJECTS:memory_cuda_test> $<TARGET_OBJECTS:elementwise_kernels_${build}>
    $<TARGET_OBJECTS:elementwise_cuda_border> $<TARGET_OBJECTS:context_kernels_${build}> $<TARGET_OBJECTS:gatun_cuda_base>)
  # A report of another thread's doing need not make a launch of this one fail.
  set_tests_properties(emulation.memory_cuda.${build} PROPERTIES FAIL_REGULAR_EXPRESSION "emulation: ")
endforeach()
gatun_nvcc_test(context)
gatun_nvcc_test(memory)

if(GATUN_NVCC)
  # Fails where a kernel spills registers.
  add_test(NAME nvcc.resources COMMAND sh "${GATUN_ROOT}/cmake/resources.sh" "${CMAKE_BINARY_DIR}/nvcc")
else()
  add_test(NAME nvcc COMMAND "${CMAKE_COMMAND}" -E echo "skipped: no nvcc")
  set_tests_properties(nvcc PROPERTIES SKIP_REGULAR_EXPRESSION "skipped: no nvcc")
endif()
add_dependencies(java_tests gatun_emulated)

# Stand-ins for NVIDIA's libraries under each name that the Java binding links: the Java tests load them where there is no CUDA.
foreach(library cuda.so.1 cudart.so.13 cublasLt.so.13 cublas.so.13 cudnn.so.9 cudnn_graph.so.9 cudnn_ops.so.9 cudnn_cnn.so.9 cudnn_adv.so.9)
  string(REGEX REPLACE "[.].*" "" target "double_${library}")
  if(library MATCHES "cudnn")
    add_library(${target} SHARED "${GATUN_ROOT}/kernels/testing/cudnn_double.cpp")
  else()
    add_library(${target} SHARED "${GATUN_ROOT}/kernels/testing/cublas_double.cpp")
  endif()
  target_compile_options(${target} PRIVATE -O2 -Wall -Wextra -Werror)
  # The binding asks for symbols by version, which NVIDIA names after the library.
  file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/doubles/${target}.map" CONTENT "lib${library} { global: *; };\n")
  target_link_options(${target} PRIVATE "LINKER:--version-script=${CMAKE_BINARY_DIR}/doubles/${target}.map")
  set_target_properties(${target} PROPERTIES CXX_STANDARD 20 CXX_VISIBILITY_PRESET default SUFFIX "" PREFIX "" OUTPUT_NAME "lib${library}"
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/doubles")
  add_dependencies(java_tests ${target})
endforeach()

# The other libraries export what the CPU's does.
foreach(device emulated cuda)
  if(TARGET gatun_${device})
    add_test(NAME exported_symbols.${device}
      COMMAND sh "${GATUN_ROOT}/cmake/exported_symbols.sh" "$<TARGET_FILE:gatun_${device}>" "${CMAKE_NM}" "${GATUN_ROOT}/native")
  endif()
endforeach()
