// Rungs that move 16 bytes a thread, on the emulator: the same results as the reference's where
// operands begin on 16 bytes and where they do not, at extents that are whole packs and that are
// not; the same bits for a row, however many there are; and the division by multiplication.
#include <limits>

#include "kernels/common/gpu_divisor.h"
#include "kernels/conv2d/add_to_rows.h"
#include "kernels/layout/layout.h"
#include "kernels/log_softmax/log_softmax.h"
#include "kernels/reduce/reduce.h"
#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

// `n` small integers (sums of which are exact) that begin on 16 bytes, or on none of them.
template <class T>
struct Operand {
  std::vector<T> memory;
  T* data;
  explicit Operand(std::int64_t n, bool even, std::uint64_t seed = 0)
      : memory(static_cast<std::size_t>(n) + 32), data(memory.data()) {
    while (reinterpret_cast<std::uintptr_t>(data) % 16 != 0) ++data;
    data += even ? 0 : 1;
    PhiloxStream random(seed);
    for (std::int64_t i = 0; i < n && seed > 0; ++i) {
      data[i] = static_cast<T>(static_cast<float>(random.below(9)) - 4);
    }
  }
};
Backend on_emulator(std::string_view family = {}, std::string_view variant = {}) {
  Backend backend;
  backend.device = Device::emulated();
  if (!variant.empty()) backend.choices[std::string(family)] = std::string(variant);
  return backend;
}
void run_on(Device device, const Plan& plan, std::vector<const void*> in, void* out) {
  std::vector<double> workspace(plan.workspace_bytes() / 8 + 8, std::nan(""));
  std::vector<void*> outs{out};
  plan.run(Queue(device), Buffers{in.data(), outs.data(), workspace.data()});
}

// A variant of a family beside the reference, on and off 16 bytes.
template <class T, class Table, class Shape>
void check_beside_reference(const Table& table, std::string_view variant, const Shape& shape,
                            std::vector<std::int64_t> operands, std::int64_t results) {
  for (const bool even : {true, false}) {
    std::vector<Operand<T>> in;
    std::vector<const void*> pointers;
    for (std::size_t k = 0; k < operands.size(); ++k) {
      in.emplace_back(operands[k], even, k + 1);
      // The vector may have moved; its elements' memory has not.
      pointers.push_back(in.back().data);
    }
    Operand<T> got(results, even), want(results, even);
    run_on(Device::emulated(),
           prepare_from(table, shape, shape.dtype, on_emulator(table.family, variant)), pointers,
           got.data);
    run_on(Device::cpu(), prepare(table, "reference", shape), pointers, want.data);
    ASSERT_EQ(std::memcmp(got.data, want.data, static_cast<std::size_t>(results) * sizeof(T)), 0)
        << table.family << (even ? "" : ", off 16 bytes");
  }
}

TEST(Divisor, DividesAsIntegersDo) {
  const std::int64_t most = std::numeric_limits<std::int32_t>::max();
  for (std::int64_t by :
       {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, std::int64_t{7}, std::int64_t{10},
        std::int64_t{64}, std::int64_t{641}, std::int64_t{65535}, std::int64_t{1} << 30,
        (std::int64_t{1} << 30) + 1, most - 1, most, most + 1, std::int64_t{1} << 40}) {
    const emulated::Divisor divide(by);
    for (std::int64_t near : {std::int64_t{0}, by, 2 * by, 1000 * by, most / 2, most,
                              most / by * by, std::int64_t{1} << 33}) {
      for (std::int64_t n = std::max<std::int64_t>(near - 3, 0); n < near + 4; ++n) {
        const auto [quotient, rest] = divide(n);
        ASSERT_EQ(quotient, n / by) << n << " / " << by;
        ASSERT_EQ(rest, n % by) << n << " / " << by;
      }
    }
  }
}

template <class T>
void check_reduce(Shape in, std::uint32_t axes, Reduction op) {
  SCOPED_TRACE(to_string(in) + " by axes " + std::to_string(axes));
  const ReduceShape shape{dtype_of<T>(), op, in, axes};
  check_beside_reference<T>(reduce_variants(), "block", shape, {in.elements()},
                            shape.out().elements());
}
TEST(WideRungs, ReduceAlongRowsAndColumns) {
  const std::pair<Shape, std::uint32_t> cases[] = {
      {{2000, 24}, 1},    {{6000, 48}, 1}, {{2000, 25}, 1}, {{9, 600}, 1},      {{3, 50, 16}, 2},
      {{5, 16}, 2},       {{4, 6, 8}, 3},  {{4, 6, 8}, 5},  {{3, 40, 7, 8}, 6}, {{2, 20000, 8}, 2},
      {{2, 17000, 3}, 2}, {{2, 20000}, 2}, {{3, 17001}, 2}, {{6, 4, 16}, 6},    {{70000}, 1},
      {{1, 5}, 1},        {{0, 8}, 1}};
  for (const auto& [in, axes] : cases) {
    check_reduce<float>(in, axes, Reduction::sum);
    check_reduce<float>(in, axes, Reduction::max);
    check_reduce<bf16>(in, axes, Reduction::max);
  }
}

// The order of additions, and so the bits, of a row of axis 0 does not depend on how many there
// are.
TEST(WideRungs, ARowIsReducedAloneAsAmongOthers) {
  for (const auto& [row, axes] : {std::pair<Shape, std::uint32_t>{{37, 16}, 2u},
                                  {{20000, 8}, 2u},
                                  {{5, 24}, 4u},
                                  {{100, 3}, 2u},
                                  {{3000}, 2u}}) {
    const auto reduced = [&](std::int64_t rows, const std::vector<float>& x) {
      Shape in = row.rank() == 2 ? Shape{rows, row[0], row[1]} : Shape{rows, row[0]};
      const ReduceShape shape{DType::f32, Reduction::sum, in, axes};
      std::vector<float> y = poisoned(shape.out().elements());
      run_on(Device::emulated(),
             prepare_from(reduce_variants(), shape, DType::f32, on_emulator("reduce", "block")),
             {x.data()}, y.data());
      return y;
    };
    const auto x = random_values(7 * row.elements(), 5);
    const auto all = reduced(7, x), one = reduced(1, x);
    expect_same_bits(std::vector<float>(all.begin(), all.begin() + static_cast<long>(one.size())),
                     one);
  }
}

TEST(WideRungs, Broadcast) {
  const std::pair<Shape, Shape> cases[] = {
      {{1, 16}, {9, 16}},           {{9, 1}, {9, 16}},      {{3, 1, 8}, {3, 5, 8}},
      {{3, 1, 1, 8}, {3, 4, 5, 8}}, {{2, 1, 3}, {2, 7, 3}}, {{1}, {24}},
      {{4, 1, 6, 1}, {4, 3, 6, 8}}};
  for (const auto& [in, out] : cases) {
    SCOPED_TRACE(to_string(out));
    check_beside_reference<float>(broadcast_like_variants(), {},
                                  BroadcastShape{DType::f32, in, out, 0.5}, {in.elements()},
                                  out.elements());
    check_beside_reference<bf16>(broadcast_like_variants(), {},
                                 BroadcastShape{DType::bf16, in, out, 0.5}, {in.elements()},
                                 out.elements());
  }
}

template <class T>
void check_copies() {
  const DType dtype = dtype_of<T>();
  const int width = 16 / static_cast<int>(sizeof(T));
  for (const std::int64_t C : {width, 3 * width, width + 1}) {
    const Shape in{2, 3, 4, C};
    PadShape pad{dtype, in, {0, 1, 2, 0}, {0, 0, 1, 0}, 7};
    check_beside_reference<T>(pad_variants(), "vectorized", pad, {in.elements()},
                              pad.out().elements());
    pad.before[3] = width;  // a pack of the last axis
    check_beside_reference<T>(pad_variants(), "vectorized", pad, {in.elements()},
                              pad.out().elements());
    pad.before[3] = 1;  // less
    check_beside_reference<T>(pad_variants(), "vectorized", pad, {in.elements()},
                              pad.out().elements());
    const SliceShape slice{dtype, in, {0, 1, 0, 0}, {2, 3, 3, C}};
    check_beside_reference<T>(slice_variants(), "vectorized", slice, {in.elements()},
                              slice.out().elements());
    const SliceShape part{dtype, in, {0, 1, 0, 1}, {2, 3, 3, C}};
    check_beside_reference<T>(slice_variants(), "vectorized", part, {in.elements()},
                              part.out().elements());
    const SliceShape shifted{
        dtype, in, {0, 1, 0, 1}, {2, 3, 3, C - width + 1}};  // packs, but moved
    check_beside_reference<T>(slice_variants(), "vectorized", shifted, {in.elements()},
                              shifted.out().elements());
    const std::int64_t extents[] = {2, 0, 5};
    const ConcatShape concat{dtype, 3, C, extents};
    check_beside_reference<T>(concat_variants(), "vectorized", concat, {6 * C, 0, 15 * C}, 21 * C);
    const TransposeShape last_stays{dtype, in, {2, 0, 1, 3}};
    check_beside_reference<T>(transpose_variants(), "vectorized", last_stays, {in.elements()},
                              in.elements());
    const TransposeShape turned{dtype, in, {0, 3, 1, 2}};
    check_beside_reference<T>(transpose_variants(), "tiled", turned, {in.elements()},
                              in.elements());
  }
  for (const auto& [rows, columns] : {std::pair<int, int>{70, 66}, {130, 5}, {64, 64}}) {
    const TransposeShape matrix{dtype, Shape{2, rows, columns}, {0, 2, 1}};
    check_beside_reference<T>(transpose_variants(), "tiled", matrix, {2 * rows * columns},
                              2 * rows * columns);
  }
}
TEST(WideRungs, Copies) {
  check_copies<float>();
  check_copies<bf16>();
  check_copies<double>();
  check_copies<std::uint8_t>();
}

// Rows that share a warp: of 4 lanes each up to 16 columns, of 16 up to 64.
TEST(WideRungs, SoftmaxOfNarrowRows) {
  for (const std::int64_t C : {1, 3, 10, 16, 17, 40, 64, 65}) {
    for (const std::int64_t rows : {1, 7, 33}) {
      const SoftmaxShape shape{DType::f32, rows, C};
      const auto check = [&](const Variants<SoftmaxShape>& table, int operands) {
        const auto x = random_values(rows * C, 1, -9, 9), p = random_values(rows * C, 2, -3, 0);
        std::vector<const void*> in{x.data()};
        if (operands == 2) in.push_back(p.data());
        auto got = poisoned(rows * C), want = poisoned(rows * C);
        run_on(Device::emulated(),
               prepare_from(table, shape, DType::f32, on_emulator(table.family, "vectorized")), in,
               got.data());
        run_on(Device::cpu(), prepare(table, "reference", shape), in, want.data());
        for (std::size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(got[i], want[i], 1e-5f * (10 + std::fabs(want[i])))
              << table.family << " " << rows << " x " << C;
        }
      };
      check(softmax_variants(), 1);
      check(log_softmax_variants(), 1);
      check(softmax_gradient_variants(), 2);
      check(log_softmax_gradient_variants(), 2);
    }
  }
}

TEST(WideRungs, BiasOfRows) {
  for (const std::int64_t C : {8, 24, 5}) {
    for (const bool even : {true, false}) {
      Operand<float> rows(7 * C, even, 1), bias(C, true, 2);
      const std::vector<float> before(rows.data, rows.data + 7 * C);
      emulated::add_to_rows(Queue(Device::emulated()), DType::f32, 7, C, bias.data, rows.data);
      for (std::int64_t i = 0; i < 7 * C; ++i) {
        ASSERT_EQ(rows.data[i], before[static_cast<std::size_t>(i)] + bias.data[i % C]);
      }
    }
  }
}

}  // namespace
}  // namespace tapescope
