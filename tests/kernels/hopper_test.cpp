// The emulator's Hopper: what mbarriers, copies by tensor map and wgmma promise holds, and each way
// to use them wrongly is found by the check that is meant for it.
#include "kernels/common/hopper.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "engine/philox.h"

namespace tapescope::emulated {
namespace {

const Queue kQueue{Device::emulated()};

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Under ThreadSanitizer every CUDA thread is a thread, and memory has no second view.
#if defined(__SANITIZE_THREAD__)
#define TAPESCOPE_NEEDS_FIBERS() GTEST_SKIP() << "not under ThreadSanitizer"
#else
#define TAPESCOPE_NEEDS_FIBERS()
#endif

class Hopper : public testing::Test {
 protected:
  void TearDown() override { emulator::set_schedule(before_); }
  emulator::Schedule before_ = emulator::schedule();
  // In forward order, in reverse order, and in some shuffled ones.
  void in_all_orders(const std::function<void(bool late)>& f) {
    using emulator::Order;
    if (before_.kind != emulator::Schedule::Kind::fibers) return f(false);
    for (const Order order : {Order::forward, Order::reverse}) {
      SCOPED_TRACE(order == Order::forward ? "forward" : "reverse");
      emulator::set_schedule({before_.kind, order, 0});
      f(order == Order::forward);
    }
    for (std::uint64_t seed = 1; seed < 5; ++seed) {
      SCOPED_TRACE(seed);
      emulator::set_schedule({before_.kind, Order::shuffled, seed});
      f(false);
    }
  }
};

// Small whole numbers: every product and sum of them is exact.
std::vector<bf16> whole_numbers(std::size_t count, std::uint64_t seed) {
  PhiloxStream random(seed);
  std::vector<bf16> values(count);
  for (bf16& x : values) x = bf16(static_cast<float>(random.below(17)) - 8);
  return values;
}
float at(const std::vector<bf16>& values, int i) {
  return static_cast<float>(values[static_cast<std::size_t>(i)]);
}

// --- copies ---

// Copies one tile and writes shared memory out as it lies there.
__global__ void show_tile(TensorMap map, std::uint16_t* out, int bytes, int x, int y) {
  TAPESCOPE_SWIZZLED_SHARED(tile);
  TAPESCOPE_SHARED(Mbarrier, barrier, [1]);
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    publish_barriers();
    mbarrier_arrive_expect(barrier, static_cast<unsigned>(bytes));
    copy_tile(tile, map, barrier, x, y);
  }
  __syncthreads();
  mbarrier_wait(barrier, 0);
  for (int i = static_cast<int>(threadIdx.x); i < bytes / 2; i += 32) {
    out[i] = reinterpret_cast<const std::uint16_t*>(tile)[i];
  }
}

// Row r of a tile is 128 bytes; its eighth of 16 bytes number p lies in place p ^ r % 8.
TEST_F(Hopper, ATiledCopySwizzlesAndFillsWithZeros) {
  const int rows = 21, columns = 80;
  std::vector<bf16> matrix(rows * columns);
  for (std::size_t i = 0; i < matrix.size(); ++i)
    matrix[i].bits = static_cast<std::uint16_t>(i + 1);
  in_all_orders([&](bool) {
    for (const auto& [x, y] : {std::pair{0, 0}, {64, 8}, {16, 16}, {64, 20}}) {
      std::vector<std::uint16_t> out(16 * 64, 0xEEEE);
      launch_on_hopper<show_tile>(kQueue, 1, 32, 16 * 128,
                                  tensor_map(matrix_view(matrix.data(), rows, columns, 16)),
                                  out.data(), 16 * 128, x, y);
      for (int r = 0; r < 16; ++r) {
        for (int c = 0; c < 64; ++c) {
          const bool inside = y + r < rows && x + c < columns;
          const int place = r * 64 + ((c / 8) ^ (r % 8)) * 8 + c % 8;
          ASSERT_EQ(out[static_cast<std::size_t>(place)],
                    inside ? (y + r) * columns + x + c + 1 : 0)
              << "row " << r << " column " << c;
        }
      }
    }
  });
}

__global__ void show_pixels(TensorMap map, std::uint16_t* out, int bytes, int c, int w, int h,
                            int n, int offset_w, int offset_h) {
  TAPESCOPE_SWIZZLED_SHARED(tile);
  TAPESCOPE_SHARED(Mbarrier, barrier, [1]);
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    publish_barriers();
    mbarrier_arrive_expect(barrier, static_cast<unsigned>(bytes));
    copy_pixels(tile, map, barrier, c, w, h, n, offset_w, offset_h);
  }
  __syncthreads();
  mbarrier_wait(barrier, 0);
  for (int i = static_cast<int>(threadIdx.x); i < bytes / 2; i += 32) {
    out[i] = reinterpret_cast<const std::uint16_t*>(tile)[i];
  }
}

TEST_F(Hopper, AnIm2colCopyReadsTheWindowsOfAConvolution) {
  struct Shape {
    int N, H, W, C, kernel, stride_h, stride_w, pad, dilation;
  };
  for (const Shape& s : {Shape{2, 5, 6, 8, 3, 1, 1, 1, 1}, Shape{3, 7, 6, 72, 3, 2, 2, 1, 1},
                         Shape{2, 8, 9, 16, 2, 2, 3, 0, 2}, Shape{2, 6, 5, 8, 1, 1, 1, 0, 1},
                         Shape{2, 6, 7, 8, 1, 2, 1, 1, 1}}) {
    const int reach = s.dilation * (s.kernel - 1);
    const int P = (s.H + 2 * s.pad - reach - 1) / s.stride_h + 1;
    const int Q = (s.W + 2 * s.pad - reach - 1) / s.stride_w + 1;
    std::vector<bf16> x(static_cast<std::size_t>(s.N * s.H * s.W * s.C));
    for (std::size_t i = 0; i < x.size(); ++i) x[i].bits = static_cast<std::uint16_t>(i + 1);
    const TensorMap map = tensor_map(windows_view(
        x.data(), {s.N, s.H, s.W, s.C, P, Q, s.stride_h, s.stride_w, s.pad, s.pad}, 32));
    for (const int first : {0, 5, s.N * P * Q - 3}) {
      for (int tap = 0; tap < s.kernel * s.kernel; ++tap) {
        for (int c0 = 0; c0 < s.C; c0 += 64) {
          const int r = tap / s.kernel, c = tap % s.kernel;
          std::vector<std::uint16_t> out(32 * 64, 0xEEEE);
          launch_on_hopper<show_pixels>(kQueue, 1, 32, 32 * 128, map, out.data(), 32 * 128, c0,
                                        first % Q * s.stride_w - s.pad,
                                        first / Q % P * s.stride_h - s.pad, first / Q / P,
                                        c * s.dilation, r * s.dilation);
          for (int i = 0; i < 32; ++i) {
            const int pixel = first + i, n = pixel / Q / P;
            const int h = pixel / Q % P * s.stride_h - s.pad + r * s.dilation;
            const int w = pixel % Q * s.stride_w - s.pad + c * s.dilation;
            for (int k = 0; k < 64; ++k) {
              const bool inside = n < s.N && h >= 0 && h < s.H && w >= 0 && w < s.W && c0 + k < s.C;
              const int want = inside ? ((n * s.H + h) * s.W + w) * s.C + c0 + k + 1 : 0;
              ASSERT_EQ(out[static_cast<std::size_t>(i * 64 + ((k / 8) ^ (i % 8)) * 8 + k % 8)],
                        static_cast<std::uint16_t>(want))
                  << "pixel " << pixel << " tap " << tap << " channel " << c0 + k;
            }
          }
        }
      }
    }
  }
}

TEST(TensorMaps, WhatTheHardwareCannotTakeIsRefused) {
  alignas(16) static bf16 data[4096] = {};
  const TensorView good = matrix_view(data, 32, 64, 16);
  EXPECT_EQ(message_of([&] { check(good); }), "");
  const auto refused = [&](const std::function<void(TensorView&)>& spoil) {
    TensorView v = good;
    spoil(v);
    return message_of([&] { check(v); });
  };
  EXPECT_NE(refused([](TensorView& v) { v.data = data + 1; }).find("address"), std::string::npos);
  EXPECT_NE(refused([](TensorView& v) { v.stride[1] = 120; }).find("stride"), std::string::npos);
  EXPECT_NE(refused([](TensorView& v) { v.box[1] = 257; }).find("box is 257"), std::string::npos);
  EXPECT_NE(refused([](TensorView& v) { v.box[0] = 128; }).find("inner box"), std::string::npos);
  EXPECT_NE(refused([](TensorView& v) { v.extent[1] = 0; }).find("extent"), std::string::npos);
  const Windows windows{2, 9, 9, 8, 9, 9, 1, 1, 1, 1};
  EXPECT_TRUE(windows_fit(windows));
  EXPECT_EQ(message_of([&] { check(windows_view(data, windows, 64)); }), "");
  Windows far = windows;
  far.pad_w = 129;
  EXPECT_FALSE(windows_fit(far));
  EXPECT_NE(message_of([&] { check(windows_view(data, far, 64)); }).find("box corner is -129"),
            std::string::npos);
  Windows long_steps = windows;
  long_steps.stride_h = 9;
  EXPECT_FALSE(windows_fit(long_steps));
}

// --- descriptors and wgmma ---

TEST(Wgmma, DescriptorsAreThoseOfTheTable) {
  // start >> 4 in bits 0 to 13, leading >> 4 from 16, stride >> 4 from 32, swizzle in 62 and 63.
  static_assert(matrix_descriptor<true>(0x2400) == 0x4000004000010240ull);
  static_assert(matrix_descriptor<false>(0x2400) == 0x4000004002000240ull);
  static_assert(kDescriptorStep<true> == 2 && kDescriptorStep<false> == 128);
  EXPECT_EQ(matrix_descriptor<true>(0x38c00) & 0x3fff, 0x38c0u);
}

// Threads write both tiles where the swizzle wants them, then multiply. a {64, 16}, b {columns,
// 16}; d {128, columns / 2}, added to.
template <int columns, bool turned_a, bool turned_b, bool fenced>
__global__ void multiply(const bf16* a, const bf16* b, float* d) {
  TAPESCOPE_SWIZZLED_SHARED(tiles);
  const auto place = [](bool turned, int outer, int k) {
    // In blocks of 64 of the outer index, rows of 128 bytes.
    const int row = turned ? k : outer % 64, column = turned ? outer % 64 : k;
    return outer / 64 * 8192 + row * 128 + ((column / 8) ^ (row % 8)) * 16 + column % 8 * 2;
  };
  const int t = static_cast<int>(threadIdx.x);
  const auto fill = [&](unsigned char* to, const bf16* from, int outers, bool turned) {
    for (int i = t; i < outers * 16; i += 128) {
      *reinterpret_cast<bf16*>(to + place(turned, i / 16, i % 16)) = from[i];
    }
  };
  fill(tiles, a, 64, turned_a);
  fill(tiles + 8192, b, columns, turned_b);
  if (fenced) fence_proxy_async();
  __syncthreads();
  float sums[columns / 2];
  for (int i = 0; i < columns / 2; ++i) sums[i] = d[t * (columns / 2) + i];
  wgmma_fence();
  wgmma_bf16<columns, turned_a, turned_b>(
      sums, matrix_descriptor<!turned_a>(shared_address(tiles)),
      matrix_descriptor<!turned_b>(shared_address(tiles + 8192)), true);
  wgmma_commit();
  wgmma_wait<0>();
  for (int i = 0; i < columns / 2; ++i) d[t * (columns / 2) + i] = sums[i];
}

// PTX ISA, "Register fragments and shared memory matrix layouts": D of m64nNk16.
struct Place {
  int row, column;
};
Place place_of(int thread, int i) {
  const int warp = thread >> 5, lane = thread & 31;
  return {warp * 16 + (lane >> 2) + ((i & 2) != 0 ? 8 : 0),
          (i >> 2) * 8 + (lane & 3) * 2 + (i & 1)};
}

template <int columns, bool turned_a, bool turned_b, bool fenced = true>
int wrong_results() {
  const auto a = whole_numbers(64 * 16, 1), b = whole_numbers(columns * 16, 2);
  const auto c = whole_numbers(64 * columns, 3);
  std::vector<float> d(64 * columns);
  for (int t = 0; t < 128; ++t) {
    for (int i = 0; i < columns / 2; ++i) {
      const Place p = place_of(t, i);
      d[static_cast<std::size_t>(t * (columns / 2) + i)] = at(c, p.row * columns + p.column);
    }
  }
  launch_on_hopper<multiply<columns, turned_a, turned_b, fenced>>(
      kQueue, 1, 128, 8192 * (1 + columns / 64), static_cast<const bf16*>(a.data()),
      static_cast<const bf16*>(b.data()), d.data());
  int wrong = 0;
  for (int t = 0; t < 128; ++t) {
    for (int i = 0; i < columns / 2; ++i) {
      const Place p = place_of(t, i);
      float want = at(c, p.row * columns + p.column);
      for (int k = 0; k < 16; ++k) want += at(a, p.row * 16 + k) * at(b, p.column * 16 + k);
      wrong += d[static_cast<std::size_t>(t * (columns / 2) + i)] != want;
    }
  }
  return wrong;
}

TEST_F(Hopper, AWarpgroupMultipliesFromSharedMemory) {
  in_all_orders([](bool) {
    EXPECT_EQ((wrong_results<64, false, false>()), 0);
    EXPECT_EQ((wrong_results<64, true, false>()), 0);
    EXPECT_EQ((wrong_results<128, false, true>()), 0);
    EXPECT_EQ((wrong_results<256, false, false>()), 0);
    EXPECT_EQ((wrong_results<256, true, true>()), 0);
  });
}

TEST_F(Hopper, WhatThreadsWroteIsNotSeenWithoutTheProxyFence) {
  TAPESCOPE_NEEDS_FIBERS();
  in_all_orders([](bool) { EXPECT_EQ((wrong_results<64, false, false, false>()), 64 * 64); });
}

// --- a ring of stages, and all that can be wrong with it ---

enum class Fault {
  none,
  wrong_phase,             // the consumer never turns its parity
  barriers_not_published,  // no fence between mbarrier_init and the first copy
  full_not_waited,
  refilled_early,    // the producer does not wait for empty
  released_early,    // the consumer tells empty before its wgmma is done
  not_committed,     // the wait finds nothing to wait for
  sums_read_early,   // no wgmma_wait before d is used
  no_wgmma_fence,    // between using d and the next wgmma
  other_descriptor,  // of one lane
  stride_of_512,     // in the descriptor
  leading_offset,    // of a K-major tile
  no_swizzle_in_descriptor,
  base_offset,
  unused_bit,
  no_swizzle_in_map,
  fewer_bytes_expected,
  more_bytes_expected,
  more_arrivals_expected,
  arrives_twice,
  never_waited,  // for the last copy
  unaligned_stage,
  barrier_not_initialised,
  part_of_a_warpgroup,
};
constexpr int kSteps = 5;

// One warpgroup produces, one consumes: c {64, 64} = a {64, 64 * kSteps} * b {64, 64 * kSteps}^T,
// twice, summed anew the second time.
template <Fault fault>
__global__ void ring(TensorMap a, TensorMap b, float* c) {
  TAPESCOPE_SWIZZLED_SHARED(shared);
  TAPESCOPE_SHARED(Mbarrier, full, [2]);
  TAPESCOPE_SHARED(Mbarrier, empty, [2]);
  unsigned char* const stages = shared + (fault == Fault::unaligned_stage ? 512 : 0);
  if (threadIdx.x == 0) {
    for (int s = 0; s < 2; ++s) {
      mbarrier_init(full + s, 1);
      if (fault != Fault::barrier_not_initialised) {
        mbarrier_init(empty + s, fault == Fault::more_arrivals_expected ? 5 : 4);
      }
    }
    if (fault != Fault::barriers_not_published) publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    if (threadIdx.x != 0) return;
    const int copies = 2 * kSteps + (fault == Fault::never_waited ? 1 : 0);
    for (int i = 0; i < copies; ++i) {
      const int s = i % 2;
      const unsigned round = static_cast<unsigned>(i / 2 % 2);
      if (fault != Fault::refilled_early) mbarrier_wait(empty + s, round ^ 1u);
      constexpr unsigned kBytes = fault == Fault::fewer_bytes_expected  ? 8192
                                  : fault == Fault::more_bytes_expected ? 16400
                                                                        : 16384;
      mbarrier_arrive_expect(full + s, kBytes);
      copy_tile(stages + s * 16384, a, full + s, i % kSteps * 64, 0);
      copy_tile(stages + s * 16384 + 8192, b, full + s, i % kSteps * 64, 0);
    }
    return;
  }
  if (fault == Fault::part_of_a_warpgroup && threadIdx.x >= 224) return;
  const bool tells = threadIdx.x % 32 == 0;
  float d[32];
  for (int i = 0; i < 2 * kSteps; ++i) {
    const int s = i % 2;
    const unsigned round = fault == Fault::wrong_phase ? 0u : static_cast<unsigned>(i / 2 % 2);
    if (fault != Fault::full_not_waited) mbarrier_wait(full + s, round);
    const unsigned from = shared_address(stages + s * 16384);
    std::uint64_t tile_a = matrix_descriptor<true>(from);
    const std::uint64_t tile_b = matrix_descriptor<true>(from + 8192);
    if (fault == Fault::other_descriptor && threadIdx.x == 200) tile_a += 2;
    if (fault == Fault::stride_of_512) tile_a -= std::uint64_t{32} << 32;
    if (fault == Fault::leading_offset) tile_a += std::uint64_t{63} << 16;
    if (fault == Fault::no_swizzle_in_descriptor) tile_a &= ~(std::uint64_t{3} << 62);
    if (fault == Fault::base_offset) tile_a |= std::uint64_t{1} << 49;
    if (fault == Fault::unused_bit) tile_a |= std::uint64_t{1} << 46;
    if (fault != Fault::no_wgmma_fence || i % kSteps == 0) wgmma_fence();
    for (unsigned k = 0; k < 4; ++k) {
      wgmma_bf16<64, false, false>(d, tile_a + 2 * k, tile_b + 2 * k, i % kSteps > 0 || k > 0);
    }
    if (fault != Fault::not_committed) wgmma_commit();
    if (fault == Fault::released_early && tells) mbarrier_arrive(empty + s);
    if (fault != Fault::sums_read_early || i + 1 < 2 * kSteps) wgmma_wait<0>();
    if (fault != Fault::released_early && tells) mbarrier_arrive(empty + s);
    if (fault == Fault::arrives_twice && tells) mbarrier_arrive(empty + s);
  }
  for (int i = 0; i < 32; ++i) {
    const int t = static_cast<int>(threadIdx.x % 128);
    const int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8,
              column = i / 4 * 8 + t % 4 * 2 + i % 2;
    c[row * 64 + column] = d[i];
  }
  if (fault == Fault::sums_read_early) wgmma_wait<0>();
}

// What a launch says, and how many results are wrong.
struct Outcome {
  std::string text;
  int wrong;
};
template <Fault fault>
Outcome run_ring() {
  const int depth = 64 * kSteps;
  const auto a = whole_numbers(static_cast<std::size_t>(64 * depth), 4),
             b = whole_numbers(static_cast<std::size_t>(64 * depth), 5);
  std::vector<float> c(64 * 64, -1);
  TensorView of_a = matrix_view(a.data(), 64, depth, 64);
  of_a.swizzled = fault != Fault::no_swizzle_in_map;
  Outcome outcome{message_of([&] {
                    launch_on_hopper<ring<fault>>(
                        kQueue, 1, 256, 2 * 16384 + 1024, tensor_map(of_a),
                        tensor_map(matrix_view(b.data(), 64, depth, 64)), c.data());
                  }),
                  0};
  for (int m = 0; m < 64; ++m) {
    for (int n = 0; n < 64; ++n) {
      float want = 0;
      for (int k = 0; k < depth; ++k) want += at(a, m * depth + k) * at(b, n * depth + k);
      outcome.wrong += c[static_cast<std::size_t>(m * 64 + n)] != want;
    }
  }
  return outcome;
}

TEST_F(Hopper, ARingOfStagesIsRightInEveryOrder) {
  in_all_orders([](bool) {
    const Outcome outcome = run_ring<Fault::none>();
    EXPECT_EQ(outcome.text, "");
    EXPECT_EQ(outcome.wrong, 0);
  });
}

TEST_F(Hopper, ThreadsOfTheSystemRunARingToo) {
  emulator::set_schedule({emulator::Schedule::Kind::os_threads, emulator::Order::forward, 0});
  const Outcome outcome = run_ring<Fault::none>();
  EXPECT_EQ(outcome.text, "");
  EXPECT_EQ(outcome.wrong, 0);
}

class HopperFaults : public Hopper {
 protected:
  // In every order, with kernel and thread.
  template <Fault fault>
  void reported(const char* text) {
    in_all_orders([&](bool) {
      const Outcome outcome = run_ring<fault>();
      EXPECT_NE(outcome.text.find("[ring<"), std::string::npos) << outcome.text;
      EXPECT_NE(outcome.text.find(text), std::string::npos) << outcome.text;
    });
  }
  // Wrong results (or a report) where everything asked for happens as late as it may.
  template <Fault fault>
  void seen_late() {
    in_all_orders([&](bool late) {
      const Outcome outcome = run_ring<fault>();
      if (late) {
        EXPECT_TRUE(outcome.wrong > 0 || !outcome.text.empty());
      }
    });
  }
};

TEST_F(HopperFaults, OfPhases) {
  TAPESCOPE_NEEDS_FIBERS();
  reported<Fault::wrong_phase>("twice running: the parity is wrong");
  reported<Fault::more_arrivals_expected>("1 of 5 arrivals");
  reported<Fault::arrives_twice>("");  // too many arrivals, or a phase that ends early
  reported<Fault::barrier_not_initialised>("was not initialised");
}

TEST_F(HopperFaults, OfFences) {
  TAPESCOPE_NEEDS_FIBERS();
  reported<Fault::barriers_not_published>("publish_barriers() is missing");
  reported<Fault::no_wgmma_fence>("without a wgmma_fence");
}

TEST_F(HopperFaults, OfStages) {
  TAPESCOPE_NEEDS_FIBERS();
  seen_late<Fault::full_not_waited>();
  seen_late<Fault::released_early>();
  seen_late<Fault::refilled_early>();
  reported<Fault::unaligned_stage>("not aligned to 1024");
}

TEST_F(HopperFaults, OfBytes) {
  TAPESCOPE_NEEDS_FIBERS();
  reported<Fault::fewer_bytes_expected>("expects 0 more in this phase");
  reported<Fault::more_bytes_expected>("wants 0 of 1 arrivals and 16 bytes");
}

TEST_F(HopperFaults, OfWaits) {
  TAPESCOPE_NEEDS_FIBERS();
  in_all_orders([](bool) {
    const Outcome outcome = run_ring<Fault::sums_read_early>();
    EXPECT_EQ(outcome.wrong, 64 * 64);  // NaN, all of them
  });
  reported<Fault::not_committed>("before its wgmmas were committed and waited for");
  reported<Fault::part_of_a_warpgroup>("of the 128 threads of its warpgroup have come");
  in_all_orders([](bool late) {
    const std::string text = run_ring<Fault::never_waited>().text;
    if (late) {
      EXPECT_NE(text.find("still under way when the block ended"), std::string::npos) << text;
    }
  });
}

TEST_F(HopperFaults, OfDescriptorsAndSwizzles) {
  TAPESCOPE_NEEDS_FIBERS();
  reported<Fault::other_descriptor>("with different descriptors");
  reported<Fault::leading_offset>("leading offset, which is not used");
  reported<Fault::no_swizzle_in_descriptor>("does not say 128-byte swizzle");
  reported<Fault::base_offset>("has a base offset");
  reported<Fault::unused_bit>("has bits set that mean nothing");
  in_all_orders([](bool) {
    EXPECT_GT(run_ring<Fault::stride_of_512>().wrong, 64 * 32);
    EXPECT_GT(run_ring<Fault::no_swizzle_in_map>().wrong, 64 * 32);
  });
}

}  // namespace
}  // namespace tapescope::emulated
