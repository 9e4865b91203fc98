// How one <folder>/simd.cpp, compiled once per instruction set, is reached.
//
// simd.h declares a struct of function pointers and, with TAPESCOPE_DECLARE_ISA_TABLE, one
// constant of that type per level; simd.cpp defines it in namespace tapescope::TAPESCOPE_ISA.
// variants.cpp picks one with TAPESCOPE_ISA_TABLE when a kernel is prepared. This file holds macros
// only, so that simd.cpp may include it: see cmake/TapescopeIsa.cmake for what it may not.
#pragma once

#if defined(__x86_64__)
// clang-format off
#define TAPESCOPE_DECLARE_ISA_TABLE(Type, name)       \
  namespace baseline { extern const Type name; }      \
  namespace avx2 { extern const Type name; }          \
  namespace avx512 { extern const Type name; }
// clang-format on
// Needs engine/isa.h.
#define TAPESCOPE_ISA_TABLE(name)                                             \
  (::tapescope::isa() >= ::tapescope::Isa::avx512 ? ::tapescope::avx512::name \
   : ::tapescope::isa() == ::tapescope::Isa::avx2 ? ::tapescope::avx2::name   \
                                                  : ::tapescope::baseline::name)
#else
#define TAPESCOPE_DECLARE_ISA_TABLE(Type, name) \
  namespace baseline {                          \
  extern const Type name;                       \
  }
#define TAPESCOPE_ISA_TABLE(name) (::tapescope::baseline::name)
#endif
