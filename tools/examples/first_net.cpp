// A net of one's own, trained, explained and printed. Its pictures show a bright bar, lying (class
// 0) or standing (class 1).
#include <fmt/format.h>
#include <tapescope/tapescope.h>

using namespace tapescope;

struct BarNet : Module {
  Conv2d conv{*this, "conv", 1, 8, 3, {.padding = 1}};
  Linear fc{*this, "fc", 6 * 6 * 8, 2, {.relu_follows = false}};
  Var operator()(Var image) const { return fc(flatten(max_pool2d(with_relu(conv, image), {}))); }
};

// N pictures {N, 12, 12, 1} and their classes.
std::pair<Tensor, Tensor> bars(std::int64_t N, std::uint64_t seed) {
  Tensor images = Tensor::zeros({DType::f32, {N, 12, 12, 1}}), classes({DType::i64, {N}});
  PhiloxStream random(seed);
  for (std::int64_t n = 0; n < N; ++n) {
    const std::int64_t standing = n % 2, at = static_cast<std::int64_t>(random.uniform() * 12);
    classes.values<std::int64_t>()[n] = standing;
    for (std::int64_t i = 0; i < 12; ++i)
      images.values<float>()[n * 144 + (standing ? i * 12 + at : at * 12 + i)] = 1;
  }
  return {images, classes};
}

int main() {
  const BarNet net;
  const auto parameters = net.parameters();
  Tape training(Device::cpu(), Mode::training);
  const Var image = training.input("image", DType::f32, {32, 12, 12, 1});
  const Var label = training.input("label", DType::i64, {32});
  const Var loss = mean(cross_entropy(net(image), label));
  Optimizer adam({.name = "adamw"});
  const Effects updates = adam.update(parameters, training.gradient(loss, parameters));
  Program step = training.compile({loss}, updates);
  for (std::int64_t i = 0; i < 100; ++i) {
    const auto [images, classes] = bars(32, static_cast<std::uint64_t>(i));
    const Tensor value = step.run({{"image", images},
                                   {"label", classes},
                                   {"step", Tensor::scalar_i64(i)},
                                   {"learning_rate", Tensor::scalar(0.01f)}})[0];
    if (i % 25 == 0 || i == 99) fmt::print("step {:3}  loss {:.4f}\n", i, value.item());
  }

  // One picture, on a tape of its own: what it was told, and where from.
  const auto [picture, truth] = bars(1, 1000);
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("image", picture);
  const Var score = reduce_sum(slice(net(x), 1, 0, 1), std::array{1});  // of class 0, {1}
  const Var map = tape.relevance(score, {x}, lrp::epsilon())[0];        // {1, 12, 12, 1}
  fmt::print("{}", list_nodes(tape));
  fmt::print("score {:.4f}, relevance in the picture {:.4f}\n", score.value().item(),
             sum(map).value().item());
  return score.value().item() > 0 ? 0 : 1;
}
