#include "kernels/layout/layout.h"
#include "kernels/more_ops/upsample/upsample.h"

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

// Values that name their own position.
template <class T>
std::vector<T> counting(std::int64_t n) {
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i + 1);
  return values;
}

// Steps a position like an odometer; false after the last.
bool next(Extents& position, const Shape& shape) {
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    const auto a = static_cast<std::size_t>(axis);
    if (++position[a] < shape[axis]) return true;
    position[a] = 0;
  }
  return false;
}
std::size_t index_of(const Extents& position, const Shape& shape) {
  std::int64_t index = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    index = index * shape[axis] + position[static_cast<std::size_t>(axis)];
  }
  return static_cast<std::size_t>(index);
}

template <class T, class S>
void expect_values(const Variants<S>& table, const S& shape, const std::vector<const void*>& in,
                   const std::vector<T>& expected) {
  for (const char* variant : {"reference", "runs"}) {
    SCOPED_TRACE(std::string(table.family) + " " + variant);
    for_threads([&] {
      auto y = poisoned<T>(static_cast<std::int64_t>(expected.size()));
      run(prepare(table, variant, shape), in, {y.data()});
      expect_same_bits(y, expected);
    });
  }
}

// Pad by placing each element of x; slicing the result gives x back.
template <class T>
void check_pad(const Shape& in, const Extents& before, const Extents& after, double value) {
  SCOPED_TRACE(to_string(in));
  const PadShape s{dtype_of<T>(), in, before, after, value};
  const Shape out = s.out();
  const auto x = counting<T>(in.elements());
  std::vector<T> y(static_cast<std::size_t>(out.elements()), static_cast<T>(value));
  Extents position{};
  if (in.elements() > 0) {
    do {
      Extents moved = position;
      for (std::size_t a = 0; a < moved.size(); ++a) moved[a] += before[a];
      y[index_of(moved, out)] = x[index_of(position, in)];
    } while (next(position, in));
  }
  expect_values(pad_variants(), s, {x.data()}, y);
  SliceShape back{dtype_of<T>(), out, before, {}};
  for (int a = 0; a < in.rank(); ++a) {
    const auto i = static_cast<std::size_t>(a);
    back.stop[i] = before[i] + in[a];
  }
  expect_values(slice_variants(), back, {y.data()}, x);
}

TEST(Layout, PadPlacesAndSliceTakesBack) {
  check_pad<float>({}, {}, {}, 3);
  check_pad<float>({5}, {2}, {1}, -1);
  check_pad<float>({3, 8, 9, 4}, {0, 1, 2}, {0, 1, 1}, 0.5);
  check_pad<float>({300, 8, 9, 4}, {0, 1, 2}, {0, 1, 1}, 0);
  check_pad<double>({2, 3, 4}, {1, 0, 0}, {0, 0, 0}, 7);
  check_pad<std::uint8_t>({2, 3, 4}, {1, 2, 3}, {3, 2, 1}, 9);
  check_pad<std::int64_t>({2, 3, 4}, {0, 0, 0}, {0, 0, 0}, 9);
  check_pad<float>({2, 1, 2, 1, 2, 3}, {1, 0, 1, 0, 1, 0}, {0, 1, 0, 1, 0, 1}, 2);
  check_pad<float>({0, 3}, {1, 1}, {1, 0}, 2);
}

template <class T>
void check_transpose(const Shape& in, std::array<std::uint8_t, 6> permutation) {
  SCOPED_TRACE(to_string(in));
  const TransposeShape s{dtype_of<T>(), in, permutation};
  const Shape out = s.out();
  const auto x = counting<T>(in.elements());
  std::vector<T> y(x.size());
  Extents position{};
  if (in.elements() > 0) {
    do {
      Extents moved{};
      for (int a = 0; a < in.rank(); ++a) {
        moved[static_cast<std::size_t>(a)] = position[permutation[static_cast<std::size_t>(a)]];
      }
      y[index_of(moved, out)] = x[index_of(position, in)];
    } while (next(position, in));
  }
  expect_values(transpose_variants(), s, {x.data()}, y);
}

TEST(Layout, TransposeMovesEveryElement) {
  check_transpose<float>({}, {});
  check_transpose<float>({7}, {0});
  check_transpose<float>({5, 7}, {1, 0});
  check_transpose<float>({333, 517}, {1, 0});
  check_transpose<float>({5, 7, 9}, {0, 1, 2});
  check_transpose<float>({3, 14, 13, 20}, {0, 3, 1, 2});  // NHWC -> NCHW
  check_transpose<float>({3, 20, 14, 13}, {0, 2, 3, 1});  // and back
  check_transpose<double>({3, 4, 5, 6}, {1, 0, 2, 3});
  check_transpose<std::uint8_t>({3, 4, 5, 6}, {3, 2, 1, 0});
  check_transpose<float>({2, 3, 1, 5, 4, 3}, {5, 3, 1, 0, 2, 4});
  check_transpose<float>({2, 3, 4, 5, 2, 3}, {4, 0, 3, 1, 5, 2});
  check_transpose<float>({0, 3}, {1, 0});
}

TEST(Layout, ConcatPutsOperandsBehindEachOther) {
  const std::vector<float> a = {1, 2, 3, 4}, b = {5, 6}, c = {};
  const std::vector<std::int64_t> extents = {2, 1, 0};
  expect_values<float>(concat_variants(), {DType::f32, 2, 1, extents},
                       {a.data(), b.data(), c.data()}, {1, 2, 5, 3, 4, 6});
  const std::vector<std::int64_t> pixels = {1, 1};
  expect_values<float>(concat_variants(), {DType::f32, 1, 2, pixels}, {a.data(), b.data()},
                       {1, 2, 5, 6});
}

TEST(Layout, RefusesWhatDoesNotFit) {
  EXPECT_THROW(prepare_from(slice_variants(), {DType::f32, {3}, {1}, {4}}, DType::f32, Backend{}),
               Error);
  EXPECT_THROW(prepare_from(pad_variants(), {DType::f32, {3}, {-1}, {4}, 0}, DType::f32, Backend{}),
               Error);
  EXPECT_THROW(
      prepare_from(transpose_variants(), {DType::f32, {3, 4}, {1, 1}}, DType::f32, Backend{}),
      Error);
}

// What PyTorch's interpolate(align_corners=False) gives for [1, 2, 3, 4] and [[1, 2], [3, 4]].
TEST(Layout, UpsamplesAsPyTorchDoes) {
  const std::vector<float> line = {1, 2, 3, 4}, square = {1, 2, 3, 4};
  for (const char* variant : {"reference", "simd"}) {
    std::vector<float> y(8);
    run(prepare(upsample_bilinear_variants(), variant, {DType::f32, 1, 1, 4, 1, 1, 8}),
        {line.data()}, {y.data()});
    EXPECT_EQ(y, (std::vector<float>{1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4}));
    std::vector<float> z(9);
    run(prepare(upsample_bilinear_variants(), variant, {DType::f32, 1, 2, 2, 1, 3, 3}),
        {square.data()}, {z.data()});
    EXPECT_EQ(z, (std::vector<float>{1, 1.5, 2, 2, 2.5, 3, 3, 3.5, 4}));
  }
  for (const char* variant : {"reference", "runs"}) {
    std::vector<float> y(6);
    run(prepare(upsample_nearest_variants(), variant, {DType::f32, 1, 1, 4, 1, 1, 6}),
        {line.data()}, {y.data()});
    EXPECT_EQ(y, (std::vector<float>{1, 1, 2, 3, 3, 4}));
  }
}

// The gradient is the transpose: <dy, up(x)> = <gradient(dy), x>, and simd agrees with reference.
void check_resample(const UpsampleShape& s) {
  SCOPED_TRACE(std::to_string(s.H) + "x" + std::to_string(s.W) + "x" + std::to_string(s.C) +
               " to " + std::to_string(s.P) + "x" + std::to_string(s.Q));
  const std::int64_t small = s.N * s.H * s.W * s.C, large = s.N * s.P * s.Q * s.C;
  const auto x = random_values(small, 1), dy = random_values(large, 2);
  struct Pair {
    Variants<UpsampleShape> forward, gradient;
  };
  for (const Pair& pair : {Pair{upsample_nearest_variants(), upsample_nearest_gradient_variants()},
                           {upsample_bilinear_variants(), upsample_bilinear_gradient_variants()}}) {
    SCOPED_TRACE(pair.forward.family);
    std::vector<float> y(dy.size()), dx(x.size());
    run(prepare(pair.forward, "reference", s), {x.data()}, {y.data()});
    run(prepare(pair.gradient, "reference", s), {dy.data()}, {dx.data()});
    double left = 0, right = 0;
    for (std::size_t i = 0; i < y.size(); ++i) left += static_cast<double>(dy[i]) * y[i];
    for (std::size_t i = 0; i < x.size(); ++i) right += static_cast<double>(dx[i]) * x[i];
    EXPECT_NEAR(left, right, 1e-5 * std::sqrt(static_cast<double>(large)));
    for_threads([&] {
      auto fast_y = poisoned(large), fast_dx = poisoned(small);
      run(prepare_from(pair.forward, s, DType::f32, Backend{}), {x.data()}, {fast_y.data()});
      run(prepare_from(pair.gradient, s, DType::f32, Backend{}), {dy.data()}, {fast_dx.data()});
      const double taps = static_cast<double>(large) / static_cast<double>(small) + 4;
      for (std::size_t i = 0; i < y.size(); ++i) ASSERT_TRUE(close(fast_y[i], y[i], 1e-6)) << i;
      for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_TRUE(close(fast_dx[i], dx[i], 1e-6 * taps)) << i;
      }
    });
  }
}

TEST(Layout, UpsampleGradientsAreTransposes) {
  for_each_isa([] {
    check_resample({DType::f32, 1, 1, 1, 1, 1, 1});
    check_resample({DType::f32, 2, 4, 5, 3, 8, 10});
    check_resample({DType::f32, 3, 7, 7, 17, 32, 29});
    check_resample({DType::f32, 1, 7, 7, 1, 224, 224});
    check_resample({DType::f32, 2, 9, 11, 5, 4, 3});  // down
    check_resample({DType::f32, 2, 1, 6, 33, 5, 6});
    check_resample({DType::f32, 2, 13, 1, 2, 1, 17});
  });
}

}  // namespace
}  // namespace tapescope
