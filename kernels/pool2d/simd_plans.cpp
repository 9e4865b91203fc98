#include "kernels/pool2d/simd_plans.h"

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/pool2d/simd.h"

namespace tapescope::simd {
namespace {

struct Prepared {
  PoolImage image;
  std::int64_t N, x_elements, y_elements;  // of one image
  std::int64_t size;                       // bytes of an element
  const Pool2dKernels* kernels;

  // Of image n: operand 0, which is x or like y, and output 0.
  const void* x(const Buffers& b, std::int64_t n) const { return in(b, n * x_elements); }
  const void* y(const Buffers& b, std::int64_t n) const { return in(b, n * y_elements); }
  void* to_x(const Buffers& b, std::int64_t n) const { return out(b, n * x_elements); }
  void* to_y(const Buffers& b, std::int64_t n) const { return out(b, n * y_elements); }

 private:
  const void* in(const Buffers& b, std::int64_t element) const {
    return static_cast<const char*>(b.in[0]) + element * size;
  }
  void* out(const Buffers& b, std::int64_t element) const {
    return static_cast<char*>(b.out[0]) + element * size;
  }
};

Prepared prepared(const Pool2dShape& s) {
  const Pool2dTables& tables = TAPESCOPE_ISA_TABLE(pool2d_kernels);
  return {{s.H, s.W, s.C, s.P(), s.Q(), s.KH, s.KW, s.stride_h, s.stride_w, s.pad_h, s.pad_w,
           s.count_include_pad, s.relu},
          s.N,
          s.H * s.W * s.C,
          s.P() * s.Q() * s.C,
          static_cast<std::int64_t>(size_of(s.dtype)),
          s.dtype == DType::bf16 ? &tables.bf16 : &tables.f32};
}

}  // namespace

Plan max_pool2d(const Pool2dShape& s) {
  return Plan("simd", 0, [p = prepared(s)](const Queue&, const Buffers& b) {
    auto* k = static_cast<std::uint8_t*>(b.out[1]);
    parallel_for(p.N, [&](std::int64_t n) {
      p.kernels->max_pool(p.image, p.x(b, n), p.to_y(b, n), k + n * p.y_elements);
    });
  });
}

Plan max_pool2d_scatter(const Pool2dShape& s) {
  return Plan("simd", 0, [p = prepared(s)](const Queue&, const Buffers& b) {
    const auto* k = static_cast<const std::uint8_t*>(b.in[1]);
    parallel_for(p.N, [&](std::int64_t n) {
      p.kernels->scatter(p.image, p.y(b, n), k + n * p.y_elements, p.to_x(b, n));
    });
  });
}

Plan avg_pool2d(const Pool2dShape& s) {
  return Plan("simd", 0, [p = prepared(s)](const Queue&, const Buffers& b) {
    parallel_for(p.N,
                 [&](std::int64_t n) { p.kernels->avg_pool(p.image, p.x(b, n), p.to_y(b, n)); });
  });
}

Plan avg_pool2d_gradient(const Pool2dShape& s) {
  return Plan("simd", 0, [p = prepared(s)](const Queue&, const Buffers& b) {
    parallel_for(
        p.N, [&](std::int64_t n) { p.kernels->avg_gradient(p.image, p.y(b, n), p.to_x(b, n)); });
  });
}

}  // namespace tapescope::simd
