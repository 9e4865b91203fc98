// Explanations of boxes against the long way round, and their scores against numbers by hand.
#include "tools/detection/box_quality.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/philox.h"

namespace tapescope::detection {
namespace {

constexpr int kSize = 64;

CentreDetector& detector() {
  static CentreDetector model(
      {.classes = {"a", "b"}, .height = kSize, .width = kSize, .channel_scale = 0.25, .seed = 3});
  return model;
}

Tensor noise() {
  Tensor image({DType::f32, {1, kSize, kSize, 3}});
  PhiloxStream random(5);
  for (float& v : image.values<float>()) v = static_cast<float>(2 * random.uniform() - 1);
  return image;
}

std::vector<float> values(const Tensor& t) {
  return {t.values<float>().begin(), t.values<float>().end()};
}

// The same number by a model that gives nothing else.
explain::Attribution alone(const char* method, const CellNumber& what) {
  explain::Explainer explainer(
      [&](Tape&, Var image) {
        const Var map = detector()({{"image", image}}).at(what.side < 0 ? "heat" : "ltrb");
        const Var cell = slice(slice(map, 1, what.y, what.y + 1), 2, what.x, what.x + 1);
        return reshape(cell, {map.shape()[3]});
      },
      {kSize, kSize, 3});
  explain::ExplainOptions options;
  options.layer = detector().shared_map(0, 0);
  return explainer.explain(
      method, noise(), Tensor::from<std::int64_t>({1}, {what.side < 0 ? what.category : what.side}),
      options);
}

TEST(BoxExplainer, OneProgramServesEveryCell) {
  BoxExplainer boxes(detector(), {});
  for (const CellNumber& what :
       {CellNumber{3, 5, 1, -1}, CellNumber{12, 2, 0, -1}, CellNumber{7, 7, 0, 2}}) {
    for (const char* method : {"saliency", "hires-cam", "integrated-gradients"}) {
      const explain::Attribution here = boxes.explain(method, noise(), what, {});
      const explain::Attribution there = alone(method, what);
      EXPECT_EQ(here.value.item(), there.value.item());
      EXPECT_EQ(values(here.map), values(there.map)) << method;
      EXPECT_EQ(here.node, there.node);
    }
  }
  EXPECT_THROW(boxes.explain("saliency", noise(), {16, 0, 0, -1}, {}), Error);
  EXPECT_THROW(boxes.explain("saliency", noise(), {0, 0, 2, -1}, {}), Error);
}

TEST(BoxExplainer, OdamIsWhatSpeaksForTheBox) {
  BoxExplainer boxes(detector(), {});
  const CellNumber what{8, 8, 1, -1};
  const std::vector<float> odam = values(boxes.explain("odam", noise(), what, {}).map);
  const std::vector<float> hires = values(boxes.explain("hires-cam", noise(), what, {}).map);
  ASSERT_EQ(odam.size(), hires.size());
  for (std::size_t i = 0; i < odam.size(); ++i) EXPECT_EQ(odam[i], hires[i] > 0 ? hires[i] : 0);
}

TEST(BoxExplainer, AgainstAnotherNumberIsADifference) {
  BoxExplainer boxes(detector(), {});
  const CellNumber one{8, 8, 1, -1}, other{9, 3, 0, -1};
  const explain::Attribution difference =
      boxes.explain("input-x-gradient", noise(), one, {}, other);
  const explain::Attribution a = boxes.explain("input-x-gradient", noise(), one, {});
  const explain::Attribution b = boxes.explain("input-x-gradient", noise(), other, {});
  EXPECT_NEAR(difference.value.item(), a.value.item() - b.value.item(), 1e-5);
  double largest = 0;
  for (float v : a.map.values<float>()) largest = std::max<double>(largest, std::fabs(v));
  for (std::size_t i = 0; i < values(a.map).size(); ++i) {
    ASSERT_NEAR(difference.map.values<float>()[i],
                a.map.values<float>()[i] - b.map.values<float>()[i], 1e-5 * largest);
  }
  EXPECT_THROW(boxes.explain("saliency", noise(), one, {}, CellNumber{8, 8, 1, 0}), Error);
}

// An untrained head says 1 % everywhere: its logits are about -4.6.
TEST(BoxExplainer, RelevanceOfAnUnlikelyBoxIsWhatItIsMadeOf) {
  BoxExplainer boxes(detector(), {});
  const explain::Attribution a = boxes.explain("lrp-epsilon-plus", noise(), {8, 8, 1, -1}, {});
  ASSERT_LT(a.value.item(), 0);
  double sum = 0;
  for (float v : a.map.values<float>()) sum += v;
  EXPECT_GT(sum, 0);
}

TEST(DRise, OneRunServesAllBoxes) {
  CellReader reader(detector(), {});
  const Tensor baseline = Tensor::zeros({DType::f32, {1, kSize, kSize, 3}});
  const CellNumber targets[] = {{3, 5, 1, -1}, {12, 2, 0, -1}};
  DRiseOptions options;
  options.masks = 20;
  options.cells = 4;
  const auto both = d_rise(reader, noise(), baseline, targets, options);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].forward_passes, 10.5);
  for (std::size_t i = 0; i < 2; ++i) {
    options.chunk = 3;
    const auto one = d_rise(reader, noise(), baseline, std::span(&targets[i], 1), options);
    EXPECT_EQ(values(one[0].map), values(both[i].map));
    EXPECT_EQ(one[0].error_estimate.item(), both[i].error_estimate.item());
    EXPECT_EQ(one[0].forward_passes, 21);
  }
  // The answer that is most like a box, the long way round.
  const Cells cells = reader.read(noise());
  double best = 0;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      double dot = 0, here = 0, there = 0, surest = 0;
      for (int k = 0; k < 2; ++k) {
        const double p = cells.at(0, y, x, k), q = cells.at(0, 3, 5, k);
        dot += p * q;
        here += p * p;
        there += q * q;
        surest = std::max(surest, p);
      }
      const Box a = cells.box(0, y, x), b = cells.box(0, 3, 5);
      const double w = std::min(a.x + a.w, b.x + b.w) - std::max(a.x, b.x);
      const double h = std::min(a.y + a.h, b.y + b.h) - std::max(a.y, b.y);
      const double shared = std::max(0.0, w) * std::max(0.0, h);
      best = std::max(best, shared / (a.area() + b.area() - shared) * surest * dot /
                                (std::sqrt(here) * std::sqrt(there)));
    }
  }
  EXPECT_NEAR(both[0].value.item(), best, 1e-6);
}

TEST(BoxQuality, KnownEnergyPointingAndOthers) {
  CellReader reader(detector(), {});
  BoxSubject subject;
  subject.x = noise();
  subject.baseline = subject.blurred = Tensor::zeros({DType::f32, {1, kSize, kSize, 3}});
  subject.box = {0, 0, 32, 32};
  subject.objects = {{0, 0, 32, 32}, {16, 0, 32, 32}, {40, 40, 8, 8}};
  Map map(kSize, kSize, std::vector<float>(kSize * kSize, 0.0f));
  const auto at = [&](int y, int x) -> float& {
    return map.values[static_cast<std::size_t>(y * kSize + x)];
  };
  at(4, 4) = 3;     // in the box
  at(4, 20) = 1;    // in it and in another: the box's
  at(4, 40) = 2;    // in another
  at(60, 60) = 4;   // in none
  at(44, 44) = -9;  // speaks against
  const auto value = [&](const quality::Panel& panel, std::string_view name) {
    for (std::size_t i = 0; i < box_metrics().size(); ++i) {
      if (box_metrics()[i].name == name) return panel.values[i];
    }
    return -1.0;
  };
  Map opposite = map;
  for (float& v : opposite.values) v = -v;
  const Map random[] = {map, opposite};
  const quality::Panel panel = box_panel(reader, subject, map, random);
  ASSERT_EQ(panel.values.size(), box_metrics().size());
  EXPECT_DOUBLE_EQ(value(panel, "energy"), 0.4);
  EXPECT_DOUBLE_EQ(value(panel, "chance"), 0.25);
  EXPECT_DOUBLE_EQ(value(panel, "others"), 2.0 / 6);
  EXPECT_EQ(value(panel, "pointing"), 0) << "the highest value lies outside";
  EXPECT_DOUBLE_EQ(value(panel, "head"), 1);
  EXPECT_DOUBLE_EQ(value(panel, "neck"), -1) << "zeros outside of both are left out";
  EXPECT_TRUE(std::isnan(value(panel, "backbone")));
  EXPECT_TRUE(std::isnan(value(panel, "mask")));
}

TEST(BoxQuality, CertaintyIsAShareOfThePicturesOwn) {
  CellReader reader(detector(), {});
  BoxSubject subject;
  subject.x = noise();
  const Cells cells = reader.read(subject.x);
  subject.box = cells.box(0, 8, 8);
  subject.category = 1;
  const quality::Scores certainty = certainty_of(reader, subject);
  EXPECT_EQ(certainty(subject.x).item(), 1);
  const Tensor black = Tensor::full({DType::f32, {1, kSize, kSize, 3}}, -2);
  const Tensor of_black = certainty(black);
  EXPECT_TRUE(std::isfinite(of_black.item()));
  subject.box = {500, 500, 4, 4};  // no cell lies on it
  EXPECT_EQ(certainty_of(reader, subject)(subject.x).item(), 0);
}

TEST(BoxQuality, APartIsRandomAndTheRestIsNot) {
  const std::map<DetectorPart, std::vector<std::string>> names = {
      {DetectorPart::head, {"heat.", "ltrb."}},
      {DetectorPart::neck, {"lateral16.", "lateral8.", "lateral4.", "smooth8.", "smooth4."}},
      {DetectorPart::backbone, {"level4.", "level8.", "level16."}}};
  for (DetectorPart part : kDetectorParts) {
    const auto copy = detector().randomised(part, 0);
    int changed = 0;
    const auto before = detector().parameters(), after = copy->parameters();
    for (std::size_t i = 0; i < before.size(); ++i) {
      const bool in_part =
          std::any_of(names.at(part).begin(), names.at(part).end(),
                      [&](const std::string& n) { return before[i]->name.starts_with(n); });
      if (before[i]->value.dtype() != DType::f32) continue;
      const bool same = values(before[i]->value) == values(after[i]->value);
      EXPECT_TRUE(same || in_part) << before[i]->name;
      // Norms and biases begin as they were.
      if (!same) ++changed;
      const bool drawn = in_part && before[i]->value.shape().rank() == 4;
      EXPECT_FALSE(same && drawn) << before[i]->name;
    }
    EXPECT_GT(changed, 0);
  }
}

}  // namespace
}  // namespace tapescope::detection
