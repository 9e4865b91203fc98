// A convolution with what follows it: every variant beside a sum in double, and beside itself with
// weights that were packed before.
#include "kernels/conv2d/fused.h"

#include <algorithm>
#include <limits>

#include "kernels/conv2d/winograd.h"
#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Operands {
  std::vector<float> x, w, bias, residual;
  std::vector<double> y, magnitude;  // exact, and the sum of what was added
};

// One output at a time, from the definition.
Operands operands_of(const FusedConv2dShape& f) {
  const Conv2dShape& c = f.conv;
  const std::int64_t I = c.I / c.groups, O = c.O / c.groups, outputs = c.N * c.P() * c.Q() * c.O;
  Operands o{random_values(c.N * c.H * c.W * c.I, 1),
             random_values(c.O * c.KH * c.KW * I, 2),
             random_values(c.bias ? c.O : 0, 3),
             random_values(f.residual ? outputs : 0, 4),
             {},
             {}};
  for (std::int64_t at = 0; at < outputs; ++at) {
    const std::int64_t k = at % c.O, q = at / c.O % c.Q(), p = at / c.O / c.Q() % c.P();
    const std::int64_t n = at / c.O / c.Q() / c.P();
    double sum = 0, magnitude = 0;
    const auto add = [&](double term) { sum += term, magnitude += std::fabs(term); };
    for (std::int64_t r = 0; r < c.KH; ++r) {
      for (std::int64_t s = 0; s < c.KW; ++s) {
        const std::int64_t h = p * c.stride_h - c.pad_h + r * c.dilation_h;
        const std::int64_t v = q * c.stride_w - c.pad_w + s * c.dilation_w;
        if (h < 0 || h >= c.H || v < 0 || v >= c.W) continue;
        for (std::int64_t i = 0; i < I; ++i) {
          const std::int64_t from = ((n * c.H + h) * c.W + v) * c.I + k / O * I + i;
          const std::int64_t weight = ((k * c.KH + r) * c.KW + s) * I + i;
          add(double{o.x[static_cast<std::size_t>(from)]} *
              double{o.w[static_cast<std::size_t>(weight)]});
        }
      }
    }
    if (c.bias) add(double{o.bias[static_cast<std::size_t>(k)]});
    if (f.residual) add(double{o.residual[static_cast<std::size_t>(at)]});
    o.y.push_back(std::clamp(sum, f.least, f.most));
    o.magnitude.push_back(magnitude);
  }
  return o;
}

std::vector<float> run_on(const Plan& plan, const FusedConv2dShape& f, const Operands& o) {
  auto y = poisoned(static_cast<std::int64_t>(o.y.size()));
  run(plan,
      {o.x.data(), o.w.data(), f.conv.bias ? o.bias.data() : nullptr,
       f.residual ? o.residual.data() : nullptr},
      {y.data()});
  return y;
}

void expect_right(const std::vector<float>& y, const Operands& o, double error_factor) {
  const double largest = *std::max_element(o.magnitude.begin(), o.magnitude.end());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double magnitude = error_factor > 1 ? largest : o.magnitude[i];
    ASSERT_NEAR(y[i], o.y[i], 3e-7 * error_factor * magnitude) << "element " << i;
  }
}

// The same from weights packed before: the same bits.
void expect_packed_equal(const Plan& plan, const FusedConv2dShape& f, const Operands& o,
                         const std::vector<float>& want) {
  if (plan.packing().bytes == 0) return;
  std::vector<unsigned char> memory(plan.packing().bytes + plan.workspace_bytes() + 192, 0xff);
  const auto aligned = [](unsigned char* at) {
    return at + (64 - reinterpret_cast<std::uintptr_t>(at) % 64) % 64;
  };
  unsigned char* packed = aligned(memory.data());
  unsigned char* workspace = aligned(packed + plan.packing().bytes);
  const Queue queue(Device::cpu());
  plan.pack(queue, o.w.data(), packed);
  auto y = poisoned(static_cast<std::int64_t>(o.y.size()));
  const void* in[] = {o.x.data(), nullptr, f.conv.bias ? o.bias.data() : nullptr,
                      f.residual ? o.residual.data() : nullptr};
  void* out[] = {y.data()};
  plan.run(queue, Buffers{in, out, workspace, packed});
  expect_same_bits(y, want);
}

Conv2dShape shape(std::int64_t N, std::int64_t H, std::int64_t W, std::int64_t I, std::int64_t O,
                  std::int64_t kernel, std::int64_t pad, std::int64_t stride = 1,
                  std::int64_t groups = 1) {
  Conv2dShape c;
  c.N = N, c.H = H, c.W = W, c.I = I, c.O = O, c.KH = c.KW = kernel, c.bias = true;
  c.pad_h = c.pad_w = pad, c.stride_h = c.stride_w = stride, c.groups = groups;
  return c;
}
const Conv2dShape kShapes[] = {
    shape(2, 7, 9, 3, 5, 3, 1),       shape(2, 6, 7, 18, 33, 3, 1),
    shape(1, 7, 7, 16, 16, 3, 1),     shape(3, 2, 2, 16, 48, 3, 1),
    shape(2, 9, 9, 20, 40, 1, 0),     shape(2, 9, 8, 12, 12, 3, 1, 2, 12),
    shape(1, 31, 33, 3, 70, 7, 3, 2), shape(1, 14, 5, 64, 24, 3, 0)};
const FusedConv2dShape kEpilogues[] = {{{}, false, -kInfinity, kInfinity},
                                       {{}, false, 0, kInfinity},
                                       {{}, true, -0.5, 0.75},
                                       {{}, true, -kInfinity, kInfinity}};

TEST(Conv2dFused, AgreesWithADirectSum) {
  for_each_isa([] {
    for (const Conv2dShape& c : kShapes) {
      for (FusedConv2dShape f : kEpilogues) {
        f.conv = c;
        const Operands o = operands_of(f);
        const auto check = [&](std::string_view name, double error_factor, const Plan& plan) {
          SCOPED_TRACE(fmt::format("{} {}x{} {}->{} residual {} [{}, {}]", name, c.H, c.W, c.I, c.O,
                                   f.residual, f.least, f.most));
          std::vector<float> first;
          for_threads([&] {
            const std::vector<float> y = run_on(plan, f, o);
            if (first.empty()) first = y;
            expect_same_bits(y, first);
          });
          expect_right(first, o, error_factor);
          expect_packed_equal(plan, f, o, first);
        };
        for (const Variant<FusedConv2dShape>& variant : conv2d_fused_variants()) {
          if (!variant.reason.empty()) continue;
          if (variant.supports != nullptr && !variant.supports(f)) continue;
          check(variant.name, variant.error_factor, variant.prepare(f));
        }
        // Where the table does not take it because the weights are small.
        if (winograd::supports_conv2d(c)) {
          check("winograd_small", winograd::kSmallErrorFactor, winograd::conv2d_fused_small(f));
        }
      }
    }
  });
}

TEST(Conv2dFused, LargeWeightsOfASmallMapTakeSmallTiles) {
  FusedConv2dShape f{shape(1, 4, 3, 256, 256, 3, 1), false, 0, kInfinity};
  const Plan plan = prepare_from(conv2d_fused_variants(), f, DType::f32, Backend{});
  EXPECT_EQ(plan.packing().layout, "winograd 2x2");
  const Operands o = operands_of(f);
  expect_right(run_on(plan, f, o), o, winograd::kSmallErrorFactor);
}

TEST(Conv2dFused, AnImageDoesNotDependOnTheBatch) {
  for (const Conv2dShape& c : kShapes) {
    FusedConv2dShape all{c, true, 0, kInfinity}, one{c, true, 0, kInfinity};
    all.conv.N = 5, one.conv.N = 1;
    const Operands o = operands_of(all);
    for (const Variant<FusedConv2dShape>& variant : conv2d_fused_variants()) {
      if (!variant.reason.empty()) continue;
      if (variant.supports != nullptr && !variant.supports(all)) continue;
      SCOPED_TRACE(variant.name);
      const std::vector<float> y = run_on(variant.prepare(all), all, o);
      const auto part = [&](const std::vector<float>& v, std::size_t n) {
        const std::size_t size = v.size() / 5;
        return std::vector<float>(v.begin() + static_cast<std::ptrdiff_t>(n * size),
                                  v.begin() + static_cast<std::ptrdiff_t>((n + 1) * size));
      };
      for (std::size_t n : {0u, 3u}) {
        Operands image = o;
        image.x = part(o.x, n), image.residual = part(o.residual, n);
        image.y.resize(o.y.size() / 5);
        expect_same_bits(run_on(variant.prepare(one), one, image), part(y, n));
      }
    }
  }
}

// relu of a NaN is NaN: what went wrong is not hidden.
TEST(Conv2dFused, ANanIsNotHidden) {
  for (const Conv2dShape& c : kShapes) {
    const FusedConv2dShape f{c, true, 0, 6};
    Operands o = operands_of(f);
    std::fill(o.x.begin(), o.x.end(), std::numeric_limits<float>::quiet_NaN());
    for (const Variant<FusedConv2dShape>& variant : conv2d_fused_variants()) {
      if (!variant.reason.empty()) continue;
      if (variant.supports != nullptr && !variant.supports(f)) continue;
      for (float y : run_on(variant.prepare(f), f, o)) ASSERT_TRUE(std::isnan(y)) << variant.name;
    }
  }
}

}  // namespace
}  // namespace tapescope
