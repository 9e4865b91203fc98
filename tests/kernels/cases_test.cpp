// What kernels are timed on: buffers in turns, so that a GPU's cache does not serve what a net
// would bring from memory.
#include "kernels/cases/cases.h"

#include <gtest/gtest.h>

#include <set>

namespace tapescope {
namespace {

using kernel_cases::Memory;

TEST(KernelCases, BuffersTakeTurnsAndHoldTheSame) {
  const kernel_cases::Case c = kernel_cases::family_named("binary").make("add:8x4", DType::f32);
  for (const int copies : {1, 3}) {
    Memory memory(c, Device::emulated(), copies);
    std::vector<const void*> seen;
    std::set<float> sums;
    const Plan look("look", 0, [&](const Queue&, const Buffers& buffers) {
      seen.insert(seen.end(), {buffers.in[0], buffers.in[1], buffers.out[0]});
      float sum = 0;
      for (int i = 0; i < 32; ++i) sum += static_cast<const float*>(buffers.in[0])[i];
      sums.insert(sum);
    });
    for (int i = 0; i < 2 * copies; ++i) memory.run_in_turn(look);
    const auto buffers = static_cast<std::size_t>(3 * copies);
    EXPECT_EQ(std::set<const void*>(seen.begin(), seen.end()).size(), buffers);
    EXPECT_TRUE(std::equal(seen.begin(), seen.begin() + 3 * copies, seen.begin() + 3 * copies));
    EXPECT_EQ(sums.size(), 1u);
    // What is compared with the reference is of the first.
    seen.clear();
    memory.run(look);
    EXPECT_EQ(seen[2], memory.results()[0].data());
  }
}

TEST(KernelCases, TurnsHoldMoreThanACache) {
  const auto copies = [](const char* family, const char* shape, DType dtype, Device device) {
    return kernel_cases::copies_in_turn(kernel_cases::family_named(family).make(shape, dtype),
                                        device);
  };
  // Three matrices of 4096 x 4096 x 2 bytes are 101 MB; of 4 bytes 201.
  EXPECT_EQ(copies("matmul", "nn:4096x4096x4096", DType::bf16, Device::cuda()), 3);
  EXPECT_EQ(copies("matmul", "nn:4096x4096x4096", DType::f32, Device::cuda()), 2);
  EXPECT_EQ(copies("unary", "relu:25690112", DType::bf16, Device::cuda()), 3);  // 103 MB
  EXPECT_EQ(copies("unary", "relu:134217728", DType::f32, Device::cuda()), 1);
  EXPECT_EQ(copies("unary", "relu:1024", DType::f32, Device::cuda()), 64);
  EXPECT_EQ(copies("unary", "relu:1024", DType::f32, Device::cpu()), 1);
}

}  // namespace
}  // namespace tapescope
