// What has to hold of relevance on any net: accounts that balance, batches, devices, costs.
#include "autograd/explain/relevance.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "engine/philox.h"
#include "tests/autograd/explain_cases.h"
#include "tests/autograd/random_net.h"

namespace tapescope::explain {
namespace {

const Composite kComposites[] = {lrp::epsilon(.05),
                                 lrp::epsilon_plus(),
                                 lrp::epsilon_plus_flat(),
                                 lrp::epsilon_gamma_box(-4, 4, .25, .05),
                                 lrp::epsilon_gamma_box({}, {}, .25, .05),
                                 lrp::epsilon_alpha2_beta1(.05),
                                 lrp::epsilon_alpha2_beta1_flat(.05),
                                 excitation_backprop(),
                                 only(rules::w_square(.05))};

TEST(Ledger, ClosesOnAnyNetAndComposite) {
  for (int family = 0; family < RandomNet::kFamilies; ++family) {
    for (Composite composite : kComposites) {
      composite.on(op("mul"), rules::share());
      for (const DType dtype : {DType::f64, DType::f32}) {
        SCOPED_TRACE(fmt::format("family {}, {}, {}", family, composite.name(), name_of(dtype)));
        Tape tape(Device::cpu(), Mode::evaluation);
        RandomNet net(tape, 40 + static_cast<std::uint64_t>(family), dtype);
        const Var x = net.image(3);
        const Var target = class_of(tape, net.logits(x, family), 1), wrt[] = {x};
        Ledger ledger;
        const Var r = relevance(tape, target, wrt, composite, {}, &ledger)[0];
        for (std::int64_t n = 0; n < 3; ++n) {
          // Where relevance of both signs cancels, f32 rounds what there is and not what is left.
          double taken = 0, largest = std::abs(ledger.seed.value().item(n));
          for (const LedgerRow& row : ledger.rows) {
            const double arrived = row.arrived.value().item(n);
            largest = std::max(largest, std::abs(arrived));
            const double kept = row.bias.value().item(n) + row.stabiliser.value().item(n) +
                                row.empty.value().item(n);
            taken += kept;
            const double scale = largest + std::abs(kept);
            EXPECT_NEAR(arrived, row.passed_on.value().item(n) + kept,
                        (dtype == DType::f64 ? 1e-12 : 1e-5) * scale)
                << row.path << " by " << row.rule;
          }
          const double tolerance = (dtype == DType::f64 ? 1e-12 : 1e-5) * largest;
          EXPECT_NEAR(ledger.seed.value().item(n), ledger.reached.value().item(n) + taken,
                      tolerance);
          EXPECT_EQ(ledger.seed.value().item(n),
                    composite.starts_from_one() ? 1 : target.value().item(n));
          double sum = 0;
          for (std::int64_t i = 0; i < x.shape().elements(1, 4); ++i) {
            sum += r.value().item(n * x.shape().elements(1, 4) + i);
          }
          EXPECT_NEAR(sum, ledger.reached.value().item(n), tolerance);
        }
      }
    }
  }
}

TEST(Relevance, IsTheSameOnTheEmulatedDevice) {
  for (int family = 0; family < RandomNet::kFamilies; ++family) {
    for (Composite composite : {lrp::epsilon(.05), lrp::epsilon_gamma_box({}, {}, .25, .05),
                                lrp::epsilon_alpha2_beta1_flat(.05)}) {
      SCOPED_TRACE(fmt::format("family {}, {}", family, composite.name()));
      composite.on(op("mul"), rules::share());
      const auto map = [&](Device device) {
        Tape tape(device, Mode::evaluation);
        RandomNet net(tape, 40 + static_cast<std::uint64_t>(family), DType::f32);
        const Var x = net.image(2);
        return tape.relevance(class_of(tape, net.logits(x, family), 1), {x}, composite)[0]
            .value()
            .host();
      };
      const Tensor want = map(Device::cpu()), got = map(Device::emulated());
      double largest = 1;
      for (std::int64_t i = 0; i < want.elements(); ++i) {
        largest = std::max(largest, std::abs(want.item(i)));
      }
      for (std::int64_t i = 0; i < want.elements(); ++i) {
        EXPECT_NEAR(got.item(i), want.item(i), 1e-3 * largest) << i;
      }
    }
  }
}

// LRP-0 of a ReLU net is input times gradient, biases or not.
TEST(Relevance, WithATinyEpsilonIsInputTimesGradientOnReluNets) {
  for (int family : {0, 1, 2, 5}) {
    SCOPED_TRACE(family);
    Tape tape(Device::cpu(), Mode::evaluation);
    RandomNet net(tape, 7 + static_cast<std::uint64_t>(family), DType::f64);
    const Var x = net.image(2);
    const Var target = class_of(tape, net.logits(x, family), 2);
    const Tensor want = mul(x, tape.gradient(target, {x})[0]).value();
    for (const bool fold : {true, false}) {
      const Tensor got =
          tape.relevance(target, {x}, lrp::epsilon(1e-13).fold_batch_norm(fold))[0].value();
      for (std::int64_t i = 0; i < want.elements(); ++i) {
        EXPECT_NEAR(got.item(i), want.item(i), 1e-7) << i;
      }
    }
  }
}

// A convolution whose normalisation is folded answers as one that was made with those weights.
TEST(Relevance, OfAFoldedBatchNormIsThatOfTheFoldedConvolution) {
  for (const Composite& composite : kComposites) {
    SCOPED_TRACE(composite.name());
    Tape tape(Device::cpu(), Mode::evaluation);
    RandomNet net(tape, 5, DType::f64);
    const Var x = net.image(2);
    const Var w = net.constant({4, 3, 3, 3}, .3), scale = net.constant({4}, .2, 1),
              shift = net.constant({4}, .3), mean = net.constant({4}, .3),
              variance = square(net.constant({4}, .2, 1));
    const Conv2dOptions options{.pad_h = 1, .pad_w = 1};
    const Var head = net.constant({3, 4}, .5);
    const Var normed =
        batch_norm_inference(conv2d(x, w, {}, options), scale, shift, mean, variance);
    const Var factor = mul(scale, rsqrt(affine(variance, 1, 1e-5)));
    const Var made = conv2d(x, mul(w, reshape_all(factor, {4, 1, 1, 1})),
                            sub(shift, mul(mean, factor)), options);
    const auto map = [&](Var hidden) {
      const Var y = linear(global_avg_pool2d(relu(hidden)), head);
      return tape.relevance(class_of(tape, y, 0), {x}, composite)[0].value();
    };
    const Tensor got = map(normed), want = map(made);
    for (std::int64_t i = 0; i < want.elements(); ++i) {
      EXPECT_NEAR(got.item(i), want.item(i), 1e-9) << i;
    }
  }
}

TEST(Relevance, OfABatchIsThatOfItsImagesBitForBitAndScalesWithTheSeed) {
  for (const Composite& composite : kComposites) {
    SCOPED_TRACE(composite.name());
    const auto program = [&](std::int64_t rows, bool doubled) {
      Tape tape(Device::cpu(), Mode::evaluation);
      RandomNet net(tape, 11, DType::f32);
      const Var x = tape.input("x", DType::f32, {rows, 6, 6, 3});
      const Var target = class_of(tape, net.logits(x, 2), 1);
      const Var seed = doubled ? affine(target, 2) : target;
      return tape.compile({tape.relevance(target, {x}, composite, seed)[0]});
    };
    Tensor images({DType::f32, {3, 6, 6, 3}});
    PhiloxStream random(3);
    for (float& v : images.values<float>()) v = static_cast<float>(random.normal());
    const Tensor all = program(3, false).run({{"x", images}})[0];
    const Tensor twice = program(3, true).run({{"x", images}})[0];
    Program one = program(1, false);
    for (std::int64_t n = 0; n < 3; ++n) {
      const Tensor alone = one.run({{"x", images.rows(n, n + 1)}})[0];
      EXPECT_EQ(numbers(alone), numbers(all.rows(n, n + 1)));
    }
    for (std::int64_t i = 0; i < all.elements(); ++i) {
      EXPECT_NEAR(twice.item(i), 2 * all.item(i), 1e-5 * (1 + std::abs(all.item(i))));
    }
  }
}

TEST(ExcitationBackprop, IsADistributionOverTheInput) {
  Tape tape(Device::cpu(), Mode::evaluation);
  RandomNet net(tape, 21, DType::f64);
  const Var x = tape.input("pixels", square(net.constant({2, 6, 6, 3}, 1)).value());
  const Var hidden = relu(net.conv(max_pool2d(relu(net.conv(x, 6)), {}), 5));
  const Var target = class_of(tape, net.head(hidden, 4), 0);
  const Tensor r = tape.relevance(target, {x}, excitation_backprop())[0].value();
  EXPECT_NEAR(total(r), 2, 1e-4);
  for (std::int64_t i = 0; i < r.elements(); ++i) EXPECT_GE(r.item(i), 0);
}

TEST(ExcitationBackprop, OfADifferenceIsBoundedHoweverNearTheClassesAre) {
  // Hidden 7 and 2; both scores are 16. Of the first hidden 0 has 14/16, of the second 7/16.
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 3}, {1, 2, 3}));
  const Var hidden = relu(linear(x, tape.constant(f32({2, 3}, {1, 0, 2, 0, 1, 0}))));
  const Var y = linear(hidden, tape.constant(f32({2, 2}, {2, 1, 1, 4.5})));
  const Var difference = class_of(tape, sub(y, slice(y, 1, 1, 2)), 0);
  EXPECT_EQ(difference.value().item(), 0);
  expect_near(numbers(tape.relevance(difference, {x}, excitation_backprop())[0].value()),
              {1 / 16.f, -7 / 16.f, 6 / 16.f}, 1e-5f);
  // Nothing inhibits: there are no negative weights.
  expect_near(numbers(contrastive_excitation_backprop(tape, difference, x).value()),
              {1 / 16.f, -7 / 16.f, 6 / 16.f}, 1e-5f);
}

TEST(ExcitationBackprop, ContrastiveIsZeroWhereTheClassesAreTwoAlike) {
  // y = [h, -h]: what excites the first class inhibits the second.
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 3}, {1, 2, 3}));
  const Var hidden = relu(linear(x, tape.constant(f32({2, 3}, {1, 0, 2, 0, 1, 0}))));
  const Var y = linear(hidden, tape.constant(f32({2, 2}, {1, -1, -1, 1})));
  const Tensor first = contrastive_excitation_backprop(tape, class_of(tape, y, 0), x).value();
  const Tensor second = contrastive_excitation_backprop(tape, class_of(tape, y, 1), x).value();
  // The first class is excited by hidden 0 alone, which sees x0 once and x2 twice: 1/7 and 6/7.
  expect_near(numbers(first), {1 / 7.f, -1, 6 / 7.f}, 1e-5f);
  expect_near(numbers(second), {-1 / 7.f, 1, -6 / 7.f}, 1e-5f);
}

}  // namespace
}  // namespace tapescope::explain
