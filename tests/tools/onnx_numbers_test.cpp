// Numbers that most graphs never meet, as ONNX Runtime 1.32 answers them: powers of negative
// numbers, NaN in comparisons and among the largest.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/tools/onnx_file.h"
#include "tools/onnx/net.h"

namespace tapescope {
namespace {

using namespace onnx_file_making;
constexpr float kNaN = NAN;

class OnnxNumbers : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      answer(node("Relu", {"x"}, {"y"}), {}, {{1}});
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
  // What a node makes of inputs x and z, rows of one length.
  static std::vector<double> answer(const std::string& bytes,
                                    const std::vector<std::string>& initialisers,
                                    const std::vector<std::vector<float>>& rows, int type = 1) {
    std::vector<std::string> ports;
    std::vector<Tensor> inputs;
    for (const std::vector<float>& row : rows) {
      const auto length = static_cast<std::int64_t>(row.size());
      ports.push_back(port(ports.empty() ? "x" : "z", {1, length}));
      inputs.push_back(Tensor::from<float>({1, length}, std::span<const float>(row)));
    }
    const onnx::Graph graph = onnx::parse_graph(
        model({{bytes}, initialisers, ports, {port("y", {}, type)}}), "model.onnx");
    const Tensor y = onnx::run(graph, inputs, Backend{Device::cpu(), {}})[0].tensor;
    std::vector<double> numbers;
    for (std::int64_t i = 0; i < y.elements(); ++i) numbers.push_back(y.item(i));
    return numbers;
  }
  static void expect_same(const std::vector<double>& got, const std::vector<double>& expected) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(expected[i])) {
        EXPECT_TRUE(std::isnan(got[i])) << i << ": " << got[i];
      } else {
        EXPECT_NEAR(got[i], expected[i], 1e-6) << i;
      }
    }
  }
};

TEST_F(OnnxNumbers, PowersOfNegativeNumbers) {
  const std::vector<float> base = {-2, -2, -2, 0, -8}, exponent = {2, 3, .5f, 0, 1.0f / 3};
  const std::vector<double> expected = {4, -8, NAN, 1, NAN};
  const std::string power = node("Pow", {"x", "z"}, {"y"});
  expect_same(answer(power, {}, {base, exponent}), expected);
  expect_same(answer(power, {reals("z", {5}, exponent)}, {base}), expected);
  expect_same(answer(power, {reals("z", {1}, {-3})}, {{-2, 4}}), {-.125, .015625});
}

TEST_F(OnnxNumbers, NothingComparesWithNaN) {
  const std::vector<float> a = {1, kNaN, 2, kNaN, 3}, b = {1, 1, kNaN, kNaN, 2};
  const auto compared = [&](const char* op) {
    return answer(node(op, {"x", "z"}, {"y"}), {}, {a, b}, 9);
  };
  expect_same(compared("GreaterOrEqual"), {1, 0, 0, 0, 1});
  expect_same(compared("LessOrEqual"), {1, 0, 0, 0, 0});
  expect_same(compared("Greater"), {0, 0, 0, 0, 1});
  expect_same(compared("Less"), {0, 0, 0, 0, 0});
}

TEST_F(OnnxNumbers, TheLargestAmongNaN) {
  const struct {
    std::vector<float> row;
    double largest, smallest;
  } cases[] = {{{1, kNaN, 2}, 2, 0},      {{kNaN, 1, 2}, 0, 0},    {{1, 2, kNaN}, 1, 0},
               {{kNaN, kNaN}, 0, 0},      {{kNaN, 1, kNaN}, 0, 0}, {{3, kNaN, 2, 3, 5}, 4, 2},
               {{-INFINITY, 4, 4}, 1, 0}, {{2, INFINITY, 1}, 1, 2}};
  for (const auto& c : cases) {
    const std::string axis = attribute_whole("axis", 1);
    expect_same(answer(node("ArgMax", {"x"}, {"y"}, axis), {}, {c.row}, 7), {c.largest});
    expect_same(answer(node("ArgMin", {"x"}, {"y"}, axis), {}, {c.row}, 7), {c.smallest});
  }
}

// x / (1 + sum / size) over the format's window, floor((size - 1) / 2) channels before and the rest
// behind: ONNX Runtime takes odd sizes only.
TEST_F(OnnxNumbers, LocalResponseNormalisationOfEvenSize) {
  const auto real_attribute = [](const char* name, float value) {
    return text(5, text(1, name) + real(2, value) + whole(20, 1));
  };
  std::string rest = attribute_whole("size", 4);
  for (const char* name : {"alpha", "beta", "bias"}) rest += real_attribute(name, 1);
  const onnx::Graph graph = onnx::parse_graph(
      model({{node("LRN", {"x"}, {"y"}, rest)}, {}, {port("x", {1, 5, 1, 1})}, {port("y", {})}}),
      "model.onnx");
  const float x[] = {1, 2, 3, 4, 5};
  const Tensor y = onnx::run(graph, {Tensor::from<float>({1, 5, 1, 1}, std::span<const float>(x))},
                             Backend{Device::cpu(), {}})[0]
                       .tensor;
  for (int c = 0; c < 5; ++c) {
    double sum = 0;
    for (int k = std::max(0, c - 1); k <= std::min(4, c + 2); ++k) sum += x[k] * x[k];
    EXPECT_NEAR(y.item(c), x[c] / (1 + sum / 4), 1e-6);
  }
}

TEST(OnnxValues, KnownNumbersInEveryOrder) {
  const Shape extents = {3, 2, 5, 4};
  onnx::Known known{onnx::Element::f32, Tensor(Type{DType::f32, extents})};
  for (std::int64_t i = 0; i < 120; ++i) {
    known.numbers.values<float>()[static_cast<std::size_t>(i)] = static_cast<float>(i);
  }
  onnx::Layout layout = {0, 1, 2, 3};
  do {
    const Tensor memory = onnx::arranged(known, layout);
    ASSERT_EQ(memory.shape(), onnx::arranged_shape(known, layout));
    std::int64_t stride[4];  // in memory, of ONNX's axes
    for (std::size_t a = 0; a < 4; ++a) {
      ASSERT_EQ(memory.shape()[layout[a]], extents[static_cast<int>(a)]);
      stride[a] = 1;
      for (int place = layout[a] + 1; place < 4; ++place) stride[a] *= memory.shape()[place];
    }
    for (std::int64_t i = 0; i < 120; ++i) {
      const std::int64_t at =
          i / 40 * stride[0] + i / 20 % 2 * stride[1] + i / 4 % 5 * stride[2] + i % 4 * stride[3];
      ASSERT_EQ(memory.item(at), i) << i << " of " << to_string(memory.shape());
    }
  } while (std::next_permutation(layout.begin(), layout.end()));
  const Tensor shared = onnx::arranged(known, {0, 1, 2, 3});
  EXPECT_EQ(shared.data(), known.numbers.data());
  const Tensor wide = onnx::arranged(known, {0, 1, 2, 4, 3});
  EXPECT_EQ(wide.shape(), (Shape{1, 3, 2, 4, 5}));
  EXPECT_EQ(wide.item(1), 4);
}

}  // namespace
}  // namespace tapescope
