# The .cu files of kernels/ are compiled twice: here by the ordinary compiler, against the emulator
# (kernels/emulator), and by nvcc.
find_package(Boost 1.70 REQUIRED COMPONENTS context)

# The emulator by itself, for others' .cu files too, and what stands in for ThreadSanitizer's library
# where a file's loads and stores are to be counted (kernels/emulator/counters.h).
function(tapescope_emulator)
  file(GLOB sources CONFIGURE_DEPENDS kernels/emulator/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/hooks\\.cpp$")
  add_library(tapescope_emulator STATIC ${sources})
  target_link_libraries(tapescope_emulator PUBLIC tapescope_engine Boost::context)
  add_library(tapescope_counters STATIC kernels/emulator/hooks.cpp)
  target_include_directories(tapescope_counters PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(tapescope_counters PRIVATE $<BUILD_INTERFACE:tapescope_flags>)
  # A vector stays one access: it is not taken apart into its numbers.
  target_compile_options(tapescope_counters INTERFACE -O1 -fsanitize=thread -fno-tree-sra)
endfunction()

# The rungs of kernels/LADDER.md, counted: build/<preset>/ladder.
function(tapescope_ladder)
  if(TAPESCOPE_SANITIZE OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  foreach(family batch_norm conv2d elementwise layout log_softmax matmul reduce)
    file(GLOB rungs CONFIGURE_DEPENDS kernels/${family}/*.cu)
    list(APPEND sources ${rungs})
  endforeach()
  add_library(tapescope_counted OBJECT EXCLUDE_FROM_ALL ${sources})
  target_compile_options(tapescope_counted PRIVATE -x c++)
  target_link_libraries(tapescope_counted PRIVATE tapescope_kernels tapescope_counters)
  add_executable(ladder EXCLUDE_FROM_ALL bench/ladder/ladder.cpp)
  # Before tapescope_kernels, whose rungs are not counted.
  target_link_libraries(ladder PRIVATE tapescope_counted tapescope_kernels tapescope_counters)
endfunction()

function(tapescope_emulated_sources target)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS kernels/*.cu)
  list(FILTER sources EXCLUDE REGEX "kernels/cuda/")  # what only a real device has
  set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX)
  add_library(${target}_emulated OBJECT ${sources})
  target_include_directories(${target}_emulated PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${target}_emulated PRIVATE -x c++ -O1)  # half of -O2's time to compile
  target_link_libraries(${target}_emulated PRIVATE tapescope_flags fmt::fmt)
  tapescope_headers(${target}_emulated "kernels/common/gpu.h")
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_emulated>)
endfunction()
