// Types, memory, threads and random numbers.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "engine/isa.h"
#include "engine/philox.h"
#include "engine/remedy.h"
#include "engine/tensor.h"
#include "engine/thread_pool.h"

namespace tapescope {
namespace {

TEST(Shape, CountsAndRefuses) {
  EXPECT_EQ((Shape{2, 3, 4}.elements()), 24);
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ((Shape{0, 3}.elements()), 0);
  EXPECT_EQ((Shape{2, 3}.with_leading(7)), (Shape{7, 2, 3}));
  EXPECT_EQ((Shape{2, 3}.without_leading()), Shape{3});
  EXPECT_EQ(to_string(Type{DType::bf16, {2, 1}}), "bf16 {2, 1}");
  EXPECT_THROW((Shape{1, -1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), Error);
  // The bytes of f64 must fit into 63 bits, whatever extents are 0.
  constexpr std::int64_t k30 = std::int64_t{1} << 30, k31 = k30 * 2;
  EXPECT_EQ((Type{DType::f64, {k30, k30 - 1}}.bytes()), std::size_t{k30} * (k30 - 1) * 8);
  EXPECT_THROW((Shape{k30, k30}), Error);
  EXPECT_THROW((Shape{k31, k31}), Error);
  EXPECT_THROW((Shape{0, k31, k31}), Error);
  EXPECT_THROW((Shape{k31, 2}.with_leading(k31)), Error);
}

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(bf16(1.0f).bits, 0x3F80);
  EXPECT_EQ(bf16(1.0f + 0x1p-8f).bits, 0x3F80);             // half way: to even, down
  EXPECT_EQ(bf16(1.0f + 3 * 0x1p-8f).bits, 0x3F82);         // half way: to even, up
  EXPECT_EQ(bf16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3F81);  // above half way
  EXPECT_EQ(bf16(-INFINITY).bits, 0xFF80);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(NAN))));
  for (int bits = 0; bits < 0x7F80; ++bits) {
    bf16 value;
    value.bits = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(bf16(static_cast<float>(value)).bits, bits);
  }
}

// The known answers published with Random123.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox({0, 0}, {0, 0, 0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones}, {ones, ones, ones, ones}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, StreamsHaveTheRightMoments) {
  PhiloxStream random(1);
  double sum = 0, squares = 0;
  std::array<int, 10> counts{};
  constexpr int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
    ++counts[random.below(10)];
  }
  EXPECT_NEAR(sum / n, 0, 0.02);
  EXPECT_NEAR(squares / n, 1, 0.02);
  for (int count : counts) EXPECT_NEAR(count, n / 10, 5 * std::sqrt(n / 10));
}

TEST(Tensor, SharesMemoryUntilCloned) {
  const Tensor a = Tensor::from<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  Tensor row = a.rows(1, 2), flat = a.reshape({6}), copy = a.clone();
  row.values<float>()[0] = 40;
  EXPECT_EQ(flat.item(3), 40);
  EXPECT_EQ(copy.item(3), 4);
  EXPECT_EQ(a.to(DType::i64).item(3), 40);
  EXPECT_THROW(a.reshape({7}), Error);
  EXPECT_THROW(a.rows(1, 3), Error);
  EXPECT_THROW(a.values<double>(), Error);
  EXPECT_THROW(Tensor().values<float>(), Error);
  EXPECT_EQ(Tensor::zeros({DType::f32, {0, 3}}).clone().elements(), 0);
}

// Every range of a block that is a tensor can be viewed, and no other.
TEST(Tensor, AViewStaysInItsBlock) {
  const Tensor block({DType::u8, {48}});
  for (DType dtype : {DType::u8, DType::bf16, DType::f32, DType::f64}) {
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    for (std::int64_t offset = 0; offset <= 64; ++offset) {
      for (std::int64_t elements = 0; elements <= 64; ++elements) {
        const Type type{dtype, {elements}};
        const auto make = [&] {
          return Tensor::view(block.storage(), static_cast<std::size_t>(offset), type);
        };
        if (offset % size == 0 && offset + elements * size <= 48) {
          ASSERT_EQ(make().data(), static_cast<const char*>(block.data()) + offset);
        } else {
          ASSERT_THROW(make(), Error) << offset << " " << elements;
        }
      }
    }
  }
  EXPECT_THROW(Tensor::view(block.storage(), SIZE_MAX - 3, {DType::u8, {16}}), Error);
  EXPECT_THROW(Tensor::view(StorageRef(), 0, {DType::f32, {1}}), Error);
}

TEST(Allocator, UsesItsBlocksAgainAndCountsByPurpose) {
  Allocator& allocator = Allocator::of(Device::cpu());
  const Type type{DType::f32, {1000}};
  { Tensor warm(type); }
  const MemoryUse before = allocator.use();
  for (int i = 0; i < 1000; ++i) Tensor temporary(type, Device::cpu(), Purpose::gradient);
  const MemoryUse after = allocator.use();
  EXPECT_EQ(after.live, before.live);
#if !defined(__SANITIZE_ADDRESS__)  // under which every tensor has memory of its own
  EXPECT_EQ(after.blocks_from_system, before.blocks_from_system);
#endif
  const Tensor kept(type, Device::cpu(), Purpose::parameter);
  const auto parameter = static_cast<std::size_t>(Purpose::parameter);
  EXPECT_GE(allocator.use().bytes[parameter], before.bytes[parameter] + type.bytes());
}

TEST(Allocator, OutOfMemorySaysWhoHoldsWhatAndWhatToTry) {
  Allocator& allocator = Allocator::of(Device::cpu());
  const Tensor big({DType::f32, {1 << 20}}, Device::cpu(), Purpose::activation, "conv1/conv2d");
  allocator.set_limit(allocator.use().live + (1 << 20));
  std::string text;
  try {
    Tensor more({DType::f32, {1 << 22}}, Device::cpu(), Purpose::gradient, "conv2/conv2d");
  } catch (const ErrorWithRemedy& error) {
    EXPECT_EQ(error.blame(), Blame::failure);
    EXPECT_EQ(error.remedy, Remedy::smaller_step);
    text = error.what();
  }
  allocator.set_limit(0);
  for (const char* part :
       {"16.0 MiB asked for by 'conv2/conv2d'", "activation", "conv1/conv2d", "smaller batch"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
}

class Threads : public testing::Test {
 protected:
  ~Threads() override { set_thread_count(before_); }
  int before_ = thread_count();
};

TEST_F(Threads, RunEveryChunkOnce) {
  for (int threads : {1, 2, 4}) {
    set_thread_count(threads);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<std::atomic<int>> seen(97);
      parallel_for(97, [&](std::int64_t chunk) { ++seen[static_cast<std::size_t>(chunk)]; });
      for (const auto& count : seen) ASSERT_EQ(count.load(), 1);
    }
    std::atomic<std::int64_t> sum{0};
    parallel_ranges(1001, 10, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum.load(), 1001);
  }
}

TEST_F(Threads, NestAndShareAndPassOnExceptions) {
  set_thread_count(3);
  std::atomic<int> inner{0};
  parallel_for(8, [&](std::int64_t) { parallel_for(8, [&](std::int64_t) { ++inner; }); });
  EXPECT_EQ(inner.load(), 64);

  std::atomic<int> both{0};
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) parallel_for(16, [&](std::int64_t) { ++both; });
  });
  for (int i = 0; i < 100; ++i) parallel_for(16, [&](std::int64_t) { ++both; });
  other.join();
  EXPECT_EQ(both.load(), 3200);

  EXPECT_THROW(parallel_for(16,
                            [](std::int64_t chunk) {
                              if (chunk == 5) throw usage_error("chunk {}", chunk);
                            }),
               Error);
  std::atomic<int> after{0};
  parallel_for(16, [&](std::int64_t) { ++after; });
  EXPECT_EQ(after.load(), 16);
  EXPECT_THROW(set_thread_count(0), Error);
}

TEST(Isa, IsCappedAtWhatTheProcessorHas) {
  const Isa best = isa();
  set_isa(Isa::baseline);
  EXPECT_EQ(isa(), Isa::baseline);
  set_isa(Isa::avx512);
  EXPECT_GE(isa(), best);
  set_isa(best);
}

}  // namespace
}  // namespace tapescope
