#include "kernels/pool2d/pool2d.h"

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

constexpr std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
// Calls f(index in y, index in x, place) for every place of every window that lies in the image,
// in the order of places.
template <class F>
void for_each_place(const Pool2dShape& s, F&& f) {
  for (std::int64_t place = 0; place < s.KH * s.KW; ++place)
    for (std::int64_t y = 0; y < s.N * s.P() * s.Q() * s.C; ++y) {
      const std::int64_t channel = y % s.C, q = y / s.C % s.Q(), p = y / s.C / s.Q() % s.P(),
                         n = y / s.C / s.Q() / s.P();
      const std::int64_t h = p * s.stride_h - s.pad_h + place / s.KW;
      const std::int64_t w = q * s.stride_w - s.pad_w + place % s.KW;
      if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
      f(y, ((n * s.H + h) * s.W + w) * s.C + channel, place);
    }
}

template <class T, class Check>
void for_each_variant(const Variants<Pool2dShape>& table, const Pool2dShape& s, Check&& check) {
  for (const Variant<Pool2dShape>& variant : table) {
    if (!variant.reason.empty() || !variant.dtypes.contains(dtype_of<T>())) continue;
    if (variant.supports != nullptr && !variant.supports(s)) continue;
    SCOPED_TRACE(std::string(table.family) + " " + std::string(variant.name));
    for_threads([&] { check(variant.prepare(s)); });
  }
}

template <class T>
void check(Pool2dShape s) {
  s.dtype = dtype_of<T>();
  SCOPED_TRACE(fmt::format("{} {}x{}x{}x{} window {}x{} stride {},{} pad {},{}", name_of(s.dtype),
                           s.N, s.H, s.W, s.C, s.KH, s.KW, s.stride_h, s.stride_w, s.pad_h,
                           s.pad_w));
  const std::int64_t xs = s.N * s.H * s.W * s.C, ys = s.N * s.P() * s.Q() * s.C;
  auto x = random_values<T>(xs, 1);
  for (T& value : x) value = static_cast<T>(static_cast<float>(std::round(4 * number(value))));
  if (xs > 9) x[9] = static_cast<T>(NAN);  // ties are many, and one NaN
  const auto dy = random_values<T>(ys, 2);

  std::vector<double> max(at(ys), -INFINITY), gathered(at(ys));
  std::vector<std::uint8_t> places(at(ys), 255);
  for_each_place(s, [&](std::int64_t y, std::int64_t i, std::int64_t place) {
    const double value = number(x[at(i)]);
    if (places[at(y)] == 255 || value > max[at(y)] ||
        (std::isnan(value) && !std::isnan(max[at(y)]))) {
      max[at(y)] = value;
      places[at(y)] = static_cast<std::uint8_t>(place);
    }
  });
  std::vector<double> scattered(at(xs));
  for_each_place(s, [&](std::int64_t y, std::int64_t i, std::int64_t place) {
    if (places[at(y)] != place) return;
    scattered[at(i)] += number(dy[at(y)]);
    gathered[at(y)] = number(x[at(i)]);
  });
  const double unit = std::is_same_v<T, bf16> ? 8e-3 : std::is_same_v<T, double> ? 1e-14 : 2e-6;
  const auto expect = [&](const std::vector<T>& values, const std::vector<double>& exact,
                          double tolerance) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_TRUE(close(number(values[i]), exact[i], tolerance * std::fmax(1, std::fabs(exact[i]))))
          << "element " << i;
    }
  };
  for_each_variant<T>(max_pool2d_variants(), s, [&](const Plan& plan) {
    auto y = poisoned<T>(ys);
    auto k = poisoned<std::uint8_t>(ys);
    run(plan, {x.data()}, {y.data(), k.data()});
    expect(y, max, 0);
    expect_same_bits(k, places);
  });
  for_each_variant<T>(max_pool2d_scatter_variants(), s, [&](const Plan& plan) {
    auto dx = poisoned<T>(xs);
    run(plan, {dy.data(), places.data()}, {dx.data()});
    expect(dx, scattered, unit);
  });
  for_each_variant<T>(max_pool2d_gather_variants(), s, [&](const Plan& plan) {
    auto y = poisoned<T>(ys);
    run(plan, {x.data(), places.data()}, {y.data()});
    expect(y, gathered, 0);
  });

  if (xs > 9) x[9] = static_cast<T>(1.0f);
  for (bool count_include_pad : {true, false}) {
    s.count_include_pad = count_include_pad;
    std::vector<double> mean(at(ys)), count(at(ys)), dx_exact(at(xs));
    for_each_place(s, [&](std::int64_t y, std::int64_t i, std::int64_t) {
      mean[at(y)] += number(x[at(i)]);
      count[at(y)] += 1;
    });
    for (std::size_t y = 0; y < mean.size(); ++y) {
      if (count_include_pad) count[y] = static_cast<double>(s.KH * s.KW);
      mean[y] /= count[y];
    }
    for_each_place(s, [&](std::int64_t y, std::int64_t i, std::int64_t) {
      dx_exact[at(i)] += number(dy[at(y)]) / count[at(y)];
    });
    for_each_variant<T>(avg_pool2d_variants(), s, [&](const Plan& plan) {
      auto y = poisoned<T>(ys);
      run(plan, {x.data()}, {y.data()});
      expect(y, mean, unit);
    });
    for_each_variant<T>(avg_pool2d_gradient_variants(), s, [&](const Plan& plan) {
      auto dx = poisoned<T>(xs);
      run(plan, {dy.data()}, {dx.data()});
      expect(dx, dx_exact, unit);
    });
  }
}

TEST(Pool2d, AgreesWithADirectComputation) {
  const Pool2dShape shapes[] = {
      {DType::f32, 2, 8, 8, 16},                    // halves
      {DType::f32, 3, 7, 9, 5},                     // a row and a column are left out
      {DType::f32, 2, 9, 8, 19, 3, 3, 2, 2, 1, 1},  // overlapping, padded
      {DType::f32, 2, 6, 7, 3, 3, 2, 1, 3, 1, 0},   // nothing square
      {DType::f32, 2, 9, 9, 33, 2, 2, 3, 3},        // gaps between windows
      {DType::f32, 5, 4, 4, 10, 4, 4, 4, 4},        // the whole map
      {DType::f32, 1, 1, 1, 1, 1, 1, 1, 1},
      {DType::f32, 0, 4, 4, 3},
      {DType::f32, 1, 16, 15, 2, 15, 15, 1, 1, 7, 7},
  };
  for (const Pool2dShape& s : shapes) {
    for_each_isa([&] { check<float>(s); });
    check<double>(s);
    check<bf16>(s);
  }
}

TEST(Pool2d, AnImageDoesNotDependOnTheBatch) {
  for_each_isa([] {
    const Pool2dShape whole{DType::f32, 7, 9, 8, 19, 3, 3, 2, 2, 1, 1};
    Pool2dShape one = whole;
    one.N = 1;
    const std::int64_t size = whole.H * whole.W * whole.C, out = whole.P() * whole.Q() * whole.C;
    const auto x = random_values(7 * size, 1);
    for (const char* variant : {"reference", "simd"}) {
      auto all = poisoned(7 * out), single = poisoned(out);
      run(prepare(avg_pool2d_variants(), variant, whole), {x.data()}, {all.data()});
      for (std::int64_t n = 0; n < 7; ++n) {
        run(prepare(avg_pool2d_variants(), variant, one), {x.data() + n * size}, {single.data()});
        expect_same_bits(single,
                         std::vector<float>(all.begin() + n * out, all.begin() + (n + 1) * out));
      }
    }
  });
}

}  // namespace
}  // namespace tapescope
