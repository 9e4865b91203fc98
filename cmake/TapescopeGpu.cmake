# The .cu files of kernels/ are compiled twice: here by the ordinary compiler, against the emulator
# (kernels/emulator), and by nvcc.
find_package(Boost 1.70 REQUIRED COMPONENTS context)

function(tapescope_emulated_sources target)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS kernels/*.cu)
  list(FILTER sources EXCLUDE REGEX "kernels/cuda/")  # what only a real device has
  set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX)
  add_library(${target}_emulated OBJECT ${sources})
  target_include_directories(${target}_emulated PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${target}_emulated PRIVATE -x c++ -O1)  # half of -O2's time to compile
  target_link_libraries(${target}_emulated PRIVATE tapescope_flags fmt::fmt)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_emulated>)
  target_link_libraries(${target} PRIVATE Boost::context)
endfunction()
