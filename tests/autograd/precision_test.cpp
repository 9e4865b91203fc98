// bf16 as a recording policy: where casts are, what stays f32, and that all walks pass them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/explain/composite.h"
#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "tests/autograd/op_cases.h"

namespace tapescope {
namespace {

Tensor noise(const Shape& shape, std::uint64_t seed) {
  return fill({{DType::f32, shape}, OperandSpec::Values::normal, 0, 0, false}, -1, seed)
      .to(DType::f32);
}

// |a - b| / |b|
double apart(const Tensor& a, const Tensor& b) {
  double difference = 0, all = 0;
  for (std::int64_t i = 0; i < b.elements(); ++i) {
    difference += std::pow(a.item(i) - b.item(i), 2);
    all += std::pow(b.item(i), 2);
  }
  return std::sqrt(difference / all);
}

ParameterRef parameter(const char* name, Tensor value) {
  return std::make_shared<Parameter>(name, std::move(value), Parameter::Kind::weight);
}

// Two convolutions of one weight, a normalisation between, a head.
struct Net {
  ParameterRef w = parameter("w", noise({16, 3, 3, 16}, 1)), b = parameter("b", noise({16}, 2)),
               scale = parameter("scale", noise({16}, 3)),
               head = parameter("head", noise({5, 16}, 4));

  Var logits(Tape& tape, Var x) const {
    const Conv2dOptions same{.pad_h = 1, .pad_w = 1};
    const Var weight = tape.parameter(w), shift = tape.parameter(b);
    x = affine(conv2d(x, weight, shift, same), 0.1);
    x = batch_norm_training(x, tape.parameter(scale), shift).y;
    x = affine(conv2d(relu(x), weight, {}, same), 0.1);
    return widened(linear(global_avg_pool2d(max_pool2d(x, {})), tape.parameter(head)));
  }
  std::vector<ParameterRef> all() const { return {w, b, scale, head}; }
};
const Shape kImage{4, 6, 6, 16};

std::int64_t count(const Tape& tape, std::string_view op) {
  return std::count_if(tape.nodes().begin(), tape.nodes().end(),
                       [&](const Node* node) { return node->op->name() == op; });
}

TEST(Precision, AnF32TapeHasNoCasts) {
  Tape tape(Device::cpu(), Mode::training);
  const Net net;
  tape.gradient(sum(net.logits(tape, tape.input("x", noise(kImage, 9)))), net.all());
  EXPECT_EQ(count(tape, "cast"), 0);
}

TEST(Precision, AWeightHasOneCopyAndWhatIsSmallStaysF32) {
  Tape tape(Device::cpu(), Mode::training, {.precision = DType::bf16});
  const Net net;
  const Var x = tape.input("x", noise(kImage, 9));
  const Var logits = net.logits(tape, x);
  EXPECT_EQ(logits.dtype(), DType::f32);
  EXPECT_EQ(count(tape, "cast"), 4);  // of the image, the weight, the head; of the answer
  for (const Node* node : tape.nodes()) {
    const std::string_view op = node->op->name();
    if (op == "conv2d" || op == "relu" || op == "max_pool2d" || op == "matmul") {
      EXPECT_EQ(node->types()[0].dtype, DType::bf16) << node->path();
    }
    if (op == "conv2d" && node->operand_count == 3) {
      EXPECT_EQ(node->operand_data[2].dtype(), DType::f32);
    }
    if (op == "batch_norm_training") {
      EXPECT_EQ(node->types()[1].dtype, DType::f32);
    }
  }
  std::vector<Var> wrt{x};
  for (const ParameterRef& p : net.all()) wrt.push_back(tape.parameter(p));
  for (const Var& g : tape.gradient(sum(square(logits)), wrt)) EXPECT_EQ(g.dtype(), DType::f32);
  // What an optimiser is given has not been rounded: no cast makes a weight's gradient.
  const Var g = tape.gradient(sum(logits), std::vector<ParameterRef>{net.head})[0];
  EXPECT_EQ(g.node->op->name(), "matmul");
}

TEST(Precision, AGradientOfWeightsIsExactSumsOfBf16Products) {
  const Conv2dOptions same{.pad_h = 1, .pad_w = 1};
  const auto weight_gradient = [&](DType dtype) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const auto rounded = [&](const Shape& shape, std::uint64_t seed) {
      return tape.constant(noise(shape, seed).to(DType::bf16).to(dtype));
    };
    const Var like = rounded({32, 3, 3, 16}, 1);
    return conv2d_weight_gradient(rounded(kImage, 2), rounded({4, 6, 6, 32}, 3), like, same)
        .value();
  };
  const Tensor got = weight_gradient(DType::bf16);
  EXPECT_EQ(got.dtype(), DType::f32);
  EXPECT_LT(apart(got, weight_gradient(DType::f64)), 1e-6);  // rounded to bf16 it would be 2e-3
}

TEST(Precision, GradientsAndTheirGradientsAreNearF32s) {
  const Net net;
  const auto gradients = [&](DType precision) {
    Tape tape(Device::cpu(), Mode::training, {.precision = precision});
    const Var x = tape.input("x", noise(kImage, 9));
    const std::vector<Var> first = tape.gradient(sum(square(net.logits(tape, x))), {x});
    std::vector<Tensor> values{first[0].value()};
    for (const Var& g : tape.gradient(sum(square(first[0])), net.all()))
      values.push_back(g.value());
    return values;
  };
  const std::vector<Tensor> got = gradients(DType::bf16), want = gradients(DType::f32);
  for (std::size_t k = 0; k < want.size(); ++k) {
    ASSERT_EQ(got[k].type(), want[k].type());
    EXPECT_LT(apart(got[k], want[k]), 0.3) << k;  // a few relus and pools choose otherwise
    EXPECT_GT(apart(got[k], want[k]), 0) << k;
  }
}

// No cast, and the bits of its kernels asked for by name; on the CPU, which has none, those of f32.
TEST(Precision, Tf32RecordsWhatF32DoesAndPrefersItsKernels) {
  const auto gradients = [](Device device, const TapeOptions& options) {
    const Net net;
    for (const ParameterRef& p : net.all()) p->value = p->value.to(device);
    Tape tape(device, Mode::training, options);
    const Var x = tape.input("x", noise(kImage, 9).to(device));
    std::vector<Tensor> values;
    for (const Var& g : tape.gradient(sum(square(net.logits(tape, x))), net.all())) {
      values.push_back(g.value().to(Device::cpu()));
    }
    EXPECT_EQ(count(tape, "cast"), 0);
    return values;
  };
  KernelChoices named;
  for (const char* family :
       {"conv2d", "conv2d_data_gradient", "conv2d_weight_gradient", "matmul"}) {
    named[family] = "tensor_core_tf32";
  }
  const Device emulated = Device::emulated(), cpu = Device::cpu();
  const auto got = gradients(emulated, {.precision = kTf32}),
             by_name = gradients(emulated, {.kernels = named}), f32 = gradients(emulated, {}),
             on_cpu = gradients(cpu, {.precision = kTf32}), f32_on_cpu = gradients(cpu, {});
  for (std::size_t k = 0; k < got.size(); ++k) {
    EXPECT_EQ(apart(got[k], by_name[k]), 0) << k;
    EXPECT_GT(apart(got[k], f32[k]), 1e-5) << k;  // operands are within 2^-11 = 5e-4 of themselves
    EXPECT_LT(apart(got[k], f32[k]), 0.03) << k;  // and a few relus and pools choose otherwise
    EXPECT_EQ(apart(on_cpu[k], f32_on_cpu[k]), 0) << k;
  }
}

TEST(Precision, RelevancePassesCasts) {
  const Tensor w = noise({16, 3, 3, 16}, 1), head = noise({5, 16}, 4);
  const auto relevance = [&](DType precision) {
    Tape tape(Device::cpu(), Mode::evaluation, {.precision = precision});
    const Var x = tape.input("x", noise(kImage, 9));
    const Var hidden = relu(conv2d(x, tape.constant(w), {}, {.pad_h = 1, .pad_w = 1}));
    const Var logits = widened(linear(global_avg_pool2d(hidden), tape.constant(head)));
    const Var target = gather(logits, tape.constant(Tensor::zeros({DType::i64, {4}})));
    const Var wrt[] = {x};
    return tape.relevance(target, wrt, lrp::epsilon())[0].value();
  };
  EXPECT_LT(apart(relevance(DType::bf16), relevance(DType::f32)), 0.05);
}

TEST(Precision, F32MeetsBf16) {
  Tape tape(Device::cpu(), Mode::evaluation, {.precision = DType::bf16});
  const Var wide = tape.input("wide", noise({4, 3}, 1));
  const Var narrow = cast(tape.input("narrow", noise({4, 3}, 2)), DType::bf16);
  EXPECT_EQ(add(wide, narrow).dtype(), DType::f32);  // nothing that was known is lost
  const Var scale = tape.parameter(parameter("scale", noise({3}, 3)));
  EXPECT_EQ(mul(narrow, scale).dtype(), DType::bf16);
  EXPECT_EQ(mul(narrow, tape.scalar(2)).dtype(), DType::bf16);
  const Var parts[] = {narrow, wide};
  EXPECT_EQ(concat(parts, 1).dtype(), DType::f32);
}

TEST(Precision, ACastThatWasRolledBackIsRecordedAnew) {
  Tape tape(Device::cpu(), Mode::evaluation, {.precision = DType::bf16});
  const Var x = tape.input("x", noise({4, 3}, 1)), w = tape.input("w", noise({5, 3}, 2));
  const std::uint32_t before = tape.mark();
  linear(x, w);
  tape.rollback(before);
  EXPECT_EQ(linear(x, w).dtype(), DType::bf16);
  EXPECT_EQ(count(tape, "cast"), 2);
}

}  // namespace
}  // namespace tapescope
