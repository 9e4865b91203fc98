#include "kernels/more_ops/gather/gather.h"

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;
using Indices = std::vector<std::int64_t>;

TEST(Gather, PicksOneElementOfEachRowAndPutsItBack) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const Indices index = {2, 0};
  std::vector<float> y(2), back = poisoned(6);
  const GatherShape s{DType::f32, 2, 3};
  run(prepare_from(gather_rows_element_variants(), s, s.dtype, Backend{}), {x.data(), index.data()},
      {y.data()});
  EXPECT_EQ(y, (std::vector<float>{3, 4}));
  run(prepare_from(scatter_rows_element_variants(), s, s.dtype, Backend{}),
      {y.data(), index.data()}, {back.data()});
  EXPECT_EQ(back, (std::vector<float>{0, 0, 3, 4, 0, 0}));
}

TEST(Gather, ManyRowsAndThreads) {
  const GatherShape s{DType::f32, 10007, 13};
  Indices index;
  std::vector<float> g;
  for (std::int64_t n = 0; n < s.N; ++n) {
    index.push_back(n * 7 % 13);
    g.push_back(static_cast<float>(n + 1));
  }
  for_threads([&] {
    auto y = poisoned(s.N * s.C);
    run(prepare_from(scatter_rows_element_variants(), s, s.dtype, Backend{}),
        {g.data(), index.data()}, {y.data()});
    for (std::int64_t n = 0; n < s.N; ++n) {
      for (std::int64_t c = 0; c < s.C; ++c) {
        ASSERT_EQ(y[static_cast<std::size_t>(n * s.C + c)],
                  c == n * 7 % 13 ? static_cast<float>(n + 1) : 0);
      }
    }
  });
}

TEST(Gather, AnIndexOutOfRangeIsNamed) {
  const std::vector<float> x(6);
  std::vector<float> y(6);
  for (std::int64_t wrong : {std::int64_t{3}, std::int64_t{-1}}) {
    const Indices index = {0, wrong};
    const GatherShape s{DType::f32, 2, 3};
    try {
      run(prepare_from(gather_rows_element_variants(), s, s.dtype, Backend{}),
          {x.data(), index.data()}, {y.data()});
      FAIL();
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("index " + std::to_string(wrong) + " at position 1"), std::string::npos)
          << text;
      EXPECT_NE(text.find("3 classes"), std::string::npos) << text;
    }
  }
}

}  // namespace
}  // namespace tapescope
