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
set(TAPESCOPE_CUDNN AUTO CACHE STRING "cuDNN variants: AUTO, ON, OFF")
set(TAPESCOPE_SANITIZE "" CACHE STRING "Sanitizers, for instance address,undefined or thread")
option(TAPESCOPE_TESTS "Build the tests (GoogleTest)" ON)
option(TAPESCOPE_BENCHMARKS "Build the benchmarks (Google Benchmark)" ON)
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
target_compile_options(tapescope_flags INTERFACE -Wall -Wextra -fopenmp-simd)
if(TAPESCOPE_WERROR)
  target_compile_options(tapescope_flags INTERFACE -Werror)
endif()
if(TAPESCOPE_SANITIZE)
  target_compile_options(tapescope_flags INTERFACE -fsanitize=${TAPESCOPE_SANITIZE}
                         -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(tapescope_flags INTERFACE -fsanitize=${TAPESCOPE_SANITIZE})
endif()

# oneDNN: every kernels/<family>/onednn.cpp, or kernels/common/onednn_off.cpp in their place.
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
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS kernels/*/onednn.cpp)
    target_sources(${target} PRIVATE ${sources})
    target_include_directories(${target} SYSTEM PRIVATE ${ONEDNN_INCLUDE_DIR})
    target_link_libraries(${target} PRIVATE ${ONEDNN_LIBRARY} OpenMP::OpenMP_CXX)
  else()
    target_sources(${target} PRIVATE kernels/common/onednn_off.cpp)
  endif()
endfunction()
tapescope_row("oneDNN" ${TAPESCOPE_ONEDNN_FOUND} "${TAPESCOPE_ONEDNN_WHY}")

# CUDA and cuDNN have no kernels in this version: ON is an error, AUTO is off.
foreach(part CUDA CUDNN)
  if(TAPESCOPE_${part} STREQUAL "ON")
    message(FATAL_ERROR "TAPESCOPE_${part}=ON, but this version has no ${part} kernels; configure "
                        "with -DTAPESCOPE_${part}=OFF")
  endif()
  tapescope_row("${part}" OFF " (no ${part} kernels in this version)")
endforeach()

# stb (decoding and writing pictures), zlib (.gz), CLI11 and nlohmann-json: header libraries used
# by tools/ only.
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb REQUIRED)
find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
find_path(NLOHMANN_INCLUDE_DIR nlohmann/json.hpp REQUIRED)
add_library(tapescope_pictures INTERFACE)
target_include_directories(tapescope_pictures SYSTEM INTERFACE ${STB_INCLUDE_DIR}
                           ${CLI11_INCLUDE_DIR} ${NLOHMANN_INCLUDE_DIR})
target_link_libraries(tapescope_pictures INTERFACE ZLIB::ZLIB)

function(tapescope_summary)
  message(STATUS "Tapescope ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}, ISA levels: "
                 "${TAPESCOPE_ISA_LEVELS}${TAPESCOPE_TABLE}")
endfunction()
