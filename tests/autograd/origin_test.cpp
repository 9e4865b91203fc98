// What a walk appends says for which node and under which prefix, and is named by it.
#include <gtest/gtest.h>

#include "autograd/explain/relevance.h"
#include "autograd/ops/ops.h"
#include "autograd/reach.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// One node at the root, two that read one value (whose cotangents add up), one in a scope whose
// name begins like a prefix.
struct Net {
  Tape tape{Device::cpu(), Mode::evaluation};
  Var x = tape.input("x", DType::f32, {2, 3, 3, 4});
  Var root, left, right, y;
  std::uint32_t end = 0;

  Net() {
    root = relu(x);
    {
      const auto in = tape.scope("a");
      left = affine(root, 2);
    }
    {
      const auto in = tape.scope("gradient_head");
      right = affine(root, 3);
    }
    y = reshape(reduce_sum(add(left, right), {std::array{1, 2, 3}}), {});
    end = tape.mark();
  }

  std::vector<const Node*> appended() const {
    return {tape.nodes().begin() + end, tape.nodes().end()};
  }
};

void expect_all_under(const Net& net, const std::string& prefix) {
  ASSERT_FALSE(net.appended().empty());
  for (const Node* node : net.appended()) {
    EXPECT_EQ(node->prefix, prefix) << node->path();
    ASSERT_NE(node->origin, nullptr) << node->path();
    if (node->op->is_leaf()) continue;  // named by what it holds
    EXPECT_TRUE(node->path().starts_with(prefix + "/")) << node->path();
    EXPECT_EQ(node->path().find("//"), std::string::npos) << node->path();
    EXPECT_FALSE(node->path().starts_with(prefix + "/" + prefix + "/")) << node->path();
    EXPECT_LT(node->origin->index, node->index) << node->path();
    if (!node->origin->scope().empty()) {
      const std::string scope(node->origin->scope());
      EXPECT_TRUE(node->path().find(scope) != std::string::npos) << node->path() << " of " << scope;
    }
  }
}

TEST(Origin, OfTheGradient) {
  Net net;
  for (const Node* node : net.tape.nodes()) {
    EXPECT_EQ(node->origin, nullptr);
    EXPECT_STREQ(node->prefix, "");
  }
  const Var g = net.tape.gradient(net.y, {net.x})[0];
  expect_all_under(net, "gradient");
  EXPECT_EQ(g.path(), "gradient/mask_positive");
  EXPECT_EQ(g.node->origin, net.root.node);
  const Var through_left = net.tape.find("gradient/a/affine");
  EXPECT_EQ(through_left.node->origin, net.left.node);
  EXPECT_EQ(net.tape.find("gradient/gradient_head/affine").node->origin, net.right.node);
  // The sum of two cotangents belongs to the node at which the second arrived.
  EXPECT_EQ(net.tape.find("gradient/a/add").node->origin, net.left.node);

  // Appending has left no scope behind.
  EXPECT_EQ(exp(net.x).path(), "exp");
  EXPECT_EQ(exp(net.x).node->origin, nullptr);
}

TEST(Origin, OfAGradientsGradient) {
  Net net;
  const Var w = square(net.x);
  const Var first = net.tape.gradient(sum(mul(w, square(net.root))), {net.x})[0];
  const Var size = sum(square(first));
  const std::uint32_t middle = net.tape.mark();
  net.tape.gradient(size, {net.x});
  for (std::uint32_t i = middle; i < net.tape.mark(); ++i) {
    const Node& node = *net.tape.nodes()[i];
    if (node.op->is_leaf()) continue;
    EXPECT_TRUE(node.path().starts_with("gradient/")) << node.path();
    EXPECT_FALSE(node.path().starts_with("gradient/gradient/")) << node.path();
    ASSERT_NE(node.origin, nullptr) << node.path();
  }
}

// The two parts of the relevance of `root` meet in a sum, which is of the relevance too.
TEST(Origin, OfRelevance) {
  Net net;
  const Var wrt[] = {net.x};
  explain::Ledger ledger;
  explain::relevance(net.tape, net.y, wrt, lrp::epsilon(), {}, &ledger);
  expect_all_under(net, "relevance");
  EXPECT_EQ(net.tape.find("relevance/a/add").node->prefix, std::string_view("relevance"));
}

TEST(Origin, OfAFusedOpsDecomposition) {
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", DType::f32, {4, 5});
  const Var scale = tape.input("scale", DType::f32, {5}),
            shift = tape.input("shift", DType::f32, {5});
  Var y;
  {
    const auto in = tape.scope("bn");
    y = batch_norm_training(x, scale, shift).y;
  }
  const Var first = tape.gradient(sum(mul(y, tanh(x))), {x})[0];
  const Var size = sum(square(first));
  const std::uint32_t before = tape.mark();
  tape.gradient(size, {x});
  for (std::uint32_t i = before; i < tape.mark(); ++i) {
    const Node& node = *tape.nodes()[i];
    if (node.op->is_leaf()) continue;
    EXPECT_TRUE(node.path().starts_with("gradient/")) << node.path();
    EXPECT_EQ(node.path().find("gradient/gradient"), std::string::npos) << node.path();
    ASSERT_NE(node.origin, nullptr) << node.path();
  }
}

TEST(Reach, FollowsWhatIsAskedFor) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", DType::f32, {2, 3}),
            other = tape.input("other", DType::f32, {2, 3});
  const Var shaped = zeros_like(x);  // reads x's shape alone
  const Var y = add(mask_positive(other, x), shaped);
  const Var from[] = {x}, to[] = {y};
  const auto derivatives = reached_from(tape, from, Through::derivatives);
  const auto everything = reached_from(tape, from, Through::everything);
  EXPECT_TRUE(derivatives[x.node->index]);
  EXPECT_FALSE(derivatives[shaped.node->index]);
  EXPECT_FALSE(derivatives[y.node->index]);  // x only masks
  EXPECT_TRUE(everything[shaped.node->index]);
  EXPECT_TRUE(everything[y.node->index]);
  EXPECT_FALSE(everything[other.node->index]);
  const auto leads = leading_to(tape, to, Through::derivatives);
  EXPECT_TRUE(leads[other.node->index]);
  EXPECT_FALSE(leads[x.node->index]);
  EXPECT_TRUE(leading_to(tape, to, Through::everything)[x.node->index]);
  const Var of_other[] = {other};
  const auto way = between(tape, of_other, to, Through::derivatives);
  EXPECT_TRUE(way[other.node->index]);
  EXPECT_TRUE(way[y.node->index]);
  EXPECT_FALSE(way[x.node->index]);
  EXPECT_FALSE(way[shaped.node->index]);
}

}  // namespace
}  // namespace tapescope
