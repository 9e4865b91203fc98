#include "kernels/pool2d/simd_plans.h"

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/pool2d/simd.h"

namespace tapescope::simd {
namespace {

struct Prepared {
  PoolImage image;
  std::int64_t N, x_elements, y_elements;  // of one image
  const Pool2dKernels* kernels;
};

Prepared prepared(const Pool2dShape& s) {
  return {{s.H, s.W, s.C, s.P(), s.Q(), s.KH, s.KW, s.stride_h, s.stride_w, s.pad_h, s.pad_w,
           s.count_include_pad, s.relu},
          s.N,
          s.H * s.W * s.C,
          s.P() * s.Q() * s.C,
          &TAPESCOPE_ISA_TABLE(pool2d_kernels)};
}

const float* in_f32(const Buffers& b, int i) { return static_cast<const float*>(b.in[i]); }
float* out_f32(const Buffers& b) { return static_cast<float*>(b.out[0]); }

}  // namespace

Plan max_pool2d(const Pool2dShape& s) {
  return Plan("simd", 0, [p = prepared(s)](const Queue&, const Buffers& b) {
    auto* k = static_cast<std::uint8_t*>(b.out[1]);
    parallel_for(p.N, [&](std::int64_t n) {
      p.kernels->max_pool(p.image, in_f32(b, 0) + n * p.x_elements, out_f32(b) + n * p.y_elements,
                          k + n * p.y_elements);
    });
  });
}

Plan max_pool2d_scatter(const Pool2dShape& s) {
  return Plan("simd", 0, [p = prepared(s)](const Queue&, const Buffers& b) {
    const auto* k = static_cast<const std::uint8_t*>(b.in[1]);
    parallel_for(p.N, [&](std::int64_t n) {
      p.kernels->scatter(p.image, in_f32(b, 0) + n * p.y_elements, k + n * p.y_elements,
                         out_f32(b) + n * p.x_elements);
    });
  });
}

Plan avg_pool2d(const Pool2dShape& s) {
  return Plan("simd", 0, [p = prepared(s)](const Queue&, const Buffers& b) {
    parallel_for(p.N, [&](std::int64_t n) {
      p.kernels->avg_pool(p.image, in_f32(b, 0) + n * p.x_elements, out_f32(b) + n * p.y_elements);
    });
  });
}

Plan avg_pool2d_gradient(const Pool2dShape& s) {
  return Plan("simd", 0, [p = prepared(s)](const Queue&, const Buffers& b) {
    parallel_for(p.N, [&](std::int64_t n) {
      p.kernels->avg_gradient(p.image, in_f32(b, 0) + n * p.y_elements,
                              out_f32(b) + n * p.x_elements);
    });
  });
}

}  // namespace tapescope::simd
