// Histories that somebody else wrote, and long ones.
#include "tools/monitoring/history.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/monitoring/diagnosis.h"

namespace tapescope::monitoring {
namespace {

std::string start_line(const std::string& classes, const std::string& images) {
  return R"({"step": 0, "start": {"model": "lenet", "loss": "nll", "epochs": 1, "steps": 1,
             "batch_size": 1, "learning_rate": 1, "validation_images": 0,
             "parameters": ["a.weight", "b.weight", "c.weight"], "classes": )" +
         classes + R"(, "images": )" + images + "}}";
}
std::string one_line(std::string text) {
  std::erase(text, '\n');
  return text + "\n";
}

// Whoever reads them takes one's length for all.
TEST(History, ListsOfUnequalLengthsAreLeftOut) {
  const TemporaryFolder folder;
  const auto statistics = [](const std::string& gradient, const std::string& weight,
                             const std::string& update) {
    return R"({"step": 1, "epoch": 1, "statistics": {"gradient": )" + gradient + R"(, "weight": )" +
           weight + R"(, "update": )" + update +
           R"(, "half_gradient": [], "batch": 1, "half": 0}})";
  };
  put(folder / "history.jsonl", one_line(start_line(R"(["a"])", "[1, 1000]")) +
                                    one_line(start_line(R"(["a", "b"])", "[]")) +
                                    one_line(statistics("[1, 2, 3]", "[1]", "[1, 2, 3]")) +
                                    one_line(statistics("[1]", "[1, 2, 3]", "[1, 2, 3]")) +
                                    one_line(statistics("[1, 2, 3]", "[1, 2, 3]", "[1]")));
  const History damaged = read_history(folder.path());
  EXPECT_FALSE(damaged.has_start);
  EXPECT_TRUE(damaged.statistics.empty());
  EXPECT_EQ(damaged.notes.size(), 5u);
  EXPECT_TRUE(damaged.start.classes.empty());
  diagnose(damaged);
  to_json(damaged, {});
  put(folder / "history.jsonl", one_line(start_line(R"(["a", "b"])", "[1, 1000]")) +
                                    one_line(statistics("[1, 2, 3]", "[1, 2, 3]", "[1, 2, 3]")));
  const History whole = read_history(folder.path());
  EXPECT_TRUE(whole.notes.empty());
  EXPECT_EQ(whole.statistics.size(), 1u);
  EXPECT_FALSE(diagnose(whole).empty());  // 1 picture of a, 1000 of b
}

// Every number that is whole, in turn, as one that is not, and as one that is too large for its
// type: to convert those is undefined behaviour.
TEST(History, LinesWhoseWholeNumbersAreNoneAreLeftOut) {
  const TemporaryFolder folder;
  const std::vector<std::string> lines = {
      R"({"step": #, "start": {"version": #, "model": "lenet", "loss": "nll", "epochs": #,
          "steps": #, "batch_size": #, "learning_rate": 1, "validation_images": #,
          "parameters": [], "classes": ["a"], "images": [#]}})",
      R"({"step": #, "epoch": #, "loss": 1})",
      R"({"step": #, "epoch": #, "train_loss": 1})",
      R"({"step": #, "epoch": #, "failure": "a loss that is not finite"})",
      R"({"step": #, "epoch": #, "watch": []})",
      R"({"step": #, "epoch": #, "pulse": {"norms": [], "activations": [{"path": "a", "op": "relu",
          "units": #, "dead": #, "zero": 1, "saturated": 0, "input_std": 1, "output_std": 1}]}})",
      R"({"step": #, "epoch": #, "statistics": {"gradient": [], "weight": [], "update": [],
          "half_gradient": [], "batch": #, "half": #}})"};
  const auto notes_of = [&](std::string line, std::ptrdiff_t wrong, const std::string& number) {
    for (std::size_t at; (at = line.find('#')) != std::string::npos; --wrong) {
      line.replace(at, 1, wrong == 0 ? number : "1");
    }
    put(folder / "history.jsonl", one_line(line) + one_line(R"({"step": 1, "epoch": 1})"));
    return read_history(folder.path()).notes.size();
  };
  for (const std::string& line : lines) {
    EXPECT_EQ(notes_of(line, -1, ""), 0u) << line;
    for (std::ptrdiff_t i = 0; i < std::count(line.begin(), line.end(), '#'); ++i) {
      for (const char* number :
           {"3.1e220", "1.5", "18446744073709551615", "-1e19", "true", "null"}) {
        EXPECT_EQ(notes_of(line, i, number), 1u) << number << " as number " << i << " of " << line;
      }
    }
  }
}

// What a training that diverges leaves: its last pulse is what tells of dead layers.
TEST(History, NumbersThatJsonCannotHoldAreRead) {
  const TemporaryFolder folder;
  put(folder / "history.jsonl",
      one_line(start_line(R"(["a", "b"])", "[1, 1]")) +
          one_line(R"({"step": 6, "epoch": 2, "pulse": {"activations": [{"path": "a/relu",
            "op": "relu", "units": 9, "dead": 9, "zero": 1.0, "saturated": 0.0, "input_std": null,
            "output_std": null}], "norms": [{"path": "a/bn", "mean_shift": null,
            "log_std_ratio": null}]}})"));
  const History history = read_history(folder.path());
  EXPECT_TRUE(history.notes.empty()) << history.notes[0];
  ASSERT_EQ(history.pulses.size(), 1u);
  EXPECT_TRUE(std::isnan(history.pulses[0].pulse.activations[0].input_std));
  EXPECT_TRUE(std::isnan(history.pulses[0].pulse.norms[0].mean_shift));
  const std::vector<Finding> found = diagnose(history);
  EXPECT_TRUE(std::any_of(found.begin(), found.end(),
                          [](const Finding& f) { return f.kind == "dead-layer"; }));
}

// The JSON library looks for each member among all before it.
TEST(History, AnObjectOfManyMembersIsLeftOut) {
  const TemporaryFolder folder;
  const auto terms = [](int count) {
    std::string text = R"({"step": 1, "epoch": 1, "loss": 1, "terms": {)";
    for (int i = 0; i < count; ++i) text += fmt::format("{}\"t{}\": 1", i > 0 ? ", " : "", i);
    return text + "}}\n";
  };
  put(folder / "history.jsonl", terms(1000) + terms(1001));
  const History read = read_history(folder.path());
  ASSERT_EQ(read.steps.size(), 1u);
  EXPECT_EQ(read.steps[0].terms.size(), 1000u);
  EXPECT_EQ(read.notes.size(), 1u);
}

TEST(Diagnosis, SpikesAreCountedByTheMedianOfAllStepsBefore) {
  PhiloxStream random(5);
  History h;
  std::vector<double> before;
  int spikes = 0;
  for (int i = 0; i < 300; ++i) {
    StepRecord step;
    // Of two kinds, as many of each: the median is now of one, now of the other.
    const double part = static_cast<double>(random.below(1000)) / 1000;
    step.gradient_norm = i % 7 == 3 ? NAN : random.below(2) == 0 ? 5 + 20 * part : 0.5 + part;
    if (i >= 5) {
      std::vector<double> sorted;
      for (double v : before) {
        if (std::isfinite(v)) sorted.push_back(v);
      }
      std::sort(sorted.begin(), sorted.end());
      spikes += step.gradient_norm > 10 * sorted[sorted.size() / 2] ? 1 : 0;
    }
    before.push_back(step.gradient_norm);
    h.steps.push_back(step);
  }
  const std::vector<Finding> found = diagnose(h);
  const auto it = std::find_if(found.begin(), found.end(),
                               [](const Finding& f) { return f.kind == "gradient-spikes"; });
  ASSERT_NE(it, found.end());
  EXPECT_TRUE(it->evidence.starts_with(fmt::format("{} of 300 ", spikes))) << it->evidence;
}

}  // namespace
}  // namespace tapescope::monitoring
