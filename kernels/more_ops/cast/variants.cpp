// Which conversion runs where, best first.
#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/more_ops/cast/cast.h"
#include "kernels/more_ops/cast/reference.h"
#include "kernels/more_ops/cast/simd.h"

namespace tapescope {
namespace {

constexpr std::int64_t kGrain = 32 * 1024;  // elements per chunk of parallel work

// Null where the pair has no vector kernel.
CastKernel simd_kernel(const CastShape& s) {
  const CastKernels& kernels = TAPESCOPE_ISA_TABLE(cast_kernels);
  if (s.to == DType::f32) {
    switch (s.from) {
      case DType::bf16:
        return kernels.bf16_to_f32;
      case DType::f64:
        return kernels.f64_to_f32;
      case DType::u8:
        return kernels.u8_to_f32;
      case DType::i64:
        return kernels.i64_to_f32;
      case DType::f32:
        return nullptr;
    }
  }
  if (s.from == DType::f32 && s.to == DType::bf16) return kernels.f32_to_bf16;
  if (s.from == DType::f32 && s.to == DType::f64) return kernels.f32_to_f64;
  return nullptr;
}

bool simd_supports(const CastShape& s) { return simd_kernel(s) != nullptr; }

Plan simd_cast(const CastShape& s) {
  const auto from_size = static_cast<std::int64_t>(size_of(s.from));
  const auto to_size = static_cast<std::int64_t>(size_of(s.to));
  return Plan(
      "simd", 0,
      [n = s.n, kernel = simd_kernel(s), from_size, to_size](const Queue&, const Buffers& b) {
        const char* x = static_cast<const char*>(b.in[0]);  // {n}
        char* y = static_cast<char*>(b.out[0]);             // {n}
        parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
          kernel(end - begin, x + begin * from_size, y + begin * to_size);
        });
      });
}

constexpr DTypes kAny{DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8};

}  // namespace

namespace cpu {

Rows<CastShape> cast_variants() {
  static constexpr Variant<CastShape> rows[] = {
      {.name = "simd",
       .dtypes = kAny,
       .note = "f32 to and from bf16 and f64, u8 and i64 to f32, in vectors; the same bits",
       .prepare = simd_cast,
       .supports = simd_supports},
      {.name = "reference",
       .dtypes = kAny,
       .note = "any dtype to any, one by one",
       .prepare = reference::cast},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
