#include "kernels/conv2d/conv2d.h"

#include <algorithm>

#include "kernels/common/numeric.h"
#include "kernels/common/pieces.h"
#include "kernels/conv2d/add_to_rows.h"
#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

constexpr std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// A result in double, and the sum of the magnitudes that were added: what rounding scales with.
struct Sums {
  explicit Sums(std::int64_t n) : value(at(n)), magnitude(at(n)) {}
  void add(std::int64_t i, double term) {
    value[at(i)] += term;
    magnitude[at(i)] += std::fabs(term);
  }
  std::vector<double> value, magnitude;
};

struct Case {
  Conv2dShape shape;
  std::int64_t x = 0, w = 0, y = 0;  // elements
  explicit Case(const Conv2dShape& c)
      : shape(c),
        x(c.N * c.H * c.W * c.I),
        w(c.O * c.KH * c.KW * c.I / c.groups),
        y(c.N * c.P() * c.Q() * c.O) {}
};

// Visits every multiply-add: f(index in x, index in w, index in y). It walks from the input, where
// the kernels walk from the output.
template <class F>
void for_each_term(const Conv2dShape& c, F&& f) {
  const std::int64_t I = c.I / c.groups, O = c.O / c.groups;
  for (std::int64_t n = 0; n < c.N; ++n)
    for (std::int64_t h = 0; h < c.H; ++h)
      for (std::int64_t v = 0; v < c.W; ++v)
        for (std::int64_t r = 0; r < c.KH; ++r)
          for (std::int64_t s = 0; s < c.KW; ++s) {
            const std::int64_t up = h + c.pad_h - r * c.dilation_h;
            const std::int64_t left = v + c.pad_w - s * c.dilation_w;
            if (up < 0 || left < 0 || up % c.stride_h != 0 || left % c.stride_w != 0) continue;
            const std::int64_t p = up / c.stride_h, q = left / c.stride_w;
            if (p >= c.P() || q >= c.Q()) continue;
            for (std::int64_t i = 0; i < c.I; ++i)
              for (std::int64_t o = i / I * O; o < (i / I + 1) * O; ++o)
                f(((n * c.H + h) * c.W + v) * c.I + i, ((o * c.KH + r) * c.KW + s) * I + i % I,
                  ((n * c.P() + p) * c.Q() + q) * c.O + o);
          }
}

template <class T>
void expect_sums(const std::vector<T>& y, const Sums& exact, double error_factor) {
  const double unit = std::is_same_v<T, double> ? 1e-15 : 3e-7;
  const double rounding = std::is_same_v<T, bf16> ? 4e-3 : 0;  // of the stored result
  // A declared error factor speaks of typical elements: an element's error comes from its whole
  // tile.
  const double largest =
      y.empty() ? 0 : *std::max_element(exact.magnitude.begin(), exact.magnitude.end());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double magnitude = error_factor > 1 ? largest : exact.magnitude[i];
    const double value = number(y[i]);
    ASSERT_TRUE(close(value, exact.value[i],
                      unit * error_factor * magnitude + rounding * std::fabs(exact.value[i])))
        << "element " << i;
  }
}

// Runs every variant of the table that covers the shape, with one and with three threads.
template <class T, class Result = T>
int check_variants(const Variants<Conv2dShape>& table, const Conv2dShape& c,
                   std::vector<const void*> in, const Sums& exact, const char* only) {
  int checked = 0;
  for (const Variant<Conv2dShape>& variant : table) {
    if (only != nullptr && variant.name != only) continue;
    if (!variant.reason.empty() || !variant.dtypes.contains(dtype_of<T>())) continue;
    if (variant.supports != nullptr && !variant.supports(c)) continue;
    SCOPED_TRACE(std::string(table.family) + " " + std::string(variant.name));
    std::vector<Result> first;
    for_threads([&] {
      auto y = poisoned<Result>(static_cast<std::int64_t>(exact.value.size()));
      run(variant.prepare(c), in, {y.data()});
      if (first.empty()) first = y;
      expect_same_bits(y, first);
    });
    expect_sums(first, exact, variant.error_factor);
    ++checked;
  }
  return checked;
}

bool covered(const char* name, const Conv2dShape& c) {
  for (auto table :
       {conv2d_variants(), conv2d_data_gradient_variants(), conv2d_weight_gradient_variants()}) {
    for (const Variant<Conv2dShape>& variant : table) {
      if (variant.name == name && variant.supports(c)) return true;
    }
  }
  return false;
}

template <class T>
void check(Conv2dShape c, const char* only = nullptr) {
  c.dtype = dtype_of<T>();
  if (only != nullptr && !covered(only, c)) return;
  SCOPED_TRACE(
      fmt::format("{} N{} {}x{} I{} O{} {}x{} stride {},{} pad {},{} dilation {},{} groups "
                  "{}",
                  name_of(c.dtype), c.N, c.H, c.W, c.I, c.O, c.KH, c.KW, c.stride_h, c.stride_w,
                  c.pad_h, c.pad_w, c.dilation_h, c.dilation_w, c.groups));
  const Case k(c);
  const auto x = random_values<T>(k.x, 1), w = random_values<T>(k.w, 2),
             dy = random_values<T>(k.y, 3);
  const auto bias = random_values<Accumulator<T>>(c.O, 4);
  Sums y(k.y), dx(k.x), dw(k.w);
  for (std::int64_t i = 0; i < k.y; ++i) y.add(i, number(bias[at(i % c.O)]));
  for_each_term(c, [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
    const double a = number(x[at(ix)]), b = number(w[at(iw)]), g = number(dy[at(iy)]);
    y.add(iy, a * b);
    dx.add(ix, g * b);
    dw.add(iw, g * a);
  });
  Conv2dShape with_bias = c;
  with_bias.bias = true;
  check_variants<T>(conv2d_variants(), with_bias, {x.data(), w.data(), bias.data()}, y, only);
  check_variants<T>(conv2d_data_gradient_variants(), c, {dy.data(), w.data()}, dx, only);
  check_variants<T, Accumulator<T>>(conv2d_weight_gradient_variants(), c, {x.data(), dy.data()}, dw,
                                    only);
}

Conv2dShape shape(std::int64_t N, std::int64_t H, std::int64_t W, std::int64_t I, std::int64_t O,
                  std::int64_t kernel, std::int64_t pad, std::int64_t stride = 1,
                  std::int64_t dilation = 1, std::int64_t groups = 1) {
  Conv2dShape c;
  c.N = N, c.H = H, c.W = W, c.I = I, c.O = O, c.KH = c.KW = kernel;
  c.pad_h = c.pad_w = pad, c.stride_h = c.stride_w = stride;
  c.dilation_h = c.dilation_w = dilation, c.groups = groups;
  return c;
}

std::vector<Conv2dShape> shapes() {
  std::vector<Conv2dShape> all = {
      shape(2, 7, 9, 3, 5, 3, 1),
      shape(3, 8, 8, 1, 32, 3, 1),
      shape(2, 11, 13, 16, 17, 3, 1, 2),
      shape(1, 1, 1, 1, 1, 1, 0),
      shape(2, 5, 6, 33, 20, 1, 0),
      shape(2, 9, 9, 20, 40, 1, 0, 2),
      shape(2, 17, 15, 3, 16, 7, 3, 2),
      shape(2, 12, 12, 8, 6, 5, 0),
      shape(2, 12, 13, 6, 7, 3, 2, 1, 2),
      shape(2, 9, 8, 12, 18, 3, 1, 1, 1, 3),
      shape(2, 8, 8, 16, 16, 3, 1, 2, 1, 16),
      shape(5, 4, 4, 2, 3, 4, 0),
      shape(2, 6, 6, 64, 10, 3, 1),
      shape(3, 10, 10, 4, 8, 3, 3),
      shape(2, 14, 14, 16, 16, 3, 1),
      shape(1, 9, 11, 19, 23, 3, 0),
      shape(2, 7, 6, 48, 33, 3, 1),
      shape(17, 5, 5, 18, 16, 3, 1),
      shape(1, 23, 30, 32, 16, 3, 2),
      shape(2, 4, 4, 130, 65, 3, 1),
      shape(9, 3, 3, 40, 24, 3, 1),
      shape(2, 8, 8, 17, 3, 5, 2, 3),
      shape(2, 12, 12, 4, 8, 1, 0, 2),
      shape(3, 12, 11, 1, 20, 1, 0, 2),
      shape(20, 12, 12, 5, 16, 1, 0, 3),
      shape(3, 14, 14, 24, 48, 5, 2),
      shape(2, 9, 7, 17, 33, 5, 0),
      shape(2, 6, 5, 16, 40, 5, 4),
      shape(5, 7, 8, 64, 64, 5, 2),
  };
  // Maps of a few pixels: by tap. Two blocks of images, taps that lie in the padding for all
  // pixels.
  all.push_back(shape(67, 2, 2, 16, 48, 3, 1));
  all.push_back(shape(5, 1, 1, 48, 80, 3, 1));
  all.push_back(shape(30, 4, 4, 32, 16, 3, 1, 2));
  all.push_back(shape(3, 1, 2, 16, 112, 5, 2));
  all.push_back(shape(20, 3, 5, 64, 32, 2, 0, 2));
  all.push_back(shape(3, 4, 3, 32, 32, 3, 1, 2, 2));
  all.push_back(shape(9, 2, 4, 144, 64, 1, 0));
  all.push_back(shape(2, 70, 9, 3, 300, 5, 2, 2));  // bands of rows, blocks of channels
  all.push_back(shape(2, 40, 11, 2, 5, 3, 2, 1, 2));
  Conv2dShape odd = shape(2, 9, 10, 5, 6, 3, 1);  // nothing is square
  odd.KW = 2, odd.stride_w = 2, odd.pad_w = 0, odd.dilation_h = 2;
  all.push_back(odd);
  return all;
}

TEST(Conv2d, AgreesWithADirectSum) {
  for (const Conv2dShape& c : shapes()) {
    check<float>(c);
    check<double>(c);
    check<bf16>(c);
  }
}

TEST(Conv2d, EveryInstructionSet) {
  for_each_isa([] {
    for (const char* variant : {"winograd", "few_channels", "by_tap"})
      for (const Conv2dShape& c : shapes()) check<float>(c, variant);
  });
}

TEST(Conv2d, AnImageDoesNotDependOnTheBatch) {
  for_each_isa([] {
    for (Conv2dShape c : shapes()) {
      c.N = 11;
      const Case whole(c);
      const auto x = random_values(whole.x, 1), w = random_values(whole.w, 2),
                 dy = random_values(whole.y, 3);
      Conv2dShape one = c;
      one.N = 1;
      const Case image(one);
      const auto compare = [&](const Variants<Conv2dShape>& table, const std::vector<float>& in,
                               std::int64_t in_size, std::int64_t out_size) {
        for (const Variant<Conv2dShape>& variant : table) {
          if (!variant.reason.empty() || !variant.dtypes.contains(c.dtype)) continue;
          if (variant.supports != nullptr && !variant.supports(c)) continue;
          SCOPED_TRACE(variant.name);
          auto all = poisoned(out_size * c.N), single = poisoned(out_size);
          run(variant.prepare(c), {in.data(), w.data()}, {all.data()});
          for (std::int64_t n : {0, 4, 10}) {
            run(variant.prepare(one), {in.data() + n * in_size, w.data()}, {single.data()});
            expect_same_bits(single, std::vector<float>(all.begin() + n * out_size,
                                                        all.begin() + (n + 1) * out_size));
          }
        }
      };
      compare(conv2d_variants(), x, image.x, image.y);
      compare(conv2d_data_gradient_variants(), dy, image.y, image.x);
    }
  });
}

// What a process makes of its pieces of a batch is what one process makes of them.
TEST(Conv2d, PiecesOfABatchAreSummedAsByThemselves) {
  constexpr std::int64_t kPieces = 4;
  for_each_isa([] {
    for (Conv2dShape c : shapes()) {
      c.N = 7, c.pieces = kPieces;
      const Case whole(c);
      const auto x = random_values(whole.x, 1), dy = random_values(whole.y, 3);
      for (const Variant<Conv2dShape>& variant : conv2d_weight_gradient_variants()) {
        if (!variant.reason.empty() || !variant.dtypes.contains(c.dtype)) continue;
        if (variant.supports != nullptr && !variant.supports(c)) continue;
        const Plan plan = variant.prepare(c);
        if (!plan) continue;
        SCOPED_TRACE(variant.name);
        auto all = poisoned(whole.w);
        run(plan, {x.data(), dy.data()}, {all.data()});
        std::vector<std::vector<float>> sums;
        for (std::int64_t i = 0; i < kPieces; ++i) {
          const RowRange rows = piece_of(c.N, i, kPieces);
          Conv2dShape piece = c;
          piece.N = rows.count, piece.pieces = 1;
          sums.push_back(poisoned(whole.w));
          run(variant.prepare(piece),
              {x.data() + rows.first * whole.x / c.N, dy.data() + rows.first * whole.y / c.N},
              {sums.back().data()});
        }
        for (std::size_t k = 0; k < all.size(); ++k) {
          ASSERT_EQ(all[k], (sums[0][k] + sums[1][k]) + (sums[2][k] + sums[3][k]))
              << "O " << c.O << ", I " << c.I << ", " << c.KH << "x" << c.KW << ", element " << k;
        }
      }
    }
  });
}

TEST(Conv2d, OfAnEmptyBatch) {
  Conv2dShape c = shape(0, 8, 8, 16, 16, 3, 1);
  const Backend backend;
  const auto w = random_values(16 * 9 * 16, 1);
  run(prepare_from(conv2d_variants(), c, c.dtype, backend), {nullptr, w.data()}, {nullptr});
  run(prepare_from(conv2d_data_gradient_variants(), c, c.dtype, backend), {nullptr, w.data()},
      {nullptr});
  std::vector<float> dw(16 * 9 * 16, 5);
  run(prepare_from(conv2d_weight_gradient_variants(), c, c.dtype, backend), {nullptr, nullptr},
      {dw.data()});
  for (float value : dw) ASSERT_EQ(value, 0);
}

TEST(Conv2d, ABiasByItself) {
  const std::int64_t rows = 67, C = 21;
  const auto bias = random_values(C, 1), before = random_values(rows * C, 2);
  const Queue queue(Device::emulated(), nullptr);
  std::vector<float> after = before;
  emulated::add_to_rows(queue, DType::f32, rows, C, bias.data(), after.data());
  emulated::add_to_rows(queue, DType::f32, 0, C, bias.data(), nullptr);
  for (std::int64_t i = 0; i < rows * C; ++i) {
    ASSERT_EQ(after[at(i)], before[at(i)] + bias[at(i % C)]) << i;
  }
}

}  // namespace
}  // namespace tapescope
