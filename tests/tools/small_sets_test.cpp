// What the diagnosis says of accuracies on few images: nothing that they cannot tell.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "engine/philox.h"
#include "tools/monitoring/binomial.h"
#include "tools/monitoring/diagnosis.h"

namespace tapescope::monitoring {
namespace {

std::set<std::string> kinds(const History& history) {
  std::set<std::string> names;
  for (const Finding& finding : diagnose(history)) {
    if (finding.is_problem) names.insert(finding.kind);
  }
  return names;
}

// A training of 12 epochs on two or more equal classes that learns its training set by heart. Each
// validation image is answered rightly with probability `accuracy`, and in one epoch of five drawn
// anew, as nets do that change little from epoch to epoch.
History by_heart(std::int64_t classes, std::int64_t images, double accuracy, std::uint64_t seed) {
  PhiloxStream random(seed);
  History h;
  h.start.loss = "nll";
  for (std::int64_t c = 0; c < classes; ++c) {
    h.start.classes.push_back(std::to_string(c));
    h.start.images.push_back(40);
  }
  h.start.validation_images = images;
  std::vector<bool> right(static_cast<std::size_t>(images));
  const double guess = std::log(static_cast<double>(classes));
  for (int epoch = 1; epoch <= 12; ++epoch) {
    EpochRecord e;
    e.epoch = epoch;
    e.train_loss = guess / (epoch * epoch);
    e.validated = true;
    e.seconds = 1;
    double count = 0, loss = 0;
    for (std::size_t i = 0; i < right.size(); ++i) {
      if (epoch == 1 || random.below(5) == 0) right[i] = random.uniform_f64() < accuracy;
      count += right[i] ? 1 : 0;
      loss += right[i] ? 0.1 : 1.5 * guess;
    }
    e.validation_score = count / static_cast<double>(images);
    e.validation_loss = loss / static_cast<double>(images);
    h.epochs.push_back(e);
  }
  return h;
}

// False alarms on clean sets, whatever their size: under 1 %.
TEST(Diagnosis, OfCleanSetsOfAnySizeIsSilent) {
  constexpr int kTrainings = 300;
  for (const auto& [classes, accuracies] :
       std::vector<std::pair<std::int64_t, std::vector<double>>>{
           {2, {0.7, 0.8, 0.95}}, {3, {0.6, 0.9}}, {10, {0.5, 0.8}}}) {
    for (double accuracy : accuracies) {
      for (std::int64_t images : {1, 2, 4, 6, 8, 10, 14, 20, 30, 50, 100}) {
        int alarms = 0, notes = 0;
        for (int k = 0; k < kTrainings; ++k) {
          const std::vector<Finding> found = diagnose(
              by_heart(classes, images, accuracy, static_cast<std::uint64_t>(1000 * images + k)));
          for (const Finding& f : found) {
            // A rising loss is asked about by itself below: these losses jump with every answer.
            alarms += f.is_problem && f.kind != "overfitting";
            notes += f.kind == "validation-too-small";
          }
        }
        EXPECT_LE(alarms, kTrainings / 100)
            << classes << " classes, " << images << " images, accuracy " << accuracy;
        EXPECT_EQ(notes, images < 30 ? kTrainings : 0) << images;
      }
    }
  }
}

TEST(Diagnosis, OfAConstantValidationLossIsNoOverfitting) {
  for (std::int64_t images : {1, 2, 4, 6, 10, 20, 50, 100}) {
    int alarms = 0;
    for (int k = 0; k < 500; ++k) {
      History h = by_heart(2, images, 0.85, static_cast<std::uint64_t>(k));
      PhiloxStream random(static_cast<std::uint64_t>(k) + 99);
      for (EpochRecord& e : h.epochs) {  // exponential losses, of other images every epoch
        e.validation_loss = 0;
        for (std::int64_t i = 0; i < images; ++i) {
          e.validation_loss -=
              0.4 * std::log(1 - random.uniform_f64()) / static_cast<double>(images);
        }
      }
      alarms += kinds(h).contains("overfitting");
    }
    EXPECT_LT(alarms, 500 / 100) << images;
  }
}

// Labels that were shuffled are named wherever the images can tell.
TEST(Diagnosis, NamesShuffledLabelsWhereTheImagesCanTell) {
  const struct {
    std::int64_t classes, images;
    double named;
  } cases[] = {{2, 300, 0.95}, {2, 150, 0.8}, {3, 100, 0.9}, {10, 40, 0.9}, {10, 100, 0.95}};
  for (const auto& c : cases) {
    int named = 0;
    constexpr int kTrainings = 200;
    for (int k = 0; k < kTrainings; ++k) {
      named += kinds(by_heart(c.classes, c.images, 1.0 / static_cast<double>(c.classes),
                              static_cast<std::uint64_t>(k)))
                   .contains("labels-unrelated");
    }
    EXPECT_GE(named, c.named * kTrainings) << c.classes << " classes, " << c.images << " images";
  }
}

// Six validation images all right, which guessing brings about once in 64 times.
TEST(Diagnosis, OfSixImagesAllRightIsSilent) {
  const History h = by_heart(2, 6, 1, 1);
  EXPECT_EQ(kinds(h), std::set<std::string>{});
  EXPECT_NE(to_text(h, diagnose(h)).find("the validation set of 6 images is too small to tell"),
            std::string::npos);
}

// From SciPy: binom.cdf, binom.sf, binomtest(k, n).proportion_ci(0.95, "exact").
TEST(Binomial, TailsAndIntervals) {
  EXPECT_NEAR(at_most(14, 20, 0.75), 0.3828273, 1e-7);
  EXPECT_NEAR(at_most(0, 6, 0.5), 0.015625, 1e-12);
  EXPECT_NEAR(at_least(6, 6, 0.5), 0.015625, 1e-12);
  EXPECT_NEAR(at_least(23, 30, 0.5), 0.0026114, 1e-7);
  EXPECT_NEAR(at_most(4900, 10000, 0.5), 0.0232928, 1e-6);
  EXPECT_EQ(at_most(-1, 5, 0.5), 0);
  EXPECT_EQ(at_most(5, 5, 0.5), 1);
  const auto [low, high] = interval_of(5, 6);
  EXPECT_NEAR(low, 0.3587654, 1e-6);
  EXPECT_NEAR(high, 0.9957893, 1e-6);
  EXPECT_NEAR(interval_of(6, 6).first, 0.5407419, 1e-6);
  EXPECT_EQ(interval_of(6, 6).second, 1);
  EXPECT_EQ(interval_of(0, 6).first, 0);
}

}  // namespace
}  // namespace tapescope::monitoring
