// The matrix products of common/gemm.h and common/tensor_gemm.h tile by tile, against plain loops
// in double: which tile a rung takes depends on sizes that are too large for the emulator. And what
// a strided data gradient is cut into, against its definition.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "engine/philox.h"
#include "kernels/common/gemm.h"
#include "kernels/common/tensor_gemm.h"
#include "kernels/conv2d/implicit_phases.h"

namespace tapescope::emulated {
namespace {

const Queue kQueue{Device::emulated()};

// Storage that begins on 16 bytes, or on none of them.
template <class T>
class Numbers {
 public:
  explicit Numbers(int n, bool even = true) : bytes_(static_cast<std::size_t>(n) + 16) {
    while (reinterpret_cast<std::uintptr_t>(bytes_.data() + skip_) % 16 != 0) ++skip_;
    skip_ += even ? 0 : 1;
  }
  T* data() { return bytes_.data() + skip_; }
  T& operator[](int i) { return data()[i]; }

 private:
  std::vector<T> bytes_;
  std::size_t skip_ = 0;
};

// Small integers: every product and sum is exact in f32, and so is what bf16 and tf32 hold.
template <class T>
Numbers<T> whole_numbers(int n, std::uint32_t seed, bool even = true) {
  Numbers<T> x(n, even);
  PhiloxStream random(seed);
  for (int i = 0; i < n; ++i) x[i] = static_cast<T>(static_cast<float>(random.below(9)) - 4);
  return x;
}

// Multiplies {M, K} by {N, K} in pieces of `length`, all ways to store the operands, by
// `go(product, pieces, length)`.
template <class T, class Go>
void check_product(int M, int N, int K, bool even, Go&& go) {
  auto a = whole_numbers<T>(M * K, 1, even), b = whole_numbers<T>(N * K, 2, even);
  std::vector<float> bias(static_cast<std::size_t>(N));
  for (int n = 0; n < N; ++n) bias[static_cast<std::size_t>(n)] = static_cast<float>(n % 7) - 3;
  const auto check = [&](const auto& x, const auto& y, auto&& a_at, auto&& b_at) {
    using X = std::remove_cvref_t<decltype(x)>;
    using Y = std::remove_cvref_t<decltype(y)>;
    Numbers<float> c(M * N, even);
    const StoreMatrix<float> store{c.data(), bias.data(), M, N};
    go(Product<X, Y, StoreMatrix<float>>{x, y, store, K}, 1, 0x7fffffff);
    constexpr int kLength = 64;
    const int pieces = std::max(1, (K + kLength - 1) / kLength);
    Numbers<float> parts(pieces * M * N, even);
    go(Product<X, Y, StorePieces>{x, y, StorePieces{parts.data(), M, N}, K}, pieces, kLength);
    int wrong = 0;
    for (int m = 0; m < M; ++m) {
      for (int n = 0; n < N; ++n) {
        double all = 0, sums = 0;
        for (int k = 0; k < K; ++k) {
          all += static_cast<double>(static_cast<float>(a[a_at(m, k)])) *
                 static_cast<double>(static_cast<float>(b[b_at(n, k)]));
        }
        for (int p = 0; p < pieces; ++p) sums += parts[(p * M + m) * N + n];
        wrong += sums != all;
        wrong += c[m * N + n] != all + bias[static_cast<std::size_t>(n)];
      }
    }
    EXPECT_EQ(wrong, 0) << M << " x " << N << " x " << K;
  };
  const MatrixAlongK<T> a_k{a.data(), M, K, K}, b_k{b.data(), N, K, K};
  const MatrixAlongOuter<T> a_outer{a.data(), M, K, M}, b_outer{b.data(), N, K, N};
  const auto along_k = [&](int outer, int k) { return outer * K + k; };
  const auto along_m = [&](int m, int k) { return k * M + m; };
  const auto along_n = [&](int n, int k) { return k * N + n; };
  check(a_k, b_k, along_k, along_k);
  check(a_k, b_outer, along_k, along_n);
  check(a_outer, b_k, along_m, along_k);
  check(a_outer, b_outer, along_m, along_n);
}

template <class Tile, class T>
void check_tensor_tile() {
  const auto go = [](const auto& product, int pieces, int length) {
    launch_tensor_tile<Tile, true>(kQueue, product, pieces, length);
  };
  check_product<T>(136, 144, 80, true, go);  // past each end
  check_product<T>(8, 8, 8, true, go);
  check_product<T>(Tile::kBM, Tile::kBN, 0, true, go);  // nothing to add up
}

TEST(Gemm, LargeTensorTile) {
  check_tensor_tile<LargeTensorTile, bf16>();
  check_tensor_tile<LargeTensorTile, float>();
}
TEST(Gemm, SmallTensorTile) {
  check_tensor_tile<SmallTensorTile, bf16>();
  check_tensor_tile<SmallTensorTile, float>();
}
TEST(Gemm, NarrowTensorTile) {
  check_tensor_tile<NarrowTensorTile, bf16>();
  check_tensor_tile<NarrowTensorTile, float>();
}
TEST(Gemm, TensorTileElementByElement) {
  const auto go = [](const auto& product, int pieces, int length) {
    launch_tensor_tile<SmallTensorTile, false>(kQueue, product, pieces, length);
  };
  check_product<bf16>(67, 69, 71, false, go);
  check_product<float>(67, 69, 71, false, go);
}

template <class Tile, int Width, class T>
void check_tile(int M, int N, int K, bool even) {
  check_product<T>(M, N, K, even, [](const auto& product, int pieces, int length) {
    launch_gemm<Tile, Width>(kQueue, product, pieces, length);
  });
}
TEST(Gemm, TilesOfRegisters) {
  check_tile<LargeTile, 4, float>(136, 144, 84, true);
  check_tile<NarrowTile, 4, float>(136, 36, 84, true);
  check_tile<SmallTile, 4, float>(68, 72, 84, true);
  check_tile<SmallTile, 8, bf16>(72, 80, 88, true);
  check_tile<SmallTile, 1, float>(67, 69, 71, false);
  check_tile<ScalarTile, 1, float>(19, 21, 23, false);
}

TEST(Gemm, TileOfFewColumnsOrOfWholeRounds) {
  EXPECT_EQ(tensor_tile_for(1 << 20, 32), TensorTiles::narrow);
  EXPECT_EQ(tensor_tile_for(1 << 20, 64), TensorTiles::small);  // half a large one would be empty
  EXPECT_EQ(tensor_tile_for(1 << 20, 128), TensorTiles::large);
  EXPECT_EQ(tensor_tile_for(128, 128), TensorTiles::small);  // four blocks in place of one
  EXPECT_EQ(tensor_tile_for(64, 576, true), TensorTiles::small);
  EXPECT_EQ(tensor_tile_for(256, 2304, true), TensorTiles::large);
}

TEST(Gemm, DigitsAdvanceAsTheNumberDoes) {
  for (int middles : {1, 2, 3, 7}) {
    for (int lows : {1, 3, 8, 40}) {
      for (int by : {1, 16, 32}) {
        Radix radix{middles, lows};
        radix.by = radix.of(by);
        for (int first : {0, 5, 31}) {
          Digits d = radix.of(first);
          for (int step = 1; step < 40; ++step) {
            radix.advance(d);
            ASSERT_EQ((d.high * middles + d.middle) * lows + d.low, first + step * by);
            ASSERT_LT(d.middle, middles);
            ASSERT_LT(d.low, lows);
          }
        }
      }
    }
  }
}

// Every pixel belongs to one phase, and its taps are those that the definition gives it: output
// p by tap r where p * stride - pad + r * dilation is the pixel.
TEST(Gemm, PhasesShareOutPixelsAndTaps) {
  for (int stride = 1; stride <= 4; ++stride) {
    for (int dilation = 1; dilation <= 4; ++dilation) {
      for (int pad = 0; pad <= 5; ++pad) {
        for (int kernel = 1; kernel <= 5; ++kernel) {
          for (int extent = 1; extent <= 9; ++extent) {
            std::vector<int> seen(static_cast<std::size_t>(extent));
            for (int rest = 0; rest < stride; ++rest) {
              const Phase v = phase_of(rest, extent, kernel, stride, pad, dilation);
              for (int a = 0; a < v.count; ++a) {
                const int h = v.first + a * stride;
                ASSERT_LT(h, extent);
                ++seen[static_cast<std::size_t>(h)];
                std::vector<int> want, got;
                for (int r = 0; r < kernel; ++r) {
                  const int up = h + pad - r * dilation;
                  if (up % stride == 0) want.insert(want.end(), {r, up / stride});
                }
                for (int t = 0; t < v.taps; ++t) {
                  got.insert(got.end(), {v.first_tap + t * v.apart, v.begin + a - t * v.back});
                }
                ASSERT_EQ(got, want) << stride << dilation << pad << kernel << extent << " " << h;
              }
            }
            ASSERT_EQ(seen, std::vector<int>(static_cast<std::size_t>(extent), 1));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace tapescope::emulated
