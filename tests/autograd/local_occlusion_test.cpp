// Occlusion by patches against occlusion of whole pictures.
#include "autograd/explain/local_occlusion.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/explain/explainer.h"
#include "tests/autograd/explain_cases.h"
#include "tests/autograd/random_net.h"

namespace tapescope::explain {
namespace {

struct Net {
  const char* name;
  double cost;  // at most, of a window of 3 in forward passes
  Var (*logits)(RandomNet& net, Var x);
};

Var dilated(RandomNet& net, Var x) {
  return conv2d(x, net.constant({4, 3, 2, 2}, .3), net.constant({4}, .2),
                {.stride_h = 2,
                 .stride_w = 1,
                 .pad_h = 2,
                 .pad_w = 1,
                 .dilation_h = 2,
                 .dilation_w = 1,
                 .groups = 2});
}

const Net kNets[] = {
    {"convolutions, pools, a dense layer", 0.15,
     [](RandomNet& net, Var x) {
       const Var first = max_pool2d(relu(net.conv(x, 4)), {});
       return net.head(avg_pool2d(relu(net.conv(first, 5)), {}), 4);
     }},
    {"residual blocks with batch norm, a stride in both ways", 0.25,
     [](RandomNet& net, Var x) {
       const Var stem = relu(net.norm(net.conv(x, 4, false)));
       const Var block = relu(add(net.norm(net.conv(relu(net.norm(net.conv(stem, 4))), 4)), stem));
       const Conv2dOptions half{.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1};
       const Var narrow = conv2d(block, net.constant({6, 3, 3, 4}, .3), {}, half);
       const Var straight =
           conv2d(block, net.constant({6, 1, 1, 4}, .3), {}, {.stride_h = 2, .stride_w = 2});
       return net.head(global_avg_pool2d(relu(add(net.conv(relu(narrow), 6), straight))), 4);
     }},
    {"pools with overlap and padding over negative values", 0.15,
     [](RandomNet& net, Var x) {
       const Var low = affine(net.conv(x, 4), 1, -5);
       const Pool2dOptions wide{3, 3, 2, 2, 1, 1};
       Pool2dOptions mean = wide;
       mean.count_include_pad = true;
       return net.head(avg_pool2d(net.conv(max_pool2d(low, wide), 4), mean), 4);
     }},
    {"a mean that does not count its padding", 0.5,
     [](RandomNet& net, Var x) {
       Pool2dOptions mean{3, 3, 1, 1, 1, 1};
       mean.count_include_pad = false;
       return net.head(net.conv(avg_pool2d(relu(net.conv(x, 4)), mean), 2), 4);
     }},
    {"groups, dilation, uneven strides, a join of channels and a gate", 0.2,
     [](RandomNet& net, Var x) {
       const Var four = net.conv(x, 4);
       const Var both[] = {dilated(net, four), sigmoid(dilated(net, four))};
       const Var joined = concat(both, 3);
       return net.head(mul(relu(joined), tapescope::tanh(joined)), 4);
     }},
    {"a stride beyond the kernel", 0.35,
     [](RandomNet& net, Var x) {
       const Var sparse =
           conv2d(x, net.constant({4, 1, 1, 3}, .5), {}, {.stride_h = 3, .stride_w = 3});
       return net.head(relu(net.conv(relu(sparse), 3)), 4);
     }},
    {"a way past the convolutions, through a global mean", 0.3,
     [](RandomNet& net, Var x) {
       const Var hidden = relu(net.conv(x, 4));
       const Var gate = sigmoid(net.head(global_avg_pool2d(hidden), 4));
       return add(net.head(mul(hidden, reshape(gate, {1, 1, 4})), 4), net.head(x, 4));
     }},
    {"a dense net", 1, [](RandomNet& net, Var x) { return net.head(relu(net.head(x, 9)), 4); }},
};

constexpr std::int64_t kHeight = 19, kWidth = 22;

Tensor noise(Shape shape, std::uint64_t seed) {
  Tensor values({DType::f32, shape});
  PhiloxStream random(seed);
  for (float& v : values.values<float>()) v = static_cast<float>(random.normal());
  return values;
}

const Tensor kClasses = Tensor::from<std::int64_t>({2}, {1, 3});

LocalOcclusion local_of(const Net& net, Device device = Device::cpu()) {
  return LocalOcclusion(
      [&net](Tape& tape, Var image, Var index) {
        RandomNet random(tape, 5, DType::f32);
        return class_logit(net.logits(random, image), index);
      },
      {kHeight, kWidth, 3}, device);
}

TEST(LocalOcclusion, EqualsThatOfWholePictures) {
  const Tensor x = noise({2, kHeight, kWidth, 3}, 1);
  const Tensor baselines[] = {Tensor::zeros({DType::f32, {1, kHeight, kWidth, 3}}),
                              noise({2, kHeight, kWidth, 3}, 2)};
  for (const Net& net : kNets) {
    Tape tape(Device::cpu(), Mode::evaluation);
    RandomNet random(tape, 5, DType::f32);
    const Var image = tape.input("image", DType::f32, {2, kHeight, kWidth, 3});
    const Var index = tape.input("class", DType::i64, {2});
    Program program = tape.compile({class_logit(net.logits(random, image), index)});
    const Scores scores = [&](const Tensor& pictures) {
      const Tensor all = repeated_rows(kClasses, pictures.shape()[0] / 2);
      return program.run({{"image", pictures}, {"class", all}})[0];
    };
    LocalOcclusion local = local_of(net);
    for (const auto& [window, stride] : {std::pair{1, 3}, {3, 2}, {4, 4}, {5, 3}, {30, 1}}) {
      for (const Tensor& baseline : baselines) {
        SCOPED_TRACE(fmt::format("{}: window {}, stride {}", net.name, window, stride));
        const Windows windows = windows_of(kHeight, kWidth, window, stride);
        const Estimate want = occlusion(scores, x, baseline, windows, 7);
        const LocalOcclusion::Result got = local.run(x, kClasses, baseline, windows, 5);
        double largest = 0;
        for (float v : want.map.values<float>()) largest = std::max(largest, std::abs(double{v}));
        const double scale =
            std::max({largest, std::abs(got.whole.item(0)), std::abs(got.whole.item(1))});
        for (std::int64_t i = 0; i < want.map.elements(); ++i) {
          ASSERT_NEAR(got.estimate.map.item(i), want.map.item(i), 1e-5 * scale) << i;
        }
        // What was foretold is what the Programs have run.
        EXPECT_NEAR(got.forwards, 1 + windows.count() * local.cost(windows), 1e-9 * got.forwards);
        EXPECT_LE(local.cost(windows), 1);
      }
    }
  }
}

TEST(LocalOcclusion, SavesWhereAWindowStaysLocal) {
  for (const Net& net : kNets) {
    const double cost = local_of(net).cost(windows_of(kHeight, kWidth, 3, 4));
    EXPECT_LE(cost, net.cost) << net.name;
  }
}

TEST(LocalOcclusion, DoesNotDependOnTheChunk) {
  const Tensor x = noise({2, kHeight, kWidth, 3}, 1);
  const Tensor baseline = Tensor::zeros({DType::f32, {1, kHeight, kWidth, 3}});
  const Windows windows = windows_of(kHeight, kWidth, 3, 2);
  LocalOcclusion local = local_of(kNets[1]);
  const auto by = [&](int chunk) {
    return numbers(local.run(x, kClasses, baseline, windows, chunk).estimate.map);
  };
  EXPECT_EQ(by(1), by(8));
  EXPECT_EQ(by(3), by(1000));
}

TEST(LocalOcclusion, IsTheSameOnTheEmulatedDevice) {
  const Tensor x = noise({2, kHeight, kWidth, 3}, 1);
  const Tensor baseline = noise({1, kHeight, kWidth, 3}, 2);
  const Windows windows = windows_of(kHeight, kWidth, 6, 8);
  LocalOcclusion cpu = local_of(kNets[0]), emulated = local_of(kNets[0], Device::emulated());
  const LocalOcclusion::Result want = cpu.run(x, kClasses, baseline, windows);
  const LocalOcclusion::Result got = emulated.run(x, kClasses, baseline, windows);
  for (std::int64_t i = 0; i < want.estimate.map.elements(); ++i) {
    EXPECT_NEAR(got.estimate.map.item(i), want.estimate.map.item(i), 1e-4) << i;
  }
}

// 16x16x3, a 3x3 convolution to 4 channels, its mean, a dense layer to 4 classes: 256 * 27 * 4
// multiply-adds and 16. A window of 4x4 reaches 6x6 positions.
TEST(LocalOcclusion, CostsWhatItReaches) {
  const auto record = [](Tape& tape, Var image) {
    RandomNet net(tape, 5, DType::f32);
    return net.head(global_avg_pool2d(relu(net.conv(image, 4))), 4);
  };
  LocalOcclusion local(
      [&](Tape& tape, Var image, Var index) { return class_logit(record(tape, image), index); },
      {16, 16, 3});
  const double all = 256 * 27 * 4 + 16, window = 36 * 27 * 4 + 16;
  EXPECT_DOUBLE_EQ(local.cost(windows_of(16, 16, 4, 4)), window / all);
  // A window as large as the picture saves nothing.
  EXPECT_DOUBLE_EQ(local.cost(windows_of(16, 16, 16, 1)), 1);

  Explainer explainer(record, {16, 16, 3});
  const Tensor x = noise({1, 16, 16, 3}, 1), index = Tensor::from<std::int64_t>({1}, {0});
  ExplainOptions options;
  options.window = 4;
  options.stride = 1;
  options.budget = 30;
  // 169 windows at 0.141 forward passes each fit; of whole pictures only 25 would.
  const Attribution fits = explainer.explain("occlusion", x, index, options);
  EXPECT_NEAR(fits.forward_passes, 1 + 169 * window / all, 1e-9);
  options.budget = 5;
  const Attribution coarse = explainer.explain("occlusion", x, index, options);
  EXPECT_LE(coarse.forward_passes, 5);
  EXPECT_GT(coarse.forward_passes, 3) << "a stride of 3 gives 25 windows";
}

}  // namespace
}  // namespace tapescope::explain
