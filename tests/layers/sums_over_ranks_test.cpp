// What ranks that share a batch say to each other in one step of a net.
#include <gtest/gtest.h>

#include <map>

#include "autograd/program/program.h"
#include "layers/losses.h"
#include "layers/models/zoo.h"
#include "layers/optimizers/optimizer.h"
#include "tests/autograd/thread_ranks.h"

namespace tapescope {
namespace {

// Steps of these names, and the bytes of what they sum.
struct Sums {
  int at_once = 0, buckets = 0, norms = 0;
  std::size_t bytes_in_buckets = 0, gradients = 0;
};

Sums sums_of(const char* name, std::int64_t size, std::size_t bucket_bytes) {
  Sums sums;
  ThreadRanks(2).run([&](Communicator& own) {
    if (own.rank() > 0) return;
    const auto model = make_model({.name = name, .classes = 10, .channels = 3, .image_size = size});
    Tape tape(Device::cpu(), Mode::training);
    const Var image = tape.input("image", DType::f32, {8, size, size, 3});
    const Var label = tape.input("label", DType::i64, {8});
    const Var loss = mean(cross_entropy((*model)({{"image", image}}).at("logits"), label));
    const auto parameters = model->trained_parameters();
    Optimizer optimizer(OptimizerConfig{});
    const Effects effects = optimizer.update(parameters, tape.gradient(loss, parameters));
    CompileOptions options{.chunks = 2, .ranks = &own, .bucket_bytes = bucket_bytes};
    options.guard = loss;
    const Var outputs[] = {loss, optimizer.gradient_norm()};
    Program step = tape.compile(outputs, effects, options);
    for (const StepInfo& info : step.steps(4)) {
      const std::string_view op = info.op->name();
      sums.at_once += op == "all_reduce";
      if (op == "batch_norm_training" || op == "batch_norm_relu") ++sums.norms;
      if (op == "all_reduce_begin") ++sums.buckets;
      if (op == "all_reduce_begin") sums.bytes_in_buckets += info.outputs[0].bytes();
    }
    for (const ParameterRef& parameter : parameters) {
      if (parameter->value.shape().rank() > 1) sums.gradients += parameter->value.bytes();
    }
  });
  return sums;
}

// Two for each batch normalisation, which is two steps forward, its sums and the rest; the loss,
// and twice the number of rows that it is the mean of. All other sums are in the buckets.
TEST(SumsOverRanks, OfOneStep) {
  const Sums small = sums_of("resnet20", 32, 4 << 20);
  EXPECT_EQ(small.at_once, 2 * (small.norms / 2) + 3);
  EXPECT_EQ(small.buckets, 1);
  EXPECT_GE(small.bytes_in_buckets, small.gradients);
  const Sums large = sums_of("resnet18", 32, 4 << 20);
  EXPECT_EQ(large.at_once, 2 * (large.norms / 2) + 3);
  EXPECT_EQ(large.buckets, 9);
  EXPECT_GE(large.bytes_in_buckets, large.gradients);
  EXPECT_LT(large.bytes_in_buckets, large.gradients + large.gradients / 100);
  const Sums none = sums_of("resnet20", 32, 0);
  EXPECT_EQ(none.buckets, 0);
  EXPECT_EQ(none.at_once, small.at_once + 44);  // 22 gradients; the rows of 21 norms, and a bias
}

}  // namespace
}  // namespace tapescope
