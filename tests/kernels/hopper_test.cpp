// The emulator's Hopper: what copies by tensor map and wgmma promise holds.
#include <cmath>

#include "tests/kernels/hopper_testing.h"

namespace tapescope::emulated {
namespace {

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
  const ImageWindows windows{2, 9, 9, 8, 9, 9, 1, 1, 1, 1};
  EXPECT_TRUE(windows_fit(windows));
  EXPECT_EQ(message_of([&] { check(windows_view(data, windows, 64)); }), "");
  ImageWindows far = windows;
  far.pad_w = 129;
  EXPECT_FALSE(windows_fit(far));
  EXPECT_NE(message_of([&] { check(windows_view(data, far, 64)); }).find("box corner is -129"),
            std::string::npos);
  ImageWindows long_steps = windows;
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

}  // namespace
}  // namespace tapescope::emulated
