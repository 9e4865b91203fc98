# `cmake --install`: the program, the layers as libraries, their headers, and the package that
# find_package(tapescope) opens.
#   tapescope::tapescope   engine, kernels, autograd, layers: <tapescope/tapescope.h>
#   tapescope::emulator    CUDA on the CPU, for one's own .cu files: <tapescope/emulator.h>
#   tapescope::counters    with it: what they do to memory, counted
#   tapescope::tools       what the commands are made of: <tapescope/tools/...>
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/tapescope)
foreach(part emulator counters)
  set_target_properties(tapescope_${part} PROPERTIES EXPORT_NAME ${part})
endforeach()
foreach(layer engine kernels autograd layers tools)
  set_target_properties(tapescope_${layer} PROPERTIES EXPORT_NAME ${layer})
  install(DIRECTORY ${layer}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tapescope/${layer}
          FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN examples EXCLUDE)
endforeach()
install(TARGETS tapescope_flags tapescope_pictures tapescope_engine tapescope_emulator
        tapescope_counters tapescope_kernels tapescope_autograd tapescope_layers tapescope_tools EXPORT tapescope)
install(TARGETS tapescope)
if(TAPESCOPE_MPI_FOUND)
  install(TARGETS tapescope_mpi LIBRARY DESTINATION lib)  # where the program looks: ../lib
endif()
install(FILES tapescope.h emulator.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tapescope)
install(EXPORT tapescope NAMESPACE tapescope:: DESTINATION ${package} FILE tapescopeTargets.cmake)

file(WRITE ${PROJECT_BINARY_DIR}/tapescopeConfig.cmake [=[
include(CMakeFindDependencyMacro)
find_dependency(fmt)
find_dependency(Threads)
find_dependency(ZLIB)
find_dependency(Boost COMPONENTS context)
find_package(OpenMP QUIET COMPONENTS CXX)
include(${CMAKE_CURRENT_LIST_DIR}/tapescopeTargets.cmake)
if(NOT TARGET tapescope::tapescope)
  add_library(tapescope::tapescope INTERFACE IMPORTED)
  target_link_libraries(tapescope::tapescope INTERFACE tapescope::layers)
endif()
]=])
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tapescopeConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tapescopeConfig.cmake
        ${PROJECT_BINARY_DIR}/tapescopeConfigVersion.cmake DESTINATION ${package})
