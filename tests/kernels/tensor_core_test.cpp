// Tensor-core multiply-adds, ldmatrix and cp.async against plain loops. Fragments are filled here
// from PTX's tables, written down element by element.
#include "kernels/common/tensor_core.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "engine/philox.h"

namespace tapescope::emulated {
namespace {

const Queue kQueue{Device::emulated()};

// PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type": element i of a lane.
struct Place {
  int row, column;
};
Place a16(int lane, int i) {
  const int group = lane >> 2, thread = lane & 3;
  return {i == 0 || i == 1 || i == 4 || i == 5 ? group : group + 8,
          thread * 2 + (i & 1) + (i >= 4 ? 8 : 0)};
}
Place b16(int lane, int i) { return {(lane & 3) * 2 + (i & 1) + (i >= 2 ? 8 : 0), lane >> 2}; }
Place c16(int lane, int i) {
  return {i < 2 ? lane >> 2 : (lane >> 2) + 8, (lane & 3) * 2 + (i & 1)};
}
// The same for mma.m16n8k8 with .tf32.
Place a8(int lane, int i) {
  return {i == 0 || i == 2 ? lane >> 2 : (lane >> 2) + 8, i < 2 ? lane & 3 : (lane & 3) + 4};
}
Place b8(int lane, int i) { return {i == 0 ? lane & 3 : (lane & 3) + 4, lane >> 2}; }

__global__ void run_bf16(const unsigned* a, const unsigned* b, float* d) {
  unsigned x[4], y[2];
  float z[4];
  for (int i = 0; i < 4; ++i) x[i] = a[threadIdx.x * 4 + static_cast<unsigned>(i)];
  for (int i = 0; i < 2; ++i) y[i] = b[threadIdx.x * 2 + static_cast<unsigned>(i)];
  for (int i = 0; i < 4; ++i) z[i] = d[threadIdx.x * 4 + static_cast<unsigned>(i)];
  mma_m16n8k16_bf16(z, x, y);
  for (int i = 0; i < 4; ++i) d[threadIdx.x * 4 + static_cast<unsigned>(i)] = z[i];
}
__global__ void run_tf32(const unsigned* a, const unsigned* b, float* d) {
  unsigned x[4], y[2];
  float z[4];
  for (int i = 0; i < 4; ++i) x[i] = a[threadIdx.x * 4 + static_cast<unsigned>(i)];
  for (int i = 0; i < 2; ++i) y[i] = b[threadIdx.x * 2 + static_cast<unsigned>(i)];
  for (int i = 0; i < 4; ++i) z[i] = d[threadIdx.x * 4 + static_cast<unsigned>(i)];
  mma_m16n8k8_tf32(z, x, y);
  for (int i = 0; i < 4; ++i) d[threadIdx.x * 4 + static_cast<unsigned>(i)] = z[i];
}

// Small integers: every product and sum is exact in any format.
float whole(PhiloxStream& random) { return static_cast<float>(random.below(17)) - 8; }

template <int K, class A, class B, class Kernel>
void check_mma(A&& a_place, B&& b_place, int a_elements, int b_elements, bool pairs, Kernel run) {
  PhiloxStream random(K);
  float a[16][K], b[K][8], c[16][8];
  for (auto& row : a)
    for (float& x : row) x = whole(random);
  for (auto& row : b)
    for (float& x : row) x = whole(random);
  for (auto& row : c)
    for (float& x : row) x = whole(random);
  std::vector<unsigned> fragments_a(32 * 4), fragments_b(32 * 2);
  std::vector<float> d(32 * 4);
  const auto put = [&](std::vector<unsigned>& to, int count, int lane, int i, float x) {
    if (pairs) {
      to[static_cast<std::size_t>(lane * count + i / 2)] |= unsigned{bf16(x).bits} << (i % 2 * 16);
    } else {
      to[static_cast<std::size_t>(lane * count + i)] = to_tf32(x);
    }
  };
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < a_elements; ++i) {
      const Place at = a_place(lane, i);
      put(fragments_a, 4, lane, i, a[at.row][at.column]);
    }
    for (int i = 0; i < b_elements; ++i) {
      const Place at = b_place(lane, i);
      put(fragments_b, 2, lane, i, b[at.row][at.column]);
    }
    for (int i = 0; i < 4; ++i) {
      const Place at = c16(lane, i);
      d[static_cast<std::size_t>(lane * 4 + i)] = c[at.row][at.column];
    }
  }
  run(fragments_a.data(), fragments_b.data(), d.data());
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const Place at = c16(lane, i);
      float want = c[at.row][at.column];
      for (int k = 0; k < K; ++k) want += a[at.row][k] * b[k][at.column];
      EXPECT_EQ(d[static_cast<std::size_t>(lane * 4 + i)], want) << at.row << " " << at.column;
    }
  }
}

TEST(TensorCore, MultiplyAddOfBf16) {
  check_mma<16>(a16, b16, 8, 4, true, [](const unsigned* a, const unsigned* b, float* d) {
    launch<run_bf16>(kQueue, 1, 32, 0, a, b, d);
  });
}

TEST(TensorCore, MultiplyAddOfTf32) {
  check_mma<8>(a8, b8, 4, 2, false, [](const unsigned* a, const unsigned* b, float* d) {
    launch<run_tf32>(kQueue, 1, 32, 0, a, b, d);
  });
}

TEST(TensorCore, Tf32RoundsToTenBitsAwayFromZero) {
  EXPECT_EQ(to_tf32(1.0f), 0x3f800000u);
  EXPECT_EQ(to_tf32(1.0f + 0x1p-11f), 0x3f802000u);   // a tie
  EXPECT_EQ(to_tf32(-1.0f - 0x1p-11f), 0xbf802000u);  // away from zero
  EXPECT_EQ(to_tf32(1.0f + 0x1p-12f), 0x3f800000u);
  EXPECT_EQ(to_tf32(__builtin_inff()), 0x7f800000u);
}

// matrices: four of 8 x 8, one behind the other; out: {2, 32, 4}
__global__ void run_ldmatrix(const std::uint16_t* matrices, unsigned* out) {
  TAPESCOPE_SHARED(std::uint16_t, tile, [32 * 8]);
  for (int i = 0; i < 8; ++i) tile[threadIdx.x * 8 + i] = matrices[threadIdx.x * 8 + i];
  __syncthreads();
  unsigned plain[4], turned[4];
  ldmatrix_x4<false>(plain, &tile[threadIdx.x * 8]);
  ldmatrix_x4<true>(turned, &tile[threadIdx.x * 8]);
  for (unsigned i = 0; i < 4; ++i) {
    out[threadIdx.x * 4 + i] = plain[i];
    out[128 + threadIdx.x * 4 + i] = turned[i];
  }
}

TEST(TensorCore, LdmatrixGivesEachLaneItsPair) {
  std::vector<std::uint16_t> matrices(4 * 64);
  for (std::size_t i = 0; i < matrices.size(); ++i) matrices[i] = static_cast<std::uint16_t>(i);
  std::vector<unsigned> out(256);
  launch<run_ldmatrix>(kQueue, 1, 32, 0, static_cast<const std::uint16_t*>(matrices.data()),
                       out.data());
  for (unsigned lane = 0; lane < 32; ++lane) {
    for (unsigned m = 0; m < 4; ++m) {
      const unsigned row = lane / 4, column = lane % 4 * 2;
      const unsigned first = m * 64 + row * 8 + column;
      EXPECT_EQ(out[lane * 4 + m], first | (first + 1) << 16);
      const unsigned turned = m * 64 + column * 8 + row;
      EXPECT_EQ(out[128 + lane * 4 + m], turned | (turned + 8) << 16);
    }
  }
}

// Two groups of copies. `waits` counts those that are left out at the first look.
template <int pending>
__global__ void run_copies(const float* from, float* out) {
  TAPESCOPE_SHARED(float, tile, [8]);
  cp_async_16(&tile[0], from);
  cp_async_commit();
  cp_async_16(&tile[4], from + 4);
  cp_async_commit();
  cp_async_wait<pending>();
  for (int i = 0; i < 8; ++i) out[i] = tile[i];
  cp_async_wait<0>();
}

TEST(TensorCore, ACopyIsSeenAfterItsWaitAndNotBefore) {
  alignas(16) const float from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  float out[8];
  launch<run_copies<0>>(kQueue, 1, 1, 0, &from[0], &out[0]);
  EXPECT_EQ(std::memcmp(out, from, sizeof from), 0);
  launch<run_copies<1>>(kQueue, 1, 1, 0, &from[0], &out[0]);
  EXPECT_EQ(out[3], 4.0f);
  EXPECT_TRUE(std::isnan(out[4]));  // what fresh shared memory holds
  launch<run_copies<2>>(kQueue, 1, 1, 0, &from[0], &out[0]);
  EXPECT_TRUE(std::isnan(out[0]));
}

// Reads what a copy is about to overwrite: right where the copy lands late, and a race all the
// same.
__global__ void run_early_refill(const float* from, float* out) {
  TAPESCOPE_SHARED(float, tile, [4]);
  for (int i = 0; i < 4; ++i) tile[i] = -1;
  cp_async_16(&tile[0], from);
  cp_async_commit();
  out[0] = tile[0];
  cp_async_wait<0>();
}

TEST(TensorCore, ACopyMayLandBeforeItsWait) {
  alignas(16) const float from[4] = {1, 2, 3, 4};
  const emulator::Schedule before = emulator::schedule();
  const auto seen = [&](emulator::Schedule schedule) {
    emulator::set_schedule(schedule);
    float out[1];
    launch<run_early_refill>(kQueue, 1, 1, 0, &from[0], &out[0]);
    emulator::set_schedule(before);
    return out[0];
  };
  EXPECT_EQ(seen({.order = emulator::Order::forward}), -1.0f);
  EXPECT_EQ(seen({.order = emulator::Order::reverse}), 1.0f);
  int early = 0;
  for (std::uint64_t seed = 0; seed < 32; ++seed) {
    early += seen({.order = emulator::Order::shuffled, .seed = seed}) == 1.0f;
  }
  EXPECT_GT(early, 4);
  EXPECT_LT(early, 28);
}

}  // namespace
}  // namespace tapescope::emulated
