// The rungs for Hopper against plain sums, at shapes with several tiles, ends in the middle of
// them, and pieces: on the emulator, in every order of threads and landings.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "kernels/common/gpu_tables.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/emulator/execution.h"
#include "kernels/matmul/matmul.h"
#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

template <class Shape>
const Variant<Shape>& wgmma(const char* family) {
  for (const Variant<Shape>& row : gpu_variants<Shape>(DeviceKind::emulated, family)) {
    if (row.name == "wgmma") return row;
  }
  throw std::runtime_error("there is no wgmma");
}

// Memory at an address that is a multiple of 16, with marks behind it.
template <class T>
class Aligned {
 public:
  explicit Aligned(std::size_t count) : bytes_(count * sizeof(T) + 64 + 16, 0xFF), count_(count) {
    const auto start = reinterpret_cast<std::uintptr_t>(bytes_.data());
    data_ = reinterpret_cast<T*>(bytes_.data() + (16 - start % 16) % 16);
  }
  explicit Aligned(const std::vector<T>& values) : Aligned(values.size()) {
    std::memcpy(data_, values.data(), values.size() * sizeof(T));
  }
  T* data() { return data_; }
  bool untouched_behind() const {
    const auto* end = reinterpret_cast<const unsigned char*>(data_ + count_);
    return std::all_of(end, &bytes_.back(), [](unsigned char x) { return x == 0xFF; });
  }

 private:
  std::vector<unsigned char> bytes_;
  std::size_t count_;
  T* data_;
};

class WgmmaRungs : public ::testing::Test {
 protected:
  void TearDown() override { emulator::set_schedule(before_); }
  // Runs it in three orders, compares with what is exact, and bit for bit with the first.
  template <class C>
  void check(const Plan& plan, const std::vector<const void*>& in, const std::vector<double>& exact,
             const std::vector<double>& magnitude) {
    using emulator::Order;
    std::vector<Order> orders = {Order::forward, Order::reverse, Order::shuffled};
    if (before_.kind != emulator::Schedule::Kind::fibers) orders = {before_.order};
    std::vector<C> first;
    for (const Order order : orders) {
      emulator::set_schedule({before_.kind, order, 11});
      Aligned<C> out(exact.size());
      Aligned<unsigned char> workspace(plan.workspace_bytes());
      void* outs[] = {out.data()};
      plan.run(Queue(Device::emulated()), {in.data(), outs, workspace.data()});
      EXPECT_TRUE(out.untouched_behind() && workspace.untouched_behind());
      const std::vector<C> got(out.data(), out.data() + exact.size());
      if (first.empty()) {
        first = got;
      } else {
        expect_same_bits(got, first);
      }
    }
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double stored = std::is_same_v<C, bf16> ? 4e-3 * std::fabs(exact[i]) : 0;
      ASSERT_TRUE(close(number(first[i]), exact[i], 1e-6 * magnitude[i] + stored))
          << "element " << i << ": " << number(first[i]) << " is not " << exact[i];
    }
  }
  emulator::Schedule before_ = emulator::schedule();
};

template <class C>
void product(std::int64_t M, std::int64_t N, std::int64_t K, bool ta, bool tb, bool with_bias,
             const std::function<void(const Plan&, const std::vector<const void*>&,
                                      const std::vector<double>&, const std::vector<double>&)>& f) {
  SCOPED_TRACE(fmt::format("{}x{}x{} {}{}{}", M, N, K, ta ? "a^T " : "", tb ? "b^T " : "",
                           with_bias ? "bias" : ""));
  MatmulShape s{DType::bf16, with_bias, ta, tb, M, N, K};
  s.wide = std::is_same_v<C, float>;
  const Variant<MatmulShape>& row = wgmma<MatmulShape>("matmul");
  ASSERT_TRUE(row.supports(s));
  Aligned<bf16> a(random_values<bf16>(M * K, 1)), b(random_values<bf16>(K * N, 2));
  const auto bias = random_values<float>(N, 3);
  std::vector<double> exact(static_cast<std::size_t>(M * N)), magnitude(exact.size());
  for (std::int64_t m = 0; m < M; ++m) {
    for (std::int64_t n = 0; n < N; ++n) {
      double sum = with_bias ? static_cast<double>(bias[static_cast<std::size_t>(n)]) : 0;
      double size = std::fabs(sum);
      for (std::int64_t k = 0; k < K; ++k) {
        const double term = number(a.data()[ta ? k * M + m : m * K + k]) *
                            number(b.data()[tb ? n * K + k : k * N + n]);
        sum += term;
        size += std::fabs(term);
      }
      exact[static_cast<std::size_t>(m * N + n)] = sum;
      magnitude[static_cast<std::size_t>(m * N + n)] = size;
    }
  }
  f(row.prepare(s), {a.data(), b.data(), with_bias ? bias.data() : nullptr}, exact, magnitude);
}

TEST_F(WgmmaRungs, MatrixProduct) {
  const auto run = [&](const auto&... arguments) { check<bf16>(arguments...); };
  const auto run_wide = [&](const auto&... arguments) { check<float>(arguments...); };
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      product<bf16>(8, 64, 64, ta, tb, true, run);     // one tile, one step
      product<bf16>(136, 72, 200, ta, tb, true, run);  // two of both, ends inside
      product<float>(264, 200, 72, ta, tb, false, run_wide);
    }
  }
  product<bf16>(3, 1000, 128, false, true, true, run);     // a classifier
  product<bf16>(130, 4160, 64, false, true, false, run);   // three bands of columns
  product<bf16>(390, 264, 1000, false, true, false, run);  // more steps than stages, tiles in turn
}

TEST_F(WgmmaRungs, RowsDoNotDependOnTheirNumber) {
  const std::int64_t N = 136, K = 200;
  Aligned<bf16> a(random_values<bf16>(200 * K, 1)), b(random_values<bf16>(K * N, 2));
  std::vector<bf16> whole;
  for (const std::int64_t M : {200, 129, 1}) {
    const MatmulShape s{DType::bf16, false, false, false, M, N, K};
    Aligned<bf16> c(static_cast<std::size_t>(M * N));
    const void* in[] = {a.data(), b.data(), nullptr};
    void* out[] = {c.data()};
    wgmma<MatmulShape>("matmul").prepare(s).run(Queue(Device::emulated()), {in, out, nullptr});
    const std::vector<bf16> got(c.data(), c.data() + M * N);
    if (whole.empty()) whole = got;
    expect_same_bits(got, {whole.begin(), whole.begin() + M * N});
  }
}

TEST_F(WgmmaRungs, ShapesThatTheirCopiesCannotTakeAreLeftToOthers) {
  const auto& product_row = wgmma<MatmulShape>("matmul");
  EXPECT_TRUE(product_row.supports({DType::bf16, false, false, false, 5, 64, 64}));
  EXPECT_FALSE(product_row.supports({DType::bf16, false, false, false, 5, 68, 64}));
  EXPECT_FALSE(product_row.supports({DType::bf16, false, false, true, 8, 64, 68}));
  EXPECT_FALSE(product_row.supports({DType::bf16, false, true, false, 5, 64, 64}));
  Conv2dShape c;
  c.dtype = DType::bf16;
  c.N = 1, c.H = c.W = 9, c.I = c.O = 32, c.KH = c.KW = 3, c.pad_h = c.pad_w = 1;
  const auto& forward = wgmma<Conv2dShape>("conv2d");
  const auto& data = wgmma<Conv2dShape>("conv2d_data_gradient");
  EXPECT_TRUE(forward.supports(c) && data.supports(c));
  Conv2dShape few = c, strided = c, far = c, grouped = c;
  few.I = 36;
  strided.stride_w = 2;
  far.pad_h = 140, far.dilation_h = 140;
  grouped.groups = 2;
  EXPECT_FALSE(forward.supports(few));
  EXPECT_TRUE(forward.supports(strided) && data.supports(strided));
  strided.dilation_w = 2;
  EXPECT_TRUE(forward.supports(strided) && !data.supports(strided));
  EXPECT_FALSE(forward.supports(far));
  EXPECT_FALSE(forward.supports(grouped));
}

Conv2dShape conv(std::int64_t N, std::int64_t H, std::int64_t W, std::int64_t I, std::int64_t O,
                 std::int64_t KH, std::int64_t KW, std::int64_t pad, std::int64_t stride_h = 1,
                 std::int64_t stride_w = 1, std::int64_t dilation = 1) {
  Conv2dShape c;
  c.dtype = DType::bf16;
  c.N = N, c.H = H, c.W = W, c.I = I, c.O = O, c.KH = KH, c.KW = KW;
  c.pad_h = c.pad_w = pad, c.stride_h = stride_h, c.stride_w = stride_w;
  c.dilation_h = c.dilation_w = dilation;
  return c;
}

TEST_F(WgmmaRungs, Convolutions) {
  for (const Conv2dShape& c :
       {conv(2, 6, 7, 32, 40, 3, 3, 1),   // channels that do not fill a block of 64
        conv(3, 9, 8, 72, 136, 3, 3, 1),  // two chunks a tap, three tiles of windows
        conv(2, 9, 10, 64, 72, 3, 2, 2, 1, 1,
             2),                                // dilated, and padded further than a kernel reaches
        conv(2, 11, 9, 40, 32, 3, 3, 1, 2, 3),  // strided
        conv(2, 9, 10, 32, 96, 1, 1, 0, 2, 2),  // pixels that no tap reaches
        conv(1, 8, 9, 48, 32, 5, 2, 2, 3, 2),
        conv(1, 5, 5, 320, 264, 1, 1, 0),     // five steps, wide tiles
        conv(2, 28, 28, 32, 32, 1, 3, 1)}) {  // pieces of the weight gradient's sum
    SCOPED_TRACE(fmt::format("{} {}x{} {} to {}, {}x{}", c.N, c.H, c.W, c.I, c.O, c.KH, c.KW));
    const std::int64_t P = c.P(), Q = c.Q();
    Aligned<bf16> x(random_values<bf16>(c.N * c.H * c.W * c.I, 1)),
        w(random_values<bf16>(c.O * c.KH * c.KW * c.I, 2)),
        dy(random_values<bf16>(c.N * P * Q * c.O, 3));
    const auto bias = random_values<float>(c.O, 4);
    struct Sums {
      explicit Sums(std::int64_t n) : value(static_cast<std::size_t>(n)), size(value.size()) {}
      void add(std::int64_t i, double term) {
        value[static_cast<std::size_t>(i)] += term;
        size[static_cast<std::size_t>(i)] += std::fabs(term);
      }
      std::vector<double> value, size;
    } y(c.N * P * Q * c.O), dx(c.N * c.H * c.W * c.I), dw(c.O * c.KH * c.KW * c.I);
    for (std::int64_t i = 0; i < c.N * P * Q * c.O; ++i) {
      y.add(i, static_cast<double>(bias[static_cast<std::size_t>(i % c.O)]));
    }
    for (std::int64_t pixel = 0; pixel < c.N * P * Q; ++pixel) {
      for (std::int64_t tap = 0; tap < c.KH * c.KW; ++tap) {
        const std::int64_t h = pixel / Q % P * c.stride_h - c.pad_h + tap / c.KW * c.dilation_h;
        const std::int64_t v = pixel % Q * c.stride_w - c.pad_w + tap % c.KW * c.dilation_w;
        if (h < 0 || h >= c.H || v < 0 || v >= c.W) continue;
        const std::int64_t ix = ((pixel / Q / P * c.H + h) * c.W + v) * c.I;
        for (std::int64_t o = 0; o < c.O; ++o) {
          const std::int64_t iw = (o * c.KH * c.KW + tap) * c.I, iy = pixel * c.O + o;
          const double g = number(dy.data()[iy]);
          for (std::int64_t i = 0; i < c.I; ++i) {
            const double a = number(x.data()[ix + i]), b = number(w.data()[iw + i]);
            y.add(iy, a * b);
            dx.add(ix + i, g * b);
            dw.add(iw + i, g * a);
          }
        }
      }
    }
    Conv2dShape biased = c;
    biased.bias = true;
    const auto& forward = wgmma<Conv2dShape>("conv2d");
    ASSERT_TRUE(forward.supports(biased));
    check<bf16>(forward.prepare(biased), {x.data(), w.data(), bias.data()}, y.value, y.size);
    const auto& data = wgmma<Conv2dShape>("conv2d_data_gradient");
    ASSERT_TRUE(data.supports(c));
    check<bf16>(data.prepare(c), {dy.data(), w.data(), nullptr}, dx.value, dx.size);
    const Plan weights = wgmma<Conv2dShape>("conv2d_weight_gradient").prepare(c);
    if (c.H == 28) {
      EXPECT_GT(weights.workspace_bytes(), 0u);
    }
    check<float>(weights, {x.data(), dy.data(), nullptr}, dw.value, dw.size);
  }
}

TEST_F(WgmmaRungs, OfNoImagesTheGradientOfWeightsIsZero) {
  const Conv2dShape c = conv(0, 6, 7, 32, 32, 3, 3, 1);
  const std::vector<double> zeros(32 * 9 * 32);
  check<float>(wgmma<Conv2dShape>("conv2d_weight_gradient").prepare(c), {nullptr, nullptr, nullptr},
               zeros, zeros);
}

}  // namespace
}  // namespace tapescope
