// wgmma's PTX for the three widths that rungs use: as many registers as there are results of a
// thread. Included by hopper.h.
#pragma once

#include <cstdint>

namespace tapescope::cuda {

// The registers' places in the text, and the registers.

#define TAPESCOPE_PLACES_32                                              \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"

#define TAPESCOPE_PLACES_64                                                          \
  TAPESCOPE_PLACES_32                                                                \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

#define TAPESCOPE_PLACES_128                                                                 \
  TAPESCOPE_PLACES_64                                                                        \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"         \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"         \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, " \
  "%111"                                                                                     \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, "   \
  "%126, %127"

#define TAPESCOPE_SUMS_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define TAPESCOPE_SUMS_16(i) \
  TAPESCOPE_SUMS_4(i), TAPESCOPE_SUMS_4(i + 4), TAPESCOPE_SUMS_4(i + 8), TAPESCOPE_SUMS_4(i + 12)
#define TAPESCOPE_SUMS_32(i) TAPESCOPE_SUMS_16(i), TAPESCOPE_SUMS_16(i + 16)
#define TAPESCOPE_SUMS_64(i) TAPESCOPE_SUMS_32(i), TAPESCOPE_SUMS_32(i + 32)
#define TAPESCOPE_SUMS_128(i) TAPESCOPE_SUMS_64(i), TAPESCOPE_SUMS_64(i + 64)

// `a`, `b`, whether to accumulate, and the two transpositions stand behind the n registers.
#define TAPESCOPE_WGMMA(columns, n, a_at, b_at, accumulate_at, a_turned_at, b_turned_at)      \
  asm volatile(                                                                               \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %" #accumulate_at                                     \
      ", 0;\n"                                                                                \
      "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" TAPESCOPE_PLACES_##n \
      "}, %" #a_at ", %" #b_at ", p, 1, 1, %" #a_turned_at ", %" #b_turned_at ";\n}"          \
      : TAPESCOPE_SUMS_##n(0)                                                                 \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(transposed_a), "n"(transposed_b))

template <int columns, bool transposed_a, bool transposed_b>
__device__ __forceinline__ void wgmma_bf16(float (&d)[columns / 2], std::uint64_t a,
                                           std::uint64_t b, bool accumulate) {
  static_assert(columns == 64 || columns == 128 || columns == 256);
  if constexpr (columns == 64) {
    TAPESCOPE_WGMMA(64, 32, 32, 33, 34, 35, 36);
  } else if constexpr (columns == 128) {
    TAPESCOPE_WGMMA(128, 64, 64, 65, 66, 67, 68);
  } else {
    TAPESCOPE_WGMMA(256, 128, 128, 129, 130, 131, 132);
  }
}

#undef TAPESCOPE_WGMMA
#undef TAPESCOPE_SUMS_4
#undef TAPESCOPE_SUMS_16
#undef TAPESCOPE_SUMS_32
#undef TAPESCOPE_SUMS_64
#undef TAPESCOPE_SUMS_128
#undef TAPESCOPE_PLACES_32
#undef TAPESCOPE_PLACES_64
#undef TAPESCOPE_PLACES_128

}  // namespace tapescope::cuda
