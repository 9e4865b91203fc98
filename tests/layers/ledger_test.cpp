// The accounts of relevance on whole models.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/explain/methods.h"
#include "autograd/explain/relevance.h"
#include "autograd/explain/target.h"
#include "engine/philox.h"
#include "layers/models/backbones/backbones.h"
#include "layers/models/zoo.h"

namespace tapescope {
namespace {

struct Net {
  const char* name;
  std::int64_t side, channels;
  double width;
};

struct Account {
  // The seed, less what arrived at the picture and what was taken on the way, in shares of the
  // seed.
  double gap = 0;
  // The most that was on its way, sizes added up, in shares of the seed: where relevance of both
  // signs cancels, rounding is of that.
  double most = 0;
};

// Of sample n of what was summed up to `sum` {N}: the sum of sizes.
double size_of_terms(Var sum, std::int64_t n) {
  const auto sums = [&] {
    return sum.node->op->name() == "reshape" || sum.node->op->name() == "reduce_sum";
  };
  while (sums()) sum = sum.node->operand_data[0];
  const Tensor terms = sum.value().rows(n, n + 1).to(Device::cpu());
  double size = 0;
  for (std::int64_t i = 0; i < terms.elements(); ++i) size += std::abs(terms.item(i));
  return size;
}

Account account(const Net& net, const explain::Composite& composite, Device device) {
  const auto model = make_model({.name = net.name,
                                 .classes = 5,
                                 .channels = net.channels,
                                 .image_size = net.side,
                                 .width = net.width,
                                 .seed = 3});
  for (const ParameterRef& p : model->parameters()) p->value = p->value.to(device);
  Tensor pictures({DType::f32, {2, net.side, net.side, net.channels}});
  PhiloxStream random(9);
  for (float& v : pictures.values<float>()) v = static_cast<float>(random.normal());
  Tape tape(device, Mode::evaluation);
  const Var x = tape.input("x", pictures.to(device)), wrt[] = {x};
  const Var target = explain::unit((*model)({{"image", x}}).at("logits"), 1);
  explain::Ledger ledger;
  explain::relevance(tape, target, wrt, composite, {}, &ledger);
  Account worst;
  for (std::int64_t n = 0; n < 2; ++n) {
    const double seed = ledger.seed.value().item(n);
    double rest = seed - ledger.reached.value().item(n);
    for (const explain::LedgerRow& row : ledger.rows) {
      rest -= row.bias.value().item(n) + row.stabiliser.value().item(n) + row.empty.value().item(n);
    }
    worst.gap = std::max(worst.gap, std::abs(rest / seed));
    for (const explain::LedgerRow& row : ledger.rows) {
      worst.most = std::max(worst.most, size_of_terms(row.arrived, n) / std::abs(seed));
    }
  }
  return worst;
}

// Of all methods that hand relevance on.
std::vector<explain::Composite> composites() {
  std::vector<explain::Composite> all;
  for (const explain::Method& method : explain::all_methods()) {
    const auto composite = explain::composite_of(method.name);
    if (composite && composite->domain() == explain::Composite::Domain::relevance) {
      all.push_back(*composite);
    }
  }
  EXPECT_EQ(all.size(), 7u);
  return all;
}

TEST(Ledger, ClosesOnTheZooToAHundredThousandthOfTheSeed) {
  for (const Net& net : {Net{"lenet", 28, 1, 1}, Net{"mlp", 28, 1, 1}, Net{"seednet", 64, 3, 0.1},
                         Net{"resnet20", 32, 3, 1}, Net{"resnet18", 64, 3, 0.25}}) {
    for (const explain::Composite& composite : composites()) {
      EXPECT_LE(account(net, composite, Device::cpu()).gap, 1e-5)
          << net.name << " " << composite.name();
    }
  }
}

// alpha 2, beta 1 doubles what is on its way at each of their fifty layers; of layer norm the same
// may be said where a value is near the mean.
TEST(Ledger, ClosesOnTheBackbones) {
  for (const backbones::Backbone& backbone : backbones::all()) {
    for (const explain::Composite& composite : composites()) {
      const Account a = account({backbone.name.data(), 64, 3, 0.0625}, composite, Device::cpu());
      EXPECT_LE(a.gap, 1e-5 * std::max(1.0, a.most)) << backbone.name << " " << composite.name();
    }
  }
}

TEST(Ledger, ClosesOnTheEmulatedDevice) {
  for (const Net& net : {Net{"lenet", 12, 1, 0.5}, Net{"resnet20", 8, 3, 0.25}}) {
    for (const explain::Composite& composite : composites()) {
      EXPECT_LE(account(net, composite, Device::emulated()).gap, 1e-5)
          << net.name << " " << composite.name();
    }
  }
}

}  // namespace
}  // namespace tapescope
