// The fused loss on the CPU: the softmax kernels beside it, and what is left to do a row.
#include "kernels/log_softmax/nll.h"

#include <memory>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope {
namespace {

void check(const char* family, const std::int64_t* label, const SoftmaxShape& s) {
  for (std::int64_t n = 0; n < s.rows; ++n) {
    if (label[n] >= 0 && label[n] < s.C) continue;
    throw usage_error(
        "[{}] label {} at position {} is not one of the {} classes 0 to {}; check the labels and "
        "the number of classes",
        family, label[n], n, s.C, s.C - 1);
  }
}

Plan softmax_plan(const Variants<SoftmaxShape>& table, std::string_view variant,
                  const SoftmaxShape& s) {
  for (const Variant<SoftmaxShape>& v : table) {
    if (v.name == variant) return v.prepare(s);
  }
  throw failure("[log_softmax] has no variant '{}'", variant);
}

// `variant` is that of the softmax underneath.
template <class T>
Plan forward(const SoftmaxShape& s, std::string_view variant) {
  const auto bytes = static_cast<std::size_t>(s.rows * s.C) * sizeof(T);
  auto inner = std::make_unique<Plan>(softmax_plan(log_softmax_variants(), variant, s));
  return Plan(variant, bytes, [s, inner = std::move(inner)](const Queue& queue, const Buffers& b) {
    const auto* label = static_cast<const std::int64_t*>(b.in[1]);  // {rows}
    T* y = static_cast<T*>(b.out[0]);                               // {rows}
    check("log_softmax_nll", label, s);
    void* outputs[] = {b.workspace};
    inner->run(queue, {b.in, outputs, nullptr});
    const T* log_probabilities = static_cast<const T*>(b.workspace);  // {rows, C}
    for (std::int64_t n = 0; n < s.rows; ++n) {
      y[n] = static_cast<T>(-static_cast<Accumulator<T>>(log_probabilities[n * s.C + label[n]]));
    }
  });
}

template <class T>
Plan gradient(const SoftmaxShape& s, std::string_view variant) {
  auto inner = std::make_unique<Plan>(softmax_plan(softmax_variants(), variant, s));
  return Plan(variant, 0, [s, inner = std::move(inner)](const Queue& queue, const Buffers& b) {
    using A = Accumulator<T>;
    const T* dy = static_cast<const T*>(b.in[0]);                   // {rows}
    const auto* label = static_cast<const std::int64_t*>(b.in[2]);  // {rows}
    T* dx = static_cast<T*>(b.out[0]);                              // {rows, C}
    check("log_softmax_nll_gradient", label, s);
    const void* inputs[] = {b.in[1]};
    inner->run(queue, {inputs, b.out, nullptr});
    parallel_ranges(s.rows, 1 + 16 * 1024 / (s.C + 1), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        for (std::int64_t c = 0; c < s.C; ++c) {
          T& element = dx[n * s.C + c];
          const A hit = c == label[n] ? A(1) : A(0);
          element = static_cast<T>(static_cast<A>(dy[n]) * (static_cast<A>(element) - hit));
        }
      }
    });
  });
}

constexpr Variant<SoftmaxShape> simd_row(Plan (*prepare)(const SoftmaxShape&)) {
  return {.name = "simd",
          .dtypes = {DType::f32},
          .error_factor = 2,
          .note = "the row's softmax in vectors, then the label's element",
          .prepare = prepare};
}
// bf16's probabilities are rounded once before the label is taken off.
constexpr Variant<SoftmaxShape> reference_row(Plan (*prepare)(const SoftmaxShape&)) {
  return {.name = "reference",
          .dtypes = {DType::f32, DType::f64, DType::bf16},
          .error_factor = 2,
          .note = "the reference softmax, then the label's element",
          .prepare = prepare};
}

Plan simd_forward(const SoftmaxShape& s) { return forward<float>(s, "simd"); }
Plan simd_gradient(const SoftmaxShape& s) { return gradient<float>(s, "simd"); }
Plan reference_forward(const SoftmaxShape& s) {
  return with_floating(s.dtype, [&](auto t) { return forward<decltype(t)>(s, "reference"); });
}
Plan reference_gradient(const SoftmaxShape& s) {
  return with_floating(s.dtype, [&](auto t) { return gradient<decltype(t)>(s, "reference"); });
}

}  // namespace

namespace cpu {

Rows<SoftmaxShape> log_softmax_nll_variants() {
  static constexpr Variant<SoftmaxShape> rows[] = {
      simd_row(simd_forward),
      reference_row(reference_forward),
  };
  return rows;
}

Rows<SoftmaxShape> log_softmax_nll_gradient_variants() {
  static constexpr Variant<SoftmaxShape> rows[] = {
      simd_row(simd_gradient),
      reference_row(reference_gradient),
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
