# Options, libraries and the table that ends the configuration.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})

set(TAPESCOPE_ONEDNN AUTO CACHE STRING "CPU convolution, matmul and pooling by oneDNN: AUTO, ON, OFF")
set(TAPESCOPE_CUDA AUTO CACHE STRING "CUDA kernels: AUTO, ON, OFF")
option(TAPESCOPE_CUDA_LINES "CUDA kernels know their source's lines (-lineinfo)" ON)
set(TAPESCOPE_CUBLAS AUTO CACHE STRING "cuBLAS variants: AUTO, ON, OFF")
set(TAPESCOPE_CUDNN AUTO CACHE STRING "cuDNN variants: AUTO, ON, OFF")
set(TAPESCOPE_WEBP AUTO CACHE STRING "WebP pictures by libwebp: AUTO, ON, OFF")
set(TAPESCOPE_TIFF AUTO CACHE STRING "TIFF pictures by libtiff: AUTO, ON, OFF")
set(TAPESCOPE_ONNX AUTO CACHE STRING "ONNX models by libprotobuf: AUTO, ON, OFF")
set(TAPESCOPE_ARCHIVE AUTO CACHE STRING "PyTorch's files and shards by libarchive: AUTO, ON, OFF")
set(TAPESCOPE_MPI AUTO CACHE STRING "Ranks on several machines by MPI: AUTO, ON, OFF")
set(TAPESCOPE_SANITIZE "" CACHE STRING "Sanitizers, for instance address,undefined or thread")
set(TAPESCOPE_TESTS AUTO CACHE STRING "Build the tests (GoogleTest): AUTO, ON, OFF")
set(TAPESCOPE_BENCHMARKS AUTO CACHE STRING "Build the benchmarks (Google Benchmark): AUTO, ON, OFF")
option(TAPESCOPE_FUZZ "Build the fuzz targets only (clang; see tests/fuzz)" OFF)
option(TAPESCOPE_UNITY "Compile the files of a folder as one, kernels behind precompiled headers" ON)
option(TAPESCOPE_WERROR "Warnings are errors" OFF)

set(TAPESCOPE_TABLE "")
macro(tapescope_row what state why)
  string(APPEND TAPESCOPE_TABLE "\n--   ${what}: ${state}${why}")
endmacro()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(ZLIB REQUIRED)

# What every target of the project is compiled with. No -march=native, no fast-math.
add_library(tapescope_flags INTERFACE)
target_compile_features(tapescope_flags INTERFACE cxx_std_20)
target_compile_options(tapescope_flags INTERFACE $<BUILD_INTERFACE:-Wall> $<BUILD_INTERFACE:-Wextra>
                       -fopenmp-simd)
if(TAPESCOPE_WERROR)
  target_compile_options(tapescope_flags INTERFACE -Werror)
endif()
if(TAPESCOPE_SANITIZE)
  target_compile_options(tapescope_flags INTERFACE -fsanitize=${TAPESCOPE_SANITIZE}
                         -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(tapescope_flags INTERFACE -fsanitize=${TAPESCOPE_SANITIZE})
endif()

# Most of a file's time to compile goes to headers: the files of a folder are compiled as one, of a
# folder of many each twenty or so. Names in anonymous namespaces differ there, so a new file can
# clash with its neighbours only. Kernels, whose families call the same things by the same names, are
# left apart: their headers are compiled once, before them.
function(tapescope_unity target)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources EXCLUDE REGEX "/kernels/")
  foreach(source IN LISTS sources)
    cmake_path(GET source PARENT_PATH folder)
    string(REPLACE "${PROJECT_SOURCE_DIR}/" "" folder "${folder}")
    string(MAKE_C_IDENTIFIER "${folder}" id)
    list(APPEND ids ${id})
    list(APPEND of_${id} ${source})
  endforeach()
  list(REMOVE_DUPLICATES ids)
  foreach(id IN LISTS ids)
    list(SORT of_${id})
    list(LENGTH of_${id} count)
    math(EXPR parts "(${count} + 19) / 20")
    set(i 0)
    foreach(source IN LISTS of_${id})
      math(EXPR part "${i} * ${parts} / ${count} + 1")
      math(EXPR i "${i} + 1")
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP "${id}${part}")
    endforeach()
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${TAPESCOPE_UNITY} UNITY_BUILD_MODE GROUP)
  if(TAPESCOPE_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # A class of one file may hold what that file alone names; gcc takes the file for a header here.
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()
# tapescope_headers(target header...): compiled once for all files of the target.
function(tapescope_headers target)
  if(TAPESCOPE_UNITY)
    target_precompile_headers(${target} PRIVATE <algorithm> <cstdint> <memory> <string> <vector> ${ARGN})
  endif()
endfunction()

# oneDNN: kernels/conv2d/onednn.cpp, or onednn_off.cpp in its place.
set(TAPESCOPE_ONEDNN_WHY "")
set(TAPESCOPE_ONEDNN_FOUND OFF)
if(NOT TAPESCOPE_ONEDNN STREQUAL "OFF")
  find_path(ONEDNN_INCLUDE_DIR dnnl.hpp)
  find_library(ONEDNN_LIBRARY dnnl)
  find_package(OpenMP COMPONENTS CXX)
  if(ONEDNN_INCLUDE_DIR AND ONEDNN_LIBRARY AND OpenMP_CXX_FOUND)
    set(TAPESCOPE_ONEDNN_FOUND ON)
  elseif(TAPESCOPE_ONEDNN STREQUAL "ON")
    message(FATAL_ERROR "TAPESCOPE_ONEDNN=ON but dnnl.hpp and libdnnl were not found; install "
                        "libdnnl-dev or configure with -DTAPESCOPE_ONEDNN=OFF")
  else()
    set(TAPESCOPE_ONEDNN_WHY " (libdnnl-dev not found)")
  endif()
else()
  set(TAPESCOPE_ONEDNN_WHY " (TAPESCOPE_ONEDNN=OFF)")
endif()
function(tapescope_onednn_sources target)
  if(TAPESCOPE_ONEDNN_FOUND)
    target_sources(${target} PRIVATE kernels/conv2d/onednn.cpp)
    target_include_directories(${target} SYSTEM PRIVATE ${ONEDNN_INCLUDE_DIR})
    target_link_libraries(${target} PRIVATE ${ONEDNN_LIBRARY} OpenMP::OpenMP_CXX)
  else()
    target_sources(${target} PRIVATE kernels/conv2d/onednn_off.cpp)
  endif()
endfunction()
tapescope_row("oneDNN" ${TAPESCOPE_ONEDNN_FOUND} "${TAPESCOPE_ONEDNN_WHY}")

# CUDA: nvcc and the runtime library, version 12 or newer. cuBLAS and cuDNN: their headers.
# tapescope_part(CUBLAS found why_not) decides one part by its option.
function(tapescope_part part found why)
  set(state OFF)
  set(text "")
  if(TAPESCOPE_${part} STREQUAL "OFF")
    set(text " (TAPESCOPE_${part}=OFF)")
  elseif(found)
    set(state ON)
  elseif(TAPESCOPE_${part} STREQUAL "ON")
    message(FATAL_ERROR "TAPESCOPE_${part}=ON, but ${why}; install it or configure with "
                        "-DTAPESCOPE_${part}=OFF")
  else()
    set(text " (${why})")
  endif()
  set(TAPESCOPE_${part}_FOUND ${state} PARENT_SCOPE)
  set(TAPESCOPE_${part}_TEXT "${text}" PARENT_SCOPE)
endfunction()
if(NOT TAPESCOPE_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit 12 QUIET)
endif()
if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE AND TARGET CUDA::cudart_static)
  tapescope_part(CUDA TRUE "")
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    # Machine code for Ampere and Hopper, with what Hopper alone has (90a), and PTX that later devices
    # compile for themselves.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual CACHE STRING "CUDA architectures")
  endif()
  # Static libraries become part of the CUDA library.
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  find_path(CUBLAS_INCLUDE_DIR cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV CUDNN_PATH
            PATH_SUFFIXES include)
  if(NOT CUDNN_INCLUDE_DIR)  # a Python package may have brought it
    file(GLOB CUDNN_CANDIDATES /usr/lib/python3*/*-packages/nvidia/cudnn/include
         /usr/local/lib/python3*/*-packages/nvidia/cudnn/include
         $ENV{HOME}/.local/lib/python3*/site-packages/nvidia/cudnn/include
         $ENV{VIRTUAL_ENV}/lib/python3*/site-packages/nvidia/cudnn/include)
    find_path(CUDNN_INCLUDE_DIR cudnn.h PATHS ${CUDNN_CANDIDATES} NO_DEFAULT_PATH)
  endif()
  tapescope_part(CUBLAS "${CUBLAS_INCLUDE_DIR}" "cublasLt.h was not found")
  tapescope_part(CUDNN "${CUDNN_INCLUDE_DIR}" "cudnn.h was not found")
else()
  tapescope_part(CUDA "" "no CUDA toolkit 12 or newer with nvcc was found")
  foreach(part CUBLAS CUDNN)
    tapescope_part(${part} "" "CUDA is off")
  endforeach()
endif()
foreach(part CUDA CUBLAS CUDNN)
  tapescope_row("${part}" ${TAPESCOPE_${part}_FOUND} "${TAPESCOPE_${part}_TEXT}")
endforeach()

# libjpeg-turbo: JPEG, as Pillow and OpenCV decode it. Another libjpeg would give other pixels.
find_path(JPEG_INCLUDE_DIR jpeglib.h REQUIRED)
find_library(JPEG_LIBRARY jpeg REQUIRED)
file(GLOB JPEG_CONFIG ${JPEG_INCLUDE_DIR}/jconfig.h ${JPEG_INCLUDE_DIR}/*/jconfig.h)
set(TAPESCOPE_TURBO "")
foreach(config IN LISTS JPEG_CONFIG)
  file(STRINGS ${config} TAPESCOPE_TURBO REGEX "LIBJPEG_TURBO_VERSION ")
endforeach()
if(NOT TAPESCOPE_TURBO)
  message(FATAL_ERROR "${JPEG_INCLUDE_DIR}/jpeglib.h is not libjpeg-turbo's; install libjpeg-dev "
                      "(tools/install-packages)")
endif()

# WebP and TIFF: tools/data/image_<format>.cpp, or image_<format>_off.cpp in its place.
find_path(WEBP_INCLUDE_DIR webp/decode.h)
find_library(WEBP_LIBRARY webp)
find_path(TIFF_INCLUDE_DIR tiffio.h)
find_library(TIFF_LIBRARY tiff)
# libarchive: PyTorch's files and shards, tools/training/stored_zip.cpp and tools/data/tar_index.cpp, or
# their _off.cpp in their places.
find_path(ARCHIVE_INCLUDE_DIR archive.h)
find_library(ARCHIVE_LIBRARY archive)
foreach(part WEBP TIFF ARCHIVE)
  string(TOLOWER ${part} name)
  set(found "")
  if(${part}_INCLUDE_DIR AND ${part}_LIBRARY)
    set(found ON)
  endif()
  tapescope_part(${part} "${found}" "lib${name}-dev was not found")
  tapescope_row("${part}" ${TAPESCOPE_${part}_FOUND} "${TAPESCOPE_${part}_TEXT}")
endforeach()
function(tapescope_picture_sources target)
  foreach(part WEBP TIFF)
    string(TOLOWER ${part} name)
    if(TAPESCOPE_${part}_FOUND)
      target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tools/data/image_${name}.cpp)
      target_include_directories(${target} SYSTEM PRIVATE ${${part}_INCLUDE_DIR})
      target_link_libraries(${target} PRIVATE ${${part}_LIBRARY})
    else()
      target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tools/data/image_${name}_off.cpp)
    endif()
  endforeach()
  # Its header tells the version in its first line only.
  file(STRINGS ${STB_INCLUDE_DIR}/stb_image.h stb LIMIT_COUNT 1 REGEX "stb_image - v[0-9.]+")
  string(REGEX REPLACE ".*stb_image - v([0-9.]+).*" "\\1" stb "${stb}")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/tools/data/image_stb.cpp PROPERTIES
    COMPILE_DEFINITIONS "TAPESCOPE_STB_VERSION=\"${stb}\"")
endfunction()
# ONNX: tools/onnx/read_model.cpp with what protoc makes of the schema, or read_model_off.cpp in its
# place. FindProtobuf, since protobuf's own configuration of version 22 and later wants abseil.
find_package(Protobuf MODULE QUIET)
set(found "")
if(Protobuf_LITE_LIBRARY AND Protobuf_PROTOC_EXECUTABLE AND Protobuf_INCLUDE_DIR)
  set(found ON)
endif()
tapescope_part(ONNX "${found}" "libprotobuf-dev or protobuf-compiler was not found")
tapescope_row("ONNX" ${TAPESCOPE_ONNX_FOUND} "${TAPESCOPE_ONNX_TEXT}")
function(tapescope_onnx_sources target)
  set(folder ${PROJECT_SOURCE_DIR}/tools/onnx)
  if(NOT TAPESCOPE_ONNX_FOUND)
    target_sources(${target} PRIVATE ${folder}/read_model_off.cpp)
    return()
  endif()
  set(generated ${PROJECT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated}/onnx)
  add_custom_command(OUTPUT ${generated}/onnx/onnx.pb.cc ${generated}/onnx/onnx.pb.h
    COMMAND ${Protobuf_PROTOC_EXECUTABLE} --cpp_out=${generated}/onnx -I ${folder}
            ${folder}/onnx.proto
    DEPENDS ${folder}/onnx.proto COMMENT "Making onnx.pb.cc of tools/onnx/onnx.proto")
  set_source_files_properties(${generated}/onnx/onnx.pb.cc PROPERTIES COMPILE_OPTIONS -w
                              SKIP_UNITY_BUILD_INCLUSION ON)
  set_source_files_properties(${folder}/read_model.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON
                              OBJECT_DEPENDS ${generated}/onnx/onnx.pb.h)
  target_sources(${target} PRIVATE ${folder}/read_model.cpp ${generated}/onnx/onnx.pb.cc)
  target_include_directories(${target} SYSTEM PRIVATE ${generated} ${Protobuf_INCLUDE_DIR})
  target_link_libraries(${target} PRIVATE ${Protobuf_LITE_LIBRARY})
endfunction()

function(tapescope_archive_sources target)
  set(off _off)
  if(TAPESCOPE_ARCHIVE_FOUND)
    set(off "")
    target_include_directories(${target} SYSTEM PRIVATE ${ARCHIVE_INCLUDE_DIR})
    target_link_libraries(${target} PRIVATE ${ARCHIVE_LIBRARY})
  endif()
  foreach(reader training/stored_zip data/tar_index)
    target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tools/${reader}${off}.cpp)
  endforeach()
endfunction()

# MPI: what carries messages between ranks, in a library of its own. Its C interface only.
set(MPI_CXX_SKIP_MPICXX ON)
if(NOT TAPESCOPE_MPI STREQUAL "OFF")
  find_package(MPI QUIET COMPONENTS CXX)
endif()
tapescope_part(MPI "${MPI_CXX_FOUND}" "libopenmpi-dev was not found")
tapescope_row("MPI" ${TAPESCOPE_MPI_FOUND} "${TAPESCOPE_MPI_TEXT}")

# Tests and benchmarks: built where their libraries are.
foreach(part_and_package TESTS:GTest BENCHMARKS:benchmark)
  string(REPLACE ":" ";" names ${part_and_package})
  list(GET names 0 part)
  list(GET names 1 package)
  set(TAPESCOPE_${part}_FOUND ${TAPESCOPE_${part}})
  if(TAPESCOPE_${part} STREQUAL "AUTO")
    find_package(${package} QUIET)
    set(TAPESCOPE_${part}_FOUND ${${package}_FOUND})
    if(NOT ${package}_FOUND)
      tapescope_row("${part}" OFF " (tools/install-packages --tests)")
    endif()
  endif()
endforeach()

# stb (decoding and writing pictures), zlib (.gz), CLI11 and nlohmann-json: header libraries used
# by tools/ only.
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb REQUIRED)
find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
find_path(NLOHMANN_INCLUDE_DIR nlohmann/json.hpp REQUIRED)
# pugixml: Pascal VOC annotations, in one file of tools/detection.
find_path(PUGIXML_INCLUDE_DIR pugixml.hpp REQUIRED)
find_library(PUGIXML_LIBRARY pugixml REQUIRED)
# yaml-cpp: the data.yaml of YOLO data sets, in one file of tools/detection.
find_path(YAML_CPP_INCLUDE_DIR yaml-cpp/yaml.h REQUIRED)
find_library(YAML_CPP_LIBRARY yaml-cpp REQUIRED)
# Eigen: eigenvalues of weight matrices (tools/inspection), fits by least squares (autograd/explain).
find_path(EIGEN_INCLUDE_DIR Eigen/Dense PATH_SUFFIXES eigen3 REQUIRED)
# Chart.js: part of the reports that `tapescope report` writes.
find_file(TAPESCOPE_CHART_JS NAMES chart.min.js chart.umd.min.js chart.umd.js Chart.min.js
          PATHS /usr/share/javascript/chart.js /usr/share/nodejs/chart.js/dist)
if(NOT TAPESCOPE_CHART_JS)
  message(FATAL_ERROR "Chart.js was not found; install libjs-chart.js (tools/install-packages) or "
                      "give its file: -DTAPESCOPE_CHART_JS=/path/to/chart.min.js")
endif()
add_library(tapescope_pictures INTERFACE)
target_include_directories(tapescope_pictures SYSTEM INTERFACE ${STB_INCLUDE_DIR}
                           ${CLI11_INCLUDE_DIR} ${NLOHMANN_INCLUDE_DIR} ${EIGEN_INCLUDE_DIR}
                           ${JPEG_INCLUDE_DIR})
target_link_libraries(tapescope_pictures INTERFACE ZLIB::ZLIB ${JPEG_LIBRARY} ${PUGIXML_LIBRARY} ${YAML_CPP_LIBRARY})

function(tapescope_summary)
  message(STATUS "Tapescope ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}, ISA levels: "
                 "${TAPESCOPE_ISA_LEVELS}${TAPESCOPE_TABLE}")
endfunction()
