// A null Var given to a function that records is an error that names the op and the operand.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <set>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

struct Call {
  std::string op;                                      // as the error names it
  int operands;                                        // all of them required
  std::function<void(std::span<const Var>)> function;  // given so many
};

const int kAxes[] = {1};
const std::int64_t kPad[] = {0, 1};
const int kSwap[] = {1, 0};

using V = std::span<const Var>;
const Call kCalls[] = {
    {"add", 2, [](V v) { add(v[0], v[1]); }},
    {"identity", 1, [](V v) { identity(v[0]); }},
    {"gelu_gradient", 2, [](V v) { gelu_gradient(v[0], v[1]); }},
    {"hard_swish_gradient", 2, [](V v) { hard_swish_gradient(v[0], v[1]); }},
    {"silu_gradient", 2, [](V v) { silu_gradient(v[0], v[1]); }},
    {"softplus_gradient", 2, [](V v) { softplus_gradient(v[0], v[1]); }},
    {"sigmoid_gradient_from_output", 2, [](V v) { sigmoid_gradient_from_output(v[0], v[1]); }},
    {"tanh_gradient_from_output", 2, [](V v) { tanh_gradient_from_output(v[0], v[1]); }},
    {"sub", 2, [](V v) { sub(v[0], v[1]); }},
    {"mul", 2, [](V v) { mul(v[0], v[1]); }},
    {"div", 2, [](V v) { div(v[0], v[1]); }},
    {"maximum", 2, [](V v) { maximum(v[0], v[1]); }},
    {"minimum", 2, [](V v) { minimum(v[0], v[1]); }},
    {"binary_cross_entropy", 2, [](V v) { binary_cross_entropy(v[0], v[1]); }},
    {"safe_divide", 2, [](V v) { safe_divide(v[0], v[1]); }},
    {"equal", 2, [](V v) { equal(v[0], v[1]); }},
    {"greater", 2, [](V v) { greater(v[0], v[1]); }},
    {"mask_positive", 2, [](V v) { mask_positive(v[0], v[1]); }},
    {"mask_nonzero", 2, [](V v) { mask_nonzero(v[0], v[1]); }},
    {"weighted_sum", 2, [](V v) { weighted_sum(v[0], 1, v[1], 2); }},
    {"relu", 1, [](V v) { relu(v[0]); }},
    {"leaky_relu", 1, [](V v) { leaky_relu(v[0]); }},
    {"elu", 1, [](V v) { elu(v[0]); }},
    {"gelu", 1, [](V v) { gelu(v[0]); }},
    {"silu", 1, [](V v) { silu(v[0]); }},
    {"sigmoid", 1, [](V v) { sigmoid(v[0]); }},
    {"hard_sigmoid", 1, [](V v) { hard_sigmoid(v[0]); }},
    {"hard_swish", 1, [](V v) { hard_swish(v[0]); }},
    {"gate", 2, [](V v) { gate(v[0], v[1]); }},
    {"layer_norm", 3, [](V v) { layer_norm(v[0], v[1], v[2]); }},
    {"group_norm", 3, [](V v) { group_norm(v[0], 1, v[1], v[2]); }},
    {"stochastic_depth", 1, [](V v) { stochastic_depth(v[0], 0.5); }},
    {"tanh", 1, [](V v) { tanh(v[0]); }},
    {"exp", 1, [](V v) { exp(v[0]); }},
    {"log", 1, [](V v) { log(v[0]); }},
    {"sqrt", 1, [](V v) { sqrt(v[0]); }},
    {"abs", 1, [](V v) { abs(v[0]); }},
    {"clamp", 1, [](V v) { clamp(v[0], 0, 1); }},
    {"neg", 1, [](V v) { neg(v[0]); }},
    {"reciprocal", 1, [](V v) { reciprocal(v[0]); }},
    {"square", 1, [](V v) { square(v[0]); }},
    {"sign", 1, [](V v) { sign(v[0]); }},
    {"step", 1, [](V v) { step(v[0]); }},
    {"softplus", 1, [](V v) { softplus(v[0]); }},
    {"rsqrt", 1, [](V v) { rsqrt(v[0]); }},
    {"erf", 1, [](V v) { erf(v[0]); }},
    {"negative_part", 1, [](V v) { negative_part(v[0]); }},
    {"inside", 1, [](V v) { inside(v[0], 0, 1); }},
    {"is_zero", 1, [](V v) { is_zero(v[0]); }},
    {"stabilize", 1, [](V v) { stabilize(v[0], 1e-6); }},
    {"affine", 1, [](V v) { affine(v[0], 2); }},
    {"affine", 1, [](V v) { affine(v[0], 1); }},
    {"power", 1, [](V v) { pow(v[0], 2); }},
    {"pow", 2, [](V v) { pow(v[0], v[1]); }},
    {"cast", 1, [](V v) { cast(v[0], DType::f64); }},
    {"all_reduce", 1, [](V v) { all_reduce(v[0], nullptr); }},
    {"increment", 1, [](V v) { increment(v[0]); }},
    {"reshape", 1, [](V v) { reshape(v[0], {3}); }},
    {"reshape", 1, [](V v) { reshape_all(v[0], {3}); }},
    {"flatten", 1, [](V v) { flatten(v[0]); }},
    {"transpose", 1, [](V v) { transpose(v[0], kSwap); }},
    {"pad", 1, [](V v) { pad(v[0], kPad, kPad); }},
    {"slice", 1, [](V v) { slice(v[0], 1, 0, 1); }},
    {"concat", 2, [](V v) { concat(v, 1); }},
    {"packed", 2, [](V v) { packed(v); }},
    {"square_sums", 2, [](V v) { square_sums(v); }},
    {"sum_in_order", 1, [](V v) { sum_in_order(v[0]); }},
    {"running_statistics", 6,
     [](V v) {
       running_statistics({v[0], v[1], v[2]}, v[3], v[4], v[5], 0.1);
     }},
    {"concat_part", 2, [](V v) { concat_part(v[0], v.subspan(1), 1, 0); }},
    {"upsample_nearest", 1, [](V v) { upsample_nearest(v[0], 2); }},
    {"upsample_bilinear", 1, [](V v) { upsample_bilinear(v[0], 2, 2); }},
    {"reduce", 1, [](V v) { reduce_sum(v[0], kAxes); }},
    {"reduce", 1, [](V v) { reduce_mean(v[0], kAxes); }},
    {"reduce", 1, [](V v) { reduce_max(v[0], kAxes); }},
    {"reduce", 1, [](V v) { sum(v[0]); }},
    {"reduce", 1, [](V v) { mean(v[0]); }},
    {"reduce_like", 2, [](V v) { reduce_like(v[0], v[1]); }},
    {"broadcast_like", 2, [](V v) { broadcast_like(v[0], v[1]); }},
    {"count_like", 2, [](V v) { count_like(v[0], v[1]); }},
    {"broadcast_like", 1, [](V v) { zeros_like(v[0]); }},
    {"broadcast_like", 1, [](V v) { ones_like(v[0]); }},
    {"matmul", 2, [](V v) { matmul(v[0], v[1]); }},
    {"matmul", 2, [](V v) { linear(v[0], v[1]); }},
    {"batched_matmul", 2, [](V v) { batched_matmul(v[0], v[1]); }},
    {"conv2d", 2, [](V v) { conv2d(v[0], v[1], {}, {}); }},
    {"conv2d_data_gradient", 3, [](V v) { conv2d_data_gradient(v[0], v[1], v[2], {}); }},
    {"conv2d_weight_gradient", 3, [](V v) { conv2d_weight_gradient(v[0], v[1], v[2], {}); }},
    {"max_pool2d", 1, [](V v) { max_pool2d(v[0], {}); }},
    {"avg_pool2d", 1, [](V v) { avg_pool2d(v[0], {}); }},
    {"global_avg_pool2d", 1, [](V v) { global_avg_pool2d(v[0]); }},
    {"batch_norm_training", 3, [](V v) { batch_norm_training(v[0], v[1], v[2]); }},
    {"batch_norm_inference", 5, [](V v) { batch_norm_inference(v[0], v[1], v[2], v[3], v[4]); }},
    {"dropout", 1, [](V v) { dropout(v[0], 0.5); }},
    {"softmax", 1, [](V v) { softmax(v[0]); }},
    {"log_softmax", 1, [](V v) { log_softmax(v[0]); }},
    {"log_softmax_nll", 2, [](V v) { log_softmax_nll(v[0], v[1]); }},
    {"gather", 2, [](V v) { gather(v[0], v[1]); }},
    {"scatter", 3, [](V v) { scatter(v[0], v[1], v[2]); }},
    {"sgd_update", 4, [](V v) { sgd_update(v[0], v[1], v[2], v[3], {}); }},
    {"adamw_update", 6, [](V v) { adamw_update(v[0], v[1], v[2], v[3], v[4], v[5], {}); }},
};

TEST(NullOperands, AreNamedByEveryFunctionThatRecords) {
  for (const Call& call : kCalls) {
    for (int missing = 0; missing < call.operands; ++missing) {
      Tape tape(Device::cpu(), Mode::training);
      std::vector<Var> operands(static_cast<std::size_t>(call.operands),
                                tape.input("x", DType::f32, {4, 4}));
      operands[static_cast<std::size_t>(missing)] = {};
      try {
        call.function(operands);
        ADD_FAILURE() << call.op << " takes a null operand " << missing;
      } catch (const Error& error) {
        EXPECT_EQ(error.blame(), Blame::usage);
        EXPECT_EQ(std::string(error.what()),
                  fmt::format("[{}] operand {} is missing", call.op, missing));
      }
    }
  }
}

// Every function that ops.h declares, by itself or for a line of functions.inc, is among them.
TEST(NullOperands, NoFunctionIsLeftOut) {
  std::set<std::string> declared;
  for (const char* name : {"autograd/ops/ops.h", "autograd/more_ops/more_ops.h",
                           "kernels/elementwise/functions.inc"}) {
    std::ifstream file(std::string(TAPESCOPE_SOURCE_DIR "/") + name);
    ASSERT_TRUE(file.good()) << name;
    for (std::string line; std::getline(file, line);) {
      for (const std::string start :
           {"Var ", "BatchNormResult ", "SgdResult ", "AdamWResult ", "RunningStatistics ",
            "TAPESCOPE_UNARY(", "TAPESCOPE_BINARY("}) {
        if (!line.starts_with(start) || line.find('(') == std::string::npos) continue;
        line.erase(0, start.size());
        declared.insert(line.substr(0, line.find_first_of("(,")));
      }
    }
  }
  EXPECT_EQ(declared.size(), std::size(kCalls) - 2);  // affine is tried twice, and pow
}

TEST(NullOperands, ANullVarItselfSaysSo) {
  for (const auto& look : {+[] { Var().type(); }, +[] { Var().tape(); }, +[] { Var().path(); },
                           +[] { Var().value(); }}) {
    try {
      look();
      ADD_FAILURE() << "a null Var answers";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("null Var"), std::string::npos);
    }
  }
  EXPECT_FALSE(Var().has_value());
}

// An optional bias may be null, alone and at the end.
TEST(NullOperands, ABiasIsOptional) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", DType::f32, {4, 4});
  EXPECT_EQ(matmul(x, x, false, false, {}).node->operand_count, 2);
  EXPECT_EQ(matmul(x, x).shape(), (Shape{4, 4}));
}

}  // namespace
}  // namespace tapescope
