# SPDX-License-Identifier: Apache-2.0
# gatun-tests-cuda: the cases of every operation in one program with the objects of libgatun_cuda.so, as compute-sanitizer runs it, and with them those of the
# emulation's own samples and instructions, which say whether the emulation is like the device. The objects are those of the emulated tests.
function(gatun_nvcc_host name source)  # host code that calls the CUDA runtime itself
  set(object "${CMAKE_BINARY_DIR}/nvcc/${name}.o")
  add_custom_command(OUTPUT "${object}"
    COMMAND "${GATUN_NVCC}" -x cu -std=c++20 -O1 -arch=sm_80 -Xcompiler -Wall,-Wextra,-Werror,-fPIC,-fvisibility=hidden,-ffp-contract=off
      -Xcompiler "-fmacro-prefix-map=${GATUN_ROOT}/=" -DGATUN_CUDA=1 -I "${GATUN_ROOT}" -I "${GATUN_ROOT}/native/include" -I "${GATUN_ROOT}/native/src"
      -I "${GATUN_DOCTEST_INCLUDE}" -MD -MF "${object}.d" -c "${source}" -o "${object}"
    DEPENDS "${source}" DEPFILE "${object}.d" COMMENT "nvcc ${name}.cpp" VERBATIM)
endfunction()

set(objects $<TARGET_OBJECTS:memory_cuda_test>)
foreach(operation ${GATUN_CUDA_OPERATIONS})
  list(APPEND objects $<TARGET_OBJECTS:${operation}_cuda_test>)
endforeach()
set(nvcc_objects "")
set(nvcc_targets "")
foreach(name samples intrinsics)
  gatun_nvcc_host(${name}_test "${GATUN_ROOT}/kernels/emulation/${name}_test.cpp")
  list(APPEND nvcc_objects "${CMAKE_BINARY_DIR}/nvcc/${name}_test.o")
  file(GLOB kernels CONFIGURE_DEPENDS "${GATUN_ROOT}/kernels/emulation/${name}*.cu")
  foreach(kernel ${kernels})
    get_filename_component(file "${kernel}" NAME_WE)
    list(APPEND nvcc_objects "${CMAKE_BINARY_DIR}/nvcc/${file}.o")
    list(APPEND nvcc_targets nvcc_${file})
  endforeach()
endforeach()
set_source_files_properties(${nvcc_objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)

# The library's objects and not the library: some cases call what it does not export, such as a tile that a shape would not choose.
add_executable(gatun-tests-cuda "${GATUN_ROOT}/kernels/testing/device_main.cpp" ${objects} ${nvcc_objects} ${GATUN_CUDA_OBJECTS})
add_dependencies(gatun-tests-cuda gatun_cuda ${nvcc_targets})  # one target makes an object
target_include_directories(gatun-tests-cuda SYSTEM PRIVATE "${GATUN_DOCTEST_INCLUDE}")
target_include_directories(gatun-tests-cuda PRIVATE "${GATUN_ROOT}/native/include")
target_link_libraries(gatun-tests-cuda PRIVATE gatun_compiler "${GATUN_CUDART}" dl rt pthread)
set_target_properties(gatun-tests-cuda PROPERTIES BUILD_RPATH "\$ORIGIN" RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
add_test(NAME tests.cuda COMMAND gatun-tests-cuda)
set_tests_properties(tests.cuda PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
