// Evaluation of detections against pycocotools' stored results and figures worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/detection/coco_evaluation.h"
#include "tools/detection/error_costs.h"

namespace tapescope::detection {
namespace {

using nlohmann::json;

Box box_of(const json& b) { return {b[0], b[1], b[2], b[3]}; }

class CocoEvaluation : public ::testing::TestWithParam<const char*> {};

TEST_P(CocoEvaluation, EqualsPycocotools) {
  std::ifstream file(std::string(TAPESCOPE_SOURCE_DIR "/tests/fixtures/detection/") + GetParam() +
                     ".json");
  ASSERT_TRUE(file.good());
  const json fixture = json::parse(file);
  std::vector<Truth> truths;
  for (const json& t : fixture["truths"]) {
    truths.push_back({t["image"], t["id"], t["category"], box_of(t["box"]), t["area"], t["crowd"]});
  }
  std::vector<Detection> detections;
  for (const json& d : fixture["detections"]) {
    detections.push_back({d["image"], d["category"], box_of(d["box"]), d["score"]});
  }
  const CocoResult result =
      evaluate_coco(truths, detections, fixture["images"], fixture["categories"]);
  const std::array<double, 12> summary = result.summary();
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_NEAR(summary[i], fixture["summary"][i].get<double>(), 1e-12)
        << CocoResult::summary_names()[i];
  }
  const int K = static_cast<int>(result.categories.size());
  std::size_t at = 0;
  for (int t = 0; t < kThresholds; ++t) {
    for (int r = 0; r < kRecalls; ++r) {
      for (int k = 0; k < K; ++k, ++at) {
        ASSERT_NEAR(result.precision_at(t, r, k, 0, 2), fixture["precision"][at].get<double>(),
                    1e-12)
            << "threshold " << t << ", recall " << r << ", category " << k;
      }
    }
  }
  at = 0;
  for (double recall : result.recall) {
    ASSERT_NEAR(recall, fixture["recall"][at].get<double>(), 1e-12) << at;
    ++at;
  }
}
INSTANTIATE_TEST_SUITE_P(Fixtures, CocoEvaluation,
                         ::testing::Values("random", "ties_in_score", "id_zero", "by_hand",
                                           "bccd"));

TEST(BoxErrors, KindsOfErrors) {
  const std::vector<Truth> truths = {{0, 1, 1, {0, 0, 10, 10}, 100},
                                     {0, 2, 1, {50, 0, 10, 10}, 100},
                                     {0, 3, 2, {100, 0, 10, 10}, 100},
                                     {0, 4, 2, {150, 0, 10, 10}, 100},
                                     {0, 5, 2, {200, 0, 10, 10}, 100}};
  const std::vector<Detection> detections = {
      {0, 1, {0, 0, 10, 10}, 0.9},     // right
      {0, 1, {1, 0, 10, 10}, 0.8},     // duplicate
      {0, 1, {57, 0, 10, 10}, 0.8},    // localisation
      {0, 1, {100, 0, 10, 10}, 0.8},   // classification
      {0, 1, {157, 0, 10, 10}, 0.8},   // both
      {0, 1, {300, 0, 10, 10}, 0.8},   // background
      {0, 2, {200, 0, 10, 10}, 0.1}};  // below the score that is asked for
  const Judgement judged = judge_boxes(truths, detections, 0.5);
  const ErrorCounts counts = count_errors(judged);
  EXPECT_EQ(counts.right, 1);
  EXPECT_EQ(counts.duplicate, 1);
  EXPECT_EQ(counts.localisation, 1);
  EXPECT_EQ(counts.classification, 1);
  EXPECT_EQ(counts.both, 1);
  EXPECT_EQ(counts.background, 1);
  EXPECT_EQ(counts.missed, 2);
  // Which box, and about which object.
  ASSERT_EQ(judged.boxes.size(), 6u);
  EXPECT_EQ(judged.boxes[0].outcome, Outcome::right);
  EXPECT_EQ(judged.boxes[0].overlap, 1);
  const std::ptrdiff_t about[] = {0, 0, 1, 2, 3, -1};
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(judged.boxes[i].detection, i);
    EXPECT_EQ(judged.boxes[i].truth, about[i]) << i;
  }
  EXPECT_NEAR(judged.boxes[2].overlap, 30.0 / 170, 1e-12);
  EXPECT_EQ(judged.found, (std::vector<bool>{true, false, false, false, false}));
  EXPECT_EQ(judged.missed, (std::vector<bool>{false, false, false, true, true}));
  EXPECT_STREQ(name_of(judged.boxes[4].outcome), "both");
}

TEST(BoxErrors, InACrowdNothingIsWrong) {
  std::vector<Truth> truths = {{0, 1, 1, {0, 0, 10, 10}, 100},
                               {0, 2, 1, {0, 0, 100, 100}, 10000, true}};
  const std::vector<Detection> detections = {
      {0, 1, {0, 0, 10, 10}, 0.9},     // right, though it is in the crowd
      {0, 1, {1, 0, 10, 10}, 0.8},     // would be a duplicate
      {0, 1, {50, 50, 10, 10}, 0.8},   // in the crowd
      {0, 1, {96, 50, 10, 10}, 0.8},   // less than half of it
      {0, 2, {50, 50, 10, 10}, 0.8},   // of another class
      {1, 1, {50, 50, 10, 10}, 0.8}};  // in another picture
  const ErrorCounts counts = count_errors(judge_boxes(truths, detections, 0.5));
  EXPECT_EQ(counts.right, 1);
  EXPECT_EQ(counts.duplicate, 0);
  EXPECT_EQ(counts.background, 3);
  EXPECT_EQ(counts.missed, 0);
  truths[1].crowd = false;
  EXPECT_EQ(count_errors(judge_boxes(truths, detections, 0.5)).duplicate, 1);
}

TEST(ErrorCosts, ByHand) {
  // Class 1: two objects, one of them found behind a surer box on nothing. Precision 1/2 up to
  // recall 1/2: 51 of the 101 recalls.
  const std::vector<Truth> truths = {{0, 1, 1, {0, 0, 10, 10}, 100},
                                     {0, 2, 1, {50, 0, 10, 10}, 100}};
  const std::vector<Detection> detections = {{0, 1, {0, 0, 10, 10}, 0.8},
                                             {0, 1, {300, 0, 10, 10}, 0.9}};
  const ErrorCosts costs = error_costs(truths, detections, {0}, {1});
  const double half = 51.0 / 101;
  EXPECT_NEAR(costs.ap50, half / 2, 1e-12);
  EXPECT_NEAR(costs.of_boxes[static_cast<std::size_t>(Outcome::background)], half / 2, 1e-12);
  EXPECT_NEAR(costs.missed, 0.5 - half / 2, 1e-12) << "recall 1 with a precision of 1/2";
  EXPECT_EQ(costs.of_boxes[static_cast<std::size_t>(Outcome::duplicate)], 0);
  EXPECT_EQ(costs.of_boxes[static_cast<std::size_t>(Outcome::right)], 0);
}

TEST(ErrorCosts, MendedBoxesAndClassesFindTheirObjectsOnce) {
  const auto cost = [](const ErrorCosts& costs, Outcome kind) {
    return costs.of_boxes[static_cast<std::size_t>(kind)];
  };
  // Two badly placed boxes on one object: put right, the surer finds it and the other is gone.
  const std::vector<Truth> one = {{0, 1, 1, {0, 0, 10, 10}, 100}};
  const std::vector<Detection> beside = {{0, 1, {7, 0, 10, 10}, 0.9}, {0, 1, {0, 7, 10, 10}, 0.8}};
  const ErrorCosts placed = error_costs(one, beside, {0}, {1});
  EXPECT_EQ(placed.ap50, 0);
  EXPECT_NEAR(cost(placed, Outcome::localisation), 1, 1e-12);
  EXPECT_EQ(placed.missed, 0) << "a badly placed box explains it";
  // A surer box of another class: put right, it takes the object from the right one, whose going
  // costs nothing; class 2 loses a wrong box.
  const std::vector<Truth> two = {{0, 1, 1, {0, 0, 10, 10}, 100}, {0, 2, 2, {50, 0, 10, 10}, 100}};
  const std::vector<Detection> named = {
      {0, 2, {0, 0, 10, 10}, 0.9}, {0, 1, {0, 0, 10, 10}, 0.8}, {0, 2, {50, 0, 10, 10}, 0.7}};
  const ErrorCosts classes = error_costs(two, named, {0}, {1, 2});
  EXPECT_NEAR(classes.ap50, (1 + 0.5) / 2, 1e-12);
  EXPECT_NEAR(cost(classes, Outcome::classification), 0.25, 1e-12);
}

}  // namespace
}  // namespace tapescope::detection
