// A rule for relevance of one's own, and a composite that says where it holds. The ledger tells,
// node by node, what arrived, what was passed on and what was lost.
#include <fmt/format.h>
#include <tapescope/tapescope.h>

#include <cmath>

using namespace tapescope;
using namespace tapescope::explain;

// "Absolute": each input's share of an output is |a w|, whatever their signs. As a sum of parts:
// |a w| = a+ w+ + a- w- - a+ w- - a- w+, without the bias.
Rule absolute() {
  return {.name = "absolute",
          .groups = {{.parts = {{Pick::positive, Pick::positive, Pick::none, 1},
                                {Pick::negative, Pick::negative, Pick::none, 1},
                                {Pick::positive, Pick::negative, Pick::none, -1},
                                {Pick::negative, Pick::positive, Pick::none, -1}}}}};
}

int main() {
  const auto model = make_model({.name = "lenet", .classes = 3, .width = 0.25});
  Tensor picture({DType::f32, {1, 28, 28, 1}});
  PhiloxStream random(1);
  for (float& v : picture.values<float>()) v = static_cast<float>(random.uniform());

  // Rules are asked in order: ours for convolutions, LRP-epsilon for matrix products, and what
  // every composite ends with for the rest.
  Composite mine("mine");
  mine.on(op("conv2d"), absolute()).on(op("matmul"), rules::epsilon());
  with_defaults(mine);

  Tape tape(Device::cpu(), Mode::evaluation);
  const Var image = tape.input("image", picture);
  const Var logits = model->logits(image);
  const Var score = reduce_sum(slice(logits, 1, 0, 1), std::array{1});
  Ledger ledger;
  const Var map = relevance(tape, score, std::array{image}, mine, {}, &ledger)[0];
  fmt::print("{:24} {:10} {:>10} {:>10} {:>10}\n", "node", "rule", "arrived", "passed on", "bias");
  double lost = 0;
  for (const LedgerRow& row : ledger.rows) {
    fmt::print("{:24} {:10} {:10.5f} {:10.5f} {:10.5f}\n", row.path, row.rule,
               row.arrived.value().item(), row.passed_on.value().item(), row.bias.value().item());
    for (Var part : {row.bias, row.stabiliser, row.empty}) lost += part.value().item();
  }
  const double seed = ledger.seed.value().item(), reached = sum(map).value().item();
  fmt::print("score {:.5f} = {:.5f} in the picture + {:.5f} that the ledger names\n", seed, reached,
             lost);
  return std::abs(seed - reached - lost) < 1e-4 * std::abs(seed) ? 0 : 1;
}
