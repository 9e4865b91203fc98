#include "kernels/matmul/matmul.h"

#include "kernels/common/numeric.h"
#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

template <class T, class C = T>
void check(MatmulShape s) {
  s.dtype = dtype_of<T>();
  s.wide = !std::is_same_v<T, C>;
  SCOPED_TRACE(fmt::format("{} {}x{}x{} {}{}{}", name_of(s.dtype), s.M, s.N, s.K,
                           s.transpose_a ? "a^T " : "", s.transpose_b ? "b^T " : "",
                           s.bias ? "bias" : ""));
  const auto a = random_values<T>(s.M * s.K, 1), b = random_values<T>(s.K * s.N, 2);
  const auto bias = random_values<Accumulator<T>>(s.N, 3);
  // One rank-1 product after another.
  std::vector<double> exact(static_cast<std::size_t>(s.M * s.N)), magnitude(exact.size());
  for (std::int64_t k = 0; k < s.K; ++k)
    for (std::int64_t m = 0; m < s.M; ++m)
      for (std::int64_t n = 0; n < s.N; ++n) {
        const double term =
            number(a[static_cast<std::size_t>(s.transpose_a ? k * s.M + m : m * s.K + k)]) *
            number(b[static_cast<std::size_t>(s.transpose_b ? n * s.K + k : k * s.N + n)]);
        exact[static_cast<std::size_t>(m * s.N + n)] += term;
        magnitude[static_cast<std::size_t>(m * s.N + n)] += std::fabs(term);
      }
  for (const Variant<MatmulShape>& variant : matmul_variants()) {
    if (!variant.reason.empty() || !variant.dtypes.contains(s.dtype)) continue;
    if (variant.supports != nullptr && !variant.supports(s)) continue;
    SCOPED_TRACE(variant.name);
    std::vector<C> first;
    for_threads([&] {
      auto c = poisoned<C>(s.M * s.N);
      run(variant.prepare(s), {a.data(), b.data(), s.bias ? bias.data() : nullptr}, {c.data()});
      if (first.empty()) first = c;
      expect_same_bits(c, first);
    });
    for (std::size_t i = 0; i < first.size(); ++i) {
      const double added = s.bias ? number(bias[i % static_cast<std::size_t>(s.N)]) : 0;
      const double unit = std::is_same_v<T, double> ? 1e-15 : 3e-7;
      const double stored = std::is_same_v<C, bf16> ? 4e-3 * std::fabs(exact[i] + added) : 0;
      ASSERT_TRUE(close(number(first[i]), exact[i] + added,
                        unit * (magnitude[i] + std::fabs(added)) + stored))
          << "element " << i;
    }
  }
}

TEST(Matmul, AgreesWithADirectSum) {
  const std::int64_t sizes[][3] = {{1, 1, 1},    {3, 5, 7},     {14, 32, 16}, {15, 33, 257},
                                   {1, 100, 64}, {100, 1, 300}, {2, 70, 513}, {29, 10, 300},
                                   {91, 129, 3}, {85, 257, 40}, {4, 4, 0}};
  for (const auto& size : sizes)
    for (int flags = 0; flags < 8; ++flags) {
      const MatmulShape s{DType::f32, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0,
                          size[0],    size[1],          size[2]};
      for_each_isa([&] {
        check<float>(s);
        check<bf16>(s);
        check<bf16, float>(s);
      });
      check<double>(s);
    }
}

TEST(Matmul, ARowDoesNotDependOnTheNumberOfRows) {
  for_each_isa([] {
    for (const bool transpose_b : {false, true}) {
      const std::int64_t M = 101, N = 67, K = 600;
      const auto a = random_values(M * K, 1), b = random_values(K * N, 2),
                 bias = random_values(N, 3);
      const MatmulShape whole{DType::f32, true, false, transpose_b, M, N, K};
      for (const Variant<MatmulShape>& variant : matmul_variants()) {
        if (!variant.reason.empty()) continue;
        auto c = poisoned(M * N);
        run(variant.prepare(whole), {a.data(), b.data(), bias.data()}, {c.data()});
        for (std::int64_t rows : {1, 2, 7, 13, 15, 85}) {
          for (std::int64_t first : {0, 5, 16}) {
            MatmulShape part = whole;
            part.M = rows;
            auto d = poisoned(rows * N);
            run(variant.prepare(part), {a.data() + first * K, b.data(), bias.data()}, {d.data()});
            expect_same_bits(
                d, std::vector<float>(c.begin() + first * N, c.begin() + (first + rows) * N));
          }
        }
      }
    }
  });
}

TEST(Matmul, OfNothing) {
  for (const auto& size : {std::array<std::int64_t, 2>{0, 4}, {4, 0}}) {
    const MatmulShape s{DType::f32, false, false, false, size[0], size[1], 3};
    const auto a = random_values(12, 1);
    run(prepare_from(matmul_variants(), s, s.dtype, Backend{}), {a.data(), a.data()}, {nullptr});
  }
}

}  // namespace
}  // namespace tapescope
