#include "kernels/elementwise/simd_plans.h"

#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/elementwise/simd.h"
#include "kernels/more_ops/cast/simd.h"

namespace tapescope::simd {
namespace {

constexpr std::int64_t kGrain = 32 * 1024;  // elements per chunk of parallel work
constexpr std::int64_t kSegment = 1024;     // repeated operands are written out by segments
constexpr std::int64_t kDirect = 256;       // runs at least this long are read where they are

using Loops = BroadcastLoops<2>;

// One operand of a broadcast, for result elements of one chunk: hands out a contiguous run for
// each segment, either where the operand lies or written out in a buffer that stays in cache. bf16
// is always written out, as f32.
template <class T>
class Operand {
 public:
  Operand(const Loops& loops, int k, const T* data)
      : loops_(loops), stride_(loops.stride[static_cast<std::size_t>(k)]), data_(data) {
    inner_ = loops.extent[static_cast<std::size_t>(loops.rank - 1)];
    bool repeats = true;  // along all axes but the last
    for (int axis = 0; axis + 1 < loops.rank; ++axis) {
      if (stride_[static_cast<std::size_t>(axis)] != 0) repeats = false;
    }
    inner_stride_ = stride_[static_cast<std::size_t>(loops.rank - 1)];
    if (repeats && inner_stride_ == 0) {
      kind_ = Kind::scalar;
      std::fill_n(buffer_, kSegment, static_cast<float>(*data));
    } else if (loops.rank == 1) {
      kind_ = Kind::contiguous;
    } else if (repeats && inner_ <= kSegment) {
      kind_ = Kind::periodic;
      copy(data, inner_, buffer_);
      for (std::int64_t i = inner_; i < kSegment + inner_; ++i) buffer_[i] = buffer_[i - inner_];
    }
  }

  // Elements [begin, begin + count) of the result read these. A segment of more than kSegment
  // elements must not cross the end of a run along the last axis.
  const float* segment(std::int64_t begin, std::int64_t count) {
    switch (kind_) {
      case Kind::contiguous:
        return run_at(data_ + begin, count);
      case Kind::scalar:
        return buffer_;
      case Kind::periodic:
        return buffer_ + begin % inner_;
      case Kind::general:
        break;
    }
    std::int64_t row = begin / inner_, at = begin % inner_;
    if (inner_stride_ == 1 && at + count <= inner_) return run_at(data_ + offset(row) + at, count);
    for (std::int64_t done = 0; done < count; ++row, at = 0) {
      const std::int64_t run = std::min(inner_ - at, count - done);
      const T* source = data_ + offset(row) + at * inner_stride_;
      float* target = buffer_ + done;
      if (inner_stride_ == 0) {
        std::fill_n(target, run, static_cast<float>(*source));
      } else {
        copy(source, run, target);
      }
      done += run;
    }
    return buffer_;
  }

 private:
  enum class Kind { contiguous, scalar, periodic, general };

  static void copy(const T* from, std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
  }
  const float* run_at(const T* data, std::int64_t count) {
    if constexpr (std::is_same_v<T, float>) {
      return data;
    } else {
      TAPESCOPE_ISA_TABLE(cast_kernels).bf16_to_f32(count, data, buffer_);
      return buffer_;
    }
  }

  std::int64_t offset(std::int64_t row) const {
    std::int64_t sum = 0;
    for (int axis = loops_.rank - 2; axis > 0; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      sum += row % loops_.extent[a] * stride_[a];
      row /= loops_.extent[a];
    }
    return sum + row * stride_[0];
  }

  const Loops& loops_;
  const std::array<std::int64_t, Shape::kMaxRank>& stride_;
  const T* data_;
  std::int64_t inner_, inner_stride_;
  Kind kind_ = Kind::general;
  float buffer_[2 * kSegment];
};

template <class T>
void run_chunk(const Loops& loops, BinaryKernel kernel, const Buffers& buffers, float p0, float p1,
               std::int64_t begin, std::int64_t end) {
  Operand<T> operand_a(loops, 0, static_cast<const T*>(buffers.in[0]));
  Operand<T> operand_b(loops, 1, static_cast<const T*>(buffers.in[1]));
  T* y = static_cast<T*>(buffers.out[0]);
  float results[kSegment];  // of bf16
  const std::int64_t inner = loops.extent[static_cast<std::size_t>(loops.rank - 1)];
  for (std::int64_t at = begin; at < end;) {
    std::int64_t count = std::min(kSegment, end - at);
    if (inner >= kDirect) count = std::min(count, inner - at % inner);
    const float *x = operand_a.segment(at, count), *z = operand_b.segment(at, count);
    if constexpr (std::is_same_v<T, float>) {
      kernel(count, x, z, y + at, p0, p1);
    } else {
      kernel(count, x, z, results, p0, p1);
      TAPESCOPE_ISA_TABLE(cast_kernels).f32_to_bf16(count, results, y + at);
    }
    at += count;
  }
}

// bf16 is computed in f32, a segment at a time, in buffers that stay in the L1 cache.
Plan unary_bf16(const UnaryShape& s, UnaryKernel kernel) {
  return Plan(
      "simd", 0,
      [kernel, casts = &TAPESCOPE_ISA_TABLE(cast_kernels), n = s.n, p0 = static_cast<float>(s.p0),
       p1 = static_cast<float>(s.p1)](const Queue&, const Buffers& buffers) {
        const bf16* x = static_cast<const bf16*>(buffers.in[0]);  // {n}
        bf16* y = static_cast<bf16*>(buffers.out[0]);             // {n}
        parallel_ranges(n, kGrain, [&](std::int64_t at, std::int64_t end) {
          float buffer[kSegment];
          for (std::int64_t count; at < end; at += count) {
            count = std::min(kSegment, end - at);
            casts->bf16_to_f32(count, x + at, buffer);
            kernel(count, buffer, buffer, p0, p1);
            casts->f32_to_bf16(count, buffer, y + at);
          }
        });
      });
}

Plan binary_bf16(const BinaryShape& s, BinaryKernel kernel) {
  return Plan("simd", 0,
              [kernel, casts = &TAPESCOPE_ISA_TABLE(cast_kernels), n = s.a.elements(),
               p0 = static_cast<float>(s.p0),
               p1 = static_cast<float>(s.p1)](const Queue&, const Buffers& buffers) {
                const bf16* a = static_cast<const bf16*>(buffers.in[0]);  // {n}
                const bf16* b = static_cast<const bf16*>(buffers.in[1]);  // {n}
                bf16* y = static_cast<bf16*>(buffers.out[0]);             // {n}
                parallel_ranges(n, kGrain, [&](std::int64_t at, std::int64_t end) {
                  float wide_a[kSegment], wide_b[kSegment];
                  for (std::int64_t count; at < end; at += count) {
                    count = std::min(kSegment, end - at);
                    casts->bf16_to_f32(count, a + at, wide_a);
                    casts->bf16_to_f32(count, b + at, wide_b);
                    kernel(count, wide_a, wide_b, wide_a, p0, p1);
                    casts->f32_to_bf16(count, wide_a, y + at);
                  }
                });
              });
}

}  // namespace

bool supports_unary(const UnaryShape& s) {
  return TAPESCOPE_ISA_TABLE(elementwise_kernels).unary[static_cast<int>(s.function)] != nullptr;
}

Plan unary(const UnaryShape& s) {
  const UnaryKernel kernel =
      TAPESCOPE_ISA_TABLE(elementwise_kernels).unary[static_cast<int>(s.function)];
  if (s.dtype == DType::bf16) return unary_bf16(s, kernel);
  return Plan("simd", 0,
              [kernel, n = s.n, p0 = static_cast<float>(s.p0), p1 = static_cast<float>(s.p1)](
                  const Queue&, const Buffers& buffers) {
                const float* x = static_cast<const float*>(buffers.in[0]);  // {n}
                float* y = static_cast<float*>(buffers.out[0]);             // {n}
                parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
                  kernel(end - begin, x + begin, y + begin, p0, p1);
                });
              });
}

bool supports_binary(const BinaryShape& s) {
  return TAPESCOPE_ISA_TABLE(elementwise_kernels).binary[static_cast<int>(s.function)] != nullptr;
}

Plan binary(const BinaryShape& s) {
  const BinaryKernel kernel =
      TAPESCOPE_ISA_TABLE(elementwise_kernels).binary[static_cast<int>(s.function)];
  const float p0 = static_cast<float>(s.p0), p1 = static_cast<float>(s.p1);
  if (s.dtype == DType::bf16 && s.a == s.b) return binary_bf16(s, kernel);
  if (s.a == s.b) {
    return Plan("simd", 0,
                [kernel, n = s.a.elements(), p0, p1](const Queue&, const Buffers& buffers) {
                  const float* a = static_cast<const float*>(buffers.in[0]);  // {n}
                  const float* b = static_cast<const float*>(buffers.in[1]);  // {n}
                  float* y = static_cast<float*>(buffers.out[0]);             // {n}
                  parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
                    kernel(end - begin, a + begin, b + begin, y + begin, p0, p1);
                  });
                });
  }
  const Shape out = s.out();
  Loops loops = broadcast_loops<2>(out, {&s.a, &s.b});
  if (loops.rank == 0) {  // one element
    loops.rank = 1;
    loops.extent[0] = 1;
  }
  return Plan("simd", 0,
              [loops, kernel, n = out.elements(), p0, p1,
               run = s.dtype == DType::bf16 ? run_chunk<bf16> : run_chunk<float>](
                  const Queue&, const Buffers& buffers) {
                parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
                  run(loops, kernel, buffers, p0, p1, begin, end);
                });
              });
}

}  // namespace tapescope::simd
