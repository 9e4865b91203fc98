// The tiled rung of batch normalisation on the emulator, at shapes that make it cut rows into
// tiles, tiles into threads and channels into packs in every way, against sums in long double.
#include "kernels/batch_norm/rungs.h"
#include "tests/kernels/kernel_testing.h"

namespace tapescope::emulated {
namespace {

using namespace tapescope::testing;

struct Extent {
  std::int64_t rows, C;
};
// One row; fewer rows than threads; packs and no packs; more than one block of channels; many
// tiles.
const Extent kExtents[] = {{1, 1}, {3, 8}, {37, 3}, {700, 64}, {130, 300}, {70, 264}, {9000, 16}};

void run_emulated(const Plan& plan, std::vector<const void*> in, std::vector<void*> out) {
  std::vector<double> workspace(plan.workspace_bytes() / 8 + 1, std::nan(""));
  plan.run(Queue(Device::emulated()), Buffers{in.data(), out.data(), workspace.data()});
}

// Moments by the textbook, in long double.
struct Exact {
  std::vector<long double> mean, variance;
  template <class T>
  Exact(const std::vector<T>& x, Extent s) {
    for (std::int64_t c = 0; c < s.C; ++c) {
      const auto at = [&](std::int64_t r) {
        return static_cast<long double>(
            static_cast<float>(x[static_cast<std::size_t>(r * s.C + c)]));
      };
      long double sum = 0, squares = 0;
      for (std::int64_t r = 0; r < s.rows; ++r) sum += at(r);
      const long double m = sum / static_cast<long double>(s.rows);
      for (std::int64_t r = 0; r < s.rows; ++r) squares += (at(r) - m) * (at(r) - m);
      mean.push_back(m);
      variance.push_back(squares / static_cast<long double>(s.rows));
    }
  }
};

template <class T>
void check_moments(const std::vector<T>& x, Extent s) {
  SCOPED_TRACE(std::to_string(s.rows) + " rows of " + std::to_string(s.C));
  const DType dtype = dtype_of<T>();
  const Plan plan = batch_norm_training_tiled({dtype, s.rows, s.C, 1e-5}, false);
  std::vector<T> y = poisoned<T>(s.rows * s.C);
  std::vector<float> mean = poisoned(s.C), variance = poisoned(s.C);
  run_emulated(plan, {x.data(), nullptr, nullptr}, {y.data(), mean.data(), variance.data()});
  const Exact exact(x, s);
  const double rounding = dtype == DType::bf16 ? 0.01 : 2e-5;
  for (std::int64_t c = 0; c < s.C; ++c) {
    const auto k = static_cast<std::size_t>(c);
    const double m = static_cast<double>(exact.mean[k]), v = static_cast<double>(exact.variance[k]);
    ASSERT_NEAR(mean[k], m, 1e-7 * std::fabs(m) + 1e-6 * std::sqrt(v));
    ASSERT_NEAR(variance[k], v, 2e-6 * v);
    for (std::int64_t r = 0; r < s.rows; ++r) {
      const auto i = static_cast<std::size_t>(r * s.C + c);
      const double z = (static_cast<double>(static_cast<float>(x[i])) - m) / std::sqrt(v + 1e-5);
      // What the mean's own rounding to f32 may shift is allowed for.
      ASSERT_NEAR(static_cast<float>(y[i]), z,
                  rounding * (1 + std::fabs(z)) + 1e-7 * std::fabs(m) / std::sqrt(v + 1e-5));
    }
  }
}

TEST(BatchNormTiled, MomentsAtEveryCut) {
  for (const Extent s : kExtents) {
    check_moments(random_values(s.rows * s.C, 1), s);
    check_moments(random_values<bf16>(s.rows * s.C, 2, 3, 4), s);
  }
}

// A mean of a thousand deviations, and first rows that lie far from all others: the variance is
// what it would be about 0.
TEST(BatchNormTiled, LargeMeansCostNoDigits) {
  for (const Extent s : kExtents) {
    check_moments(random_values(s.rows * s.C, 3, 1000, 1002), s);
    std::vector<float> x = random_values(s.rows * s.C, 4, 1000, 1002);
    if (s.rows > 100) {
      std::fill(x.begin(), x.begin() + s.C, 0.0f);
      check_moments(x, s);
    }
  }
}

// dx, dscale and dshift beside the reference's, with every part that may be missing.
template <class T>
void check_gradient(Extent s, bool relu, bool residual, bool in_packs) {
  SCOPED_TRACE(std::to_string(s.rows) + " rows of " + std::to_string(s.C));
  BatchNormShape shape{dtype_of<T>(), s.rows, s.C, 1e-5};
  shape.residual = residual;
  const std::size_t n = static_cast<std::size_t>(s.rows * s.C);
  const std::size_t skip = in_packs ? 0 : 1;  // operands that do not begin on 16 bytes
  const auto values = [&](std::uint64_t seed) { return random_values<T>(s.rows * s.C + 1, seed); };
  const auto x = values(1), dy = values(2), y = values(3);
  const auto mean = random_values(s.C, 4), variance = random_values(s.C, 5, 0.2, 1),
             scale = random_values(s.C, 6), factor = random_values(s.C, 7),
             offset = random_values(s.C, 8);
  std::vector<const void*> in = {dy.data() + skip, x.data() + skip, mean.data(), variance.data(),
                                 scale.data()};
  if (residual) {
    in.push_back(y.data() + skip);
  } else if (relu) {
    in.push_back(factor.data());
    in.push_back(offset.data());
  }
  std::vector<T> got[2] = {poisoned<T>(s.rows * s.C + 1), poisoned<T>(s.rows * s.C + 1)};
  std::vector<T> want[2] = {poisoned<T>(s.rows * s.C + 1), poisoned<T>(s.rows * s.C + 1)};
  std::vector<float> got_scale = poisoned(s.C), got_shift = poisoned(s.C);
  std::vector<float> want_scale = poisoned(s.C), want_shift = poisoned(s.C);
  std::vector<void*> out = {got[0].data() + skip, got_scale.data(), got_shift.data()};
  if (residual) out.push_back(got[1].data() + skip);
  run_emulated(batch_norm_gradient_tiled(shape, relu), in, out);
  const auto& table = relu ? batch_norm_relu_gradient_variants() : batch_norm_gradient_variants();
  out = {want[0].data() + skip, want_scale.data(), want_shift.data()};
  if (residual) out.push_back(want[1].data() + skip);
  run(prepare(table, "reference", shape), in, out);
  const float rounding = sizeof(T) == 2 ? 0.01f : 1e-5f;
  for (int k = 0; k < (residual ? 2 : 1); ++k) {
    for (std::size_t i = skip; i < n + skip; ++i) {
      const float a = static_cast<float>(got[k][i]), b = static_cast<float>(want[k][i]);
      ASSERT_NEAR(a, b, rounding * (1 + std::fabs(b))) << k << " " << i;
    }
  }
  for (std::size_t c = 0; c < got_scale.size(); ++c) {
    ASSERT_NEAR(got_scale[c], want_scale[c], 1e-5 * static_cast<double>(s.rows));
    ASSERT_NEAR(got_shift[c], want_shift[c], 1e-5 * static_cast<double>(s.rows));
  }
}

TEST(BatchNormTiled, GradientsAtEveryCut) {
  for (const Extent s : kExtents) {
    for (const bool in_packs : {true, false}) {
      check_gradient<float>(s, false, false, in_packs);
      check_gradient<float>(s, true, false, in_packs);
      check_gradient<float>(s, true, true, in_packs);
      check_gradient<bf16>(s, true, false, in_packs);
      check_gradient<bf16>(s, true, true, in_packs);
    }
  }
}

}  // namespace
}  // namespace tapescope::emulated
