#include "kernels/optimizer/optimizer.h"

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

using Values = std::vector<float>;

// One weight through PyTorch's published update, in f64, for several steps.
struct Weight {
  double w, u = 0, m = 0, v = 0;
  bool first = true;

  void sgd(double g, double lr, double momentum, bool nesterov, double decay) {
    g += decay * w;
    if (momentum != 0) {
      u = first ? g : momentum * u + g;
      g = nesterov ? g + momentum * u : u;
    }
    first = false;
    w -= lr * g;
  }
  void adamw(double g, double lr, int t, const AdamwShape& s) {
    w *= 1 - lr * s.weight_decay;
    m += (g - m) * (1 - s.beta1);
    v = v * s.beta2 + g * g * (1 - s.beta2);
    const double m_hat = m / (1 - std::pow(s.beta1, t)), v_hat = v / (1 - std::pow(s.beta2, t));
    w -= lr * m_hat / (std::sqrt(v_hat) + s.eps);
  }
};

TEST(Optimizer, SgdFollowsPyTorch) {
  for_each_isa([] {
    for (const char* variant : {"reference", "simd"}) {
      for (std::int64_t n : {0, 1, 17, 40003}) {
        for (auto [momentum, nesterov, decay] : {std::tuple{0.0, false, 0.0},
                                                 {0.0, false, 0.1},
                                                 {0.9, false, 5e-4},
                                                 {0.9, true, 5e-4}}) {
          SCOPED_TRACE(std::string(variant) + " " + std::to_string(n));
          const SgdShape s{DType::f32, n, momentum, nesterov, decay};
          const Plan plan = prepare(sgd_variants(), variant, s);
          Values w = random_values(n, 1), u(w.size(), 0.0f);
          std::vector<Weight> exact;
          for (float value : w) exact.push_back({value});
          const float lr = 0.05f;
          for (int t = 1; t <= 3; ++t) {
            const Values g = random_values(n, static_cast<std::uint64_t>(t) + 10);
            if (momentum != 0) {
              run(plan, {w.data(), g.data(), u.data(), &lr}, {w.data(), u.data()});
            } else {
              run(plan, {w.data(), g.data(), nullptr, &lr}, {w.data(), nullptr});
            }
            for (std::size_t i = 0; i < w.size(); ++i) {
              exact[i].sgd(g[i], lr, momentum, nesterov, decay);
              ASSERT_TRUE(close(w[i], exact[i].w, 1e-6)) << "step " << t << " weight " << i;
            }
          }
        }
      }
    }
  });
}

TEST(Optimizer, AdamwFollowsPyTorch) {
  for_each_isa([] {
    for (const char* variant : {"reference", "simd"}) {
      for (std::int64_t n : {1, 17, 40003}) {
        SCOPED_TRACE(std::string(variant) + " " + std::to_string(n));
        const AdamwShape s{DType::f32, n, 0.9, 0.99, 1e-8, 0.05};
        const Plan plan = prepare(adamw_variants(), variant, s);
        Values w = random_values(n, 1), m(w.size(), 0.0f), v(w.size(), 0.0f);
        std::vector<Weight> exact;
        for (float value : w) exact.push_back({value});
        const float lr = 0.01f;
        for (std::int64_t t = 1; t <= 4; ++t) {
          const Values g = random_values(n, static_cast<std::uint64_t>(t) + 10);
          run(plan, {w.data(), g.data(), m.data(), v.data(), &lr, &t},
              {w.data(), m.data(), v.data()});
          for (std::size_t i = 0; i < w.size(); ++i) {
            exact[i].adamw(g[i], lr, static_cast<int>(t), s);
            ASSERT_TRUE(close(w[i], exact[i].w, 2e-6)) << "step " << t << " weight " << i;
          }
        }
      }
    }
  });
}

TEST(Optimizer, OneThreadOrThreeSameBits) {
  const std::int64_t n = 100003;
  Values first;
  for_threads([&] {
    Values w = random_values(n, 1), m = random_values(n, 2), v = random_values(n, 3, 0, 1);
    const Values g = random_values(n, 4);
    const float lr = 0.1f;
    const std::int64_t step = 5;
    AdamwShape s;
    s.n = n;
    run(prepare(adamw_variants(), "simd", s), {w.data(), g.data(), m.data(), v.data(), &lr, &step},
        {w.data(), m.data(), v.data()});
    if (first.empty()) first = w;
    expect_same_bits(w, first);
  });
}

}  // namespace
}  // namespace tapescope
