# CPU instruction-set levels. Each <folder>/simd.cpp is compiled once per level, each time with
# TAPESCOPE_ISA set to the level's name, which the file uses as its namespace. Those files use no
# STL and no inline function from elsewhere: the linker would merge a copy that holds wide
# instructions into code that runs on every processor.
set(TAPESCOPE_ISA_LEVELS baseline)
set(TAPESCOPE_ISA_FLAGS_baseline "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND TAPESCOPE_ISA_LEVELS avx2 avx512)
  set(TAPESCOPE_ISA_FLAGS_avx2 -mavx2 -mfma)
  set(TAPESCOPE_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
      -mprefer-vector-width=512)
endif()

function(tapescope_isa_sources target folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*/simd.cpp)
  if(NOT sources)
    return()
  endif()
  foreach(level IN LISTS TAPESCOPE_ISA_LEVELS)
    add_library(${target}_${level} OBJECT ${sources})
    target_include_directories(${target}_${level} PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_definitions(${target}_${level} PRIVATE TAPESCOPE_ISA=${level}
                               TAPESCOPE_ISA_${level}=1)
    # -fno-math-errno and -fno-trapping-math let loops vectorise without changing a value.
    target_compile_options(${target}_${level} PRIVATE ${TAPESCOPE_ISA_FLAGS_${level}} -O3
                           -fopenmp-simd -ffp-contract=fast -fno-math-errno -fno-trapping-math)
    target_link_libraries(${target}_${level} PRIVATE tapescope_flags)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${level}>)
  endforeach()
endfunction()
