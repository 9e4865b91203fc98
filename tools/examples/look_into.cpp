// A look into a run that `tapescope train` made: its nodes, and where in a picture its answer came
// from.
//     look_into RUN PICTURE
#include <fmt/format.h>
#include <tapescope/tapescope.h>
#include <tapescope/tools/tasks/kit.h>
#include <tapescope/tools/training/picture.h>

using namespace tapescope;

int main(int argc, char** argv) try {
  if (argc != 3) return fmt::print(stderr, "usage: look_into RUN PICTURE\n"), 2;
  const auto run = tasks::open_run({.run = argv[1]});
  const Tensor picture = read_picture(argv[2], run->preprocess()).input;  // f32 {1, H, W, C}

  Tape tape(Device::cpu(), Mode::evaluation);
  const Var image = tape.input("image", picture);
  const NamedVars outputs = run->model()({{"image", image}});
  fmt::print("{}", list_nodes(tape));
  const Var logits = outputs.at("logits"), best = reduce_max(logits, std::array{1});  // {1}
  const Var gradient = tape.gradient(best, {image})[0];
  const Var saliency = reduce_max(abs(gradient), std::array{3});  // {1, H, W}

  // The largest gradient of each cell of an 8 x 8 grid, as characters.
  const std::int64_t H = picture.shape()[1], W = picture.shape()[2];
  const double most = reduce_max(saliency, std::array{0, 1, 2}).value().item();
  for (std::int64_t row = 0; row < 8; ++row) {
    for (std::int64_t column = 0; column < 8; ++column) {
      double value = 0;
      for (std::int64_t y = row * H / 8; y < (row + 1) * H / 8; ++y)
        for (std::int64_t x = column * W / 8; x < (column + 1) * W / 8; ++x)
          value = std::max(value, saliency.value().item(y * W + x));
      fmt::print("{}", " .:-=+*#%@"[static_cast<int>(value / most * 9)]);
    }
    fmt::print("\n");
  }
  return 0;
} catch (const Error& error) {
  return fmt::print(stderr, "{}\n", error.what()), error.blame() == Blame::usage ? 2 : 1;
}
