// The accounts of relevance on whole models.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/explain/methods.h"
#include "autograd/explain/relevance.h"
#include "autograd/explain/target.h"
#include "engine/philox.h"
#include "layers/models/zoo.h"

namespace tapescope {
namespace {

struct Net {
  const char* name;
  std::int64_t side, channels;
  double width;
};

// The seed, less what arrived at the picture and what was taken on the way, in shares of the seed.
double gap(const Net& net, const explain::Composite& composite, Device device) {
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
  double worst = 0;
  for (std::int64_t n = 0; n < 2; ++n) {
    const double seed = ledger.seed.value().item(n);
    double rest = seed - ledger.reached.value().item(n);
    for (const explain::LedgerRow& row : ledger.rows) {
      rest -= row.bias.value().item(n) + row.stabiliser.value().item(n) + row.empty.value().item(n);
    }
    worst = std::max(worst, std::abs(rest / seed));
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
      EXPECT_LE(gap(net, composite, Device::cpu()), 1e-5) << net.name << " " << composite.name();
    }
  }
}

TEST(Ledger, ClosesOnTheEmulatedDevice) {
  for (const Net& net : {Net{"lenet", 12, 1, 0.5}, Net{"resnet20", 8, 3, 0.25}}) {
    for (const explain::Composite& composite : composites()) {
      EXPECT_LE(gap(net, composite, Device::emulated()), 1e-5)
          << net.name << " " << composite.name();
    }
  }
}

}  // namespace
}  // namespace tapescope
