#include "kernels/reduce/reduce.h"

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

struct Expected {
  std::vector<double> sum, magnitude, max;
};

// Walks the elements in memory order and adds each where it belongs.
Expected expected(const ReduceShape& s, const std::vector<float>& x) {
  const auto n = static_cast<std::size_t>(s.out().elements());
  Expected e{std::vector<double>(n), std::vector<double>(n), std::vector<double>(n, -INFINITY)};
  std::vector<std::int64_t> position(static_cast<std::size_t>(s.in.rank()), 0);
  for (float value : x) {
    std::size_t at = 0;
    for (int axis = 0; axis < s.in.rank(); ++axis) {
      if (s.axes >> axis & 1u) continue;
      at = at * static_cast<std::size_t>(s.in[axis]) +
           static_cast<std::size_t>(position[static_cast<std::size_t>(axis)]);
    }
    e.sum[at] += static_cast<double>(value);
    e.magnitude[at] += std::fabs(static_cast<double>(value));
    e.max[at] = std::max(e.max[at], static_cast<double>(value));
    for (int axis = s.in.rank() - 1; axis >= 0; --axis) {
      if (++position[static_cast<std::size_t>(axis)] < s.in[axis]) break;
      position[static_cast<std::size_t>(axis)] = 0;
    }
  }
  return e;
}

void check(const Shape& in, std::uint32_t axes) {
  SCOPED_TRACE(to_string(in) + " axes " + std::to_string(axes));
  ReduceShape s{DType::f32, Reduction::sum, in, axes};
  const auto x = random_values(in.elements(), 11);
  const Expected e = expected(s, x);
  const std::int64_t n = s.out().elements();
  for (const char* variant : {"reference", "simd"}) {
    SCOPED_TRACE(variant);
    for (Reduction op : {Reduction::sum, Reduction::mean, Reduction::max}) {
      SCOPED_TRACE(name_of(op));
      s.op = op;
      std::vector<float> first;
      for_threads([&] {
        auto y = poisoned(n);
        run(prepare(reduce_variants(), variant, s), {x.data()}, {y.data()});
        if (first.empty()) first = y;
        expect_same_bits(y, first);
      });
      for (std::size_t i = 0; i < first.size(); ++i) {
        const double count = op == Reduction::mean ? static_cast<double>(s.count()) : 1;
        const double exact = op == Reduction::max ? e.max[i] : e.sum[i] / count;
        const double tolerance = op == Reduction::max ? 0 : 4e-7 * e.magnitude[i] / count;
        ASSERT_TRUE(close(first[i], exact, tolerance)) << "element " << i;
      }
    }
  }
}

TEST(Reduce, AgreesWithADirectSum) {
  for_each_isa([] {
    check({}, 0);
    check({1}, 1);
    check({7}, 0);
    check({7}, 1);
    check({16}, 1);
    check({127}, 1);
    check({100003}, 1);
    check({5000, 10}, 2);  // last axis
    check({700, 129}, 2);
    check({3, 70001}, 2);
    check({5000, 3}, 1);  // bias gradient
    check({5000, 10}, 1);
    check({3001, 64}, 1);
    check({3001, 65}, 1);
    check({70, 257}, 1);
    check({3, 9001}, 1);
    check({6, 13, 11, 24}, 6);  // {N, H, W, C} -> {N, 1, 1, C}
    check({2, 150, 150, 3}, 6);
    check({6, 13, 11, 24}, 7);
    check({6, 13, 11, 24}, 15);
    check({6, 13, 11, 24}, 9);  // two groups
    check({2, 3, 4, 5, 6, 7}, 21);
    check({2, 3, 4, 5, 6, 7}, 42);
    check({2, 3, 4, 5, 6, 7}, 45);
  });
}

TEST(Reduce, OfNothing) {
  const ReduceShape columns{DType::f32, Reduction::sum, {0, 3}, 1};
  std::vector<float> y(3, 5);
  run(prepare_from(reduce_variants(), columns, DType::f32, Backend{}), {nullptr}, {y.data()});
  for (float value : y) EXPECT_EQ(value, 0);
  const ReduceShape mean{DType::f32, Reduction::mean, {0, 3}, 1};
  run(prepare_from(reduce_variants(), mean, DType::f32, Backend{}), {nullptr}, {y.data()});
  for (float value : y) EXPECT_TRUE(std::isnan(value));
  const ReduceShape none{DType::f32, Reduction::sum, {0, 3}, 2};
  run(prepare_from(reduce_variants(), none, DType::f32, Backend{}), {nullptr}, {y.data()});
}

TEST(Reduce, MaximumOfNanIsNan) {
  for (std::int64_t n : {5, 100, 5000}) {
    for (std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
      auto x = random_values(n, 3);
      x[static_cast<std::size_t>(at)] = NAN;
      for (const char* variant : {"reference", "simd"}) {
        float y = 0;
        run(prepare(reduce_variants(), variant, {DType::f32, Reduction::max, {n}, 1}), {x.data()},
            {&y});
        EXPECT_TRUE(std::isnan(y)) << variant << " " << n << " " << at;
      }
    }
  }
}

TEST(Reduce, ARowDoesNotDependOnTheNumberOfRows) {
  for_each_isa([] {
    for (const Shape& row : {Shape{10}, Shape{40000}, Shape{9, 9, 20}, Shape{70, 70, 130}}) {
      const std::uint32_t axes = row.rank() == 1 ? 2u : 6u;
      const Shape seven = row.with_leading(7);
      const auto x = random_values(seven.elements(), 5);
      const ReduceShape all{DType::f32, Reduction::sum, seven, axes};
      auto y = poisoned(all.out().elements());
      run(prepare(reduce_variants(), "simd", all), {x.data()}, {y.data()});
      for (std::int64_t n = 0; n < 7; ++n) {
        const ReduceShape one{DType::f32, Reduction::sum, row.with_leading(1), axes};
        auto z = poisoned(one.out().elements());
        run(prepare(reduce_variants(), "simd", one), {x.data() + n * row.elements()}, {z.data()});
        expect_same_bits(z, std::vector<float>(y.begin() + n * one.out().elements(),
                                               y.begin() + (n + 1) * one.out().elements()));
      }
    }
  });
}

TEST(Reduce, AxesForReduceLike) {
  EXPECT_EQ(reduced_axes({4, 5, 6}, {6}), 3u);
  EXPECT_EQ(reduced_axes({4, 5, 6}, {5, 1}), 5u);
  EXPECT_EQ(reduced_axes({4, 5, 6}, {}), 7u);
  EXPECT_EQ(reduced_axes({4, 5, 6}, {4, 5, 6}), 0u);
  EXPECT_THROW(reduced_axes({4, 5, 6}, {5}), Error);
  EXPECT_THROW(reduced_axes({6}, {1, 6}), Error);
}

// <y, broadcast x> = <reduce y, x>, and each element is the scaled source.
void check_broadcast(const Shape& in, const Shape& out) {
  SCOPED_TRACE(to_string(in) + " to " + to_string(out));
  const BroadcastShape s{DType::f32, in, out, 0.5};
  const auto x = random_values(in.elements(), 1);
  std::vector<float> expected_values;
  std::vector<std::int64_t> position(static_cast<std::size_t>(out.rank()), 0);
  for (std::int64_t i = 0; i < out.elements(); ++i) {
    std::int64_t source = 0;
    for (int axis = 0; axis < in.rank(); ++axis) {
      const auto at = static_cast<std::size_t>(axis + out.rank() - in.rank());
      source = source * in[axis] + (in[axis] == 1 ? 0 : position[at]);
    }
    expected_values.push_back(0.5f * x[static_cast<std::size_t>(source)]);
    for (int axis = out.rank() - 1; axis >= 0; --axis) {
      if (++position[static_cast<std::size_t>(axis)] < out[axis]) break;
      position[static_cast<std::size_t>(axis)] = 0;
    }
  }
  for (const char* variant : {"reference", "simd"}) {
    for_threads([&] {
      auto y = poisoned(out.elements());
      run(prepare(broadcast_like_variants(), variant, s), {x.data()}, {y.data()});
      expect_same_bits(y, expected_values);
    });
  }
}

TEST(BroadcastLike, RepeatsAndScales) {
  for_each_isa([] {
    check_broadcast({}, {});
    check_broadcast({}, {70001});
    check_broadcast({1}, {3, 5});
    check_broadcast({3}, {20001, 3});
    check_broadcast({64}, {7, 300, 64});
    check_broadcast({70001}, {3, 70001});
    check_broadcast({7, 1, 1, 24}, {7, 30, 31, 24});
    check_broadcast({7, 30, 31, 1}, {7, 30, 31, 24});
    check_broadcast({7, 1, 1, 1}, {7, 30, 31, 24});
    check_broadcast({2, 1, 3, 1, 4, 1}, {2, 5, 3, 6, 4, 7});
    check_broadcast({5, 4}, {5, 4});
    check_broadcast({3}, {0, 3});
  });
}

}  // namespace
}  // namespace tapescope
