#include "autograd/program/print.h"

#include <gtest/gtest.h>

#include "autograd/ops/ops.h"

namespace tapescope {
namespace {

TEST(Print, ListsNodesAndDrawsThem) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", DType::f32, {2, 4, 4, 1});
  Var y;
  {
    const auto outer = tape.scope("layer1");
    const auto inner = tape.scope("pool");
    y = max_pool2d(x, {});
  }
  const std::uint32_t forward = tape.mark();
  tape.gradient(sum(y), {x});

  const std::string text = list_nodes(tape);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'),
            static_cast<std::ptrdiff_t>(tape.nodes().size()));
  EXPECT_NE(text.find("layer1/pool/max_pool2d"), std::string::npos);
  EXPECT_NE(text.find("(%0)"), std::string::npos);
  EXPECT_NE(text.find("%1.1"), std::string::npos);  // the index, which the scatter reads
  EXPECT_NE(text.find("f32 {2, 2, 2, 1}, u8 {2, 2, 2, 1}"), std::string::npos);
  EXPECT_EQ(list_nodes(tape, forward).find("layer1/pool/max_pool2d "), std::string::npos);

  const std::string dot = dot_graph(tape);
  EXPECT_TRUE(dot.starts_with("digraph"));
  EXPECT_NE(dot.find("label=\"layer1\""), std::string::npos);
  EXPECT_NE(dot.find("n0 -> n1;"), std::string::npos);
  EXPECT_NE(dot.find("[style=dashed]"), std::string::npos);  // the scatter reads x's shape only
  EXPECT_EQ(std::count(dot.begin(), dot.end(), '{') - std::count(dot.begin(), dot.end(), '}'), 0);
}

}  // namespace
}  // namespace tapescope
