// Trainings in several processes: what is trained, and what must be the same as in one process.
#pragma once

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "tests/cli/program.h"
#include "tests/cli/square_or_bar.h"

namespace tapescope {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

inline Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class TrainingOfRanks : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_colours(*folder_ / "colours", 16);
    write_squares_and_bars(*folder_ / "boxes");
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string at(const std::string& name) { return *folder_ / name; }
  // 24 pictures in batches of 5, the last of 4: ranks of unequal shares.
  static Words resnet20(const std::string& out, int epochs) {
    return {"train",
            "--data",
            at("colours"),
            "--model",
            "resnet20",
            "--width",
            "0.5",
            "--batch-size",
            "5",
            "--epochs",
            std::to_string(epochs),
            "--lr",
            "0.01",
            "--statistics-every",
            "7",
            "--log-every",
            "3",
            "--out",
            at(out)};
  }
  static Words detector(const std::string& out, int epochs) {
    return {"train",
            "--data",
            at("boxes"),
            "--model",
            "centre-detector",
            "--width",
            "0.5",
            "--batch-size",
            "8",
            "--epochs",
            std::to_string(epochs),
            "--image-size",
            "32",
            "--log-every",
            "10",
            "--out",
            at(out)};
  }
  static void expect_trained(const Words& words) {
    const Result result = tapescope_program(words);
    ASSERT_EQ(result.status, 0) << result.err;
  }
  static void stop_when_begun(const Words& words, const std::string& run) {
    Process process(words + Words{"--checkpoint-every", "1"});
    for (int i = 0; i < 6000; ++i) {
      if (fs::exists(at(run) + "/checkpoints/last.safetensors")) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    process.signal(SIGTERM);
    const Result stopped = process.wait();
    ASSERT_EQ(stopped.status, 130) << stopped.err;
  }
  static std::string file(const std::string& run, const std::string& name) {
    return text_of(at(run) + "/" + name);
  }
  // The history without what a clock says.
  static json history(const std::string& run) {
    json all = json::array();
    std::istringstream lines(file(run, "history.jsonl"));
    for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line));
    for (json& record : all) without_clock(record);
    return all;
  }
  static void without_clock(json& value) {
    if (value.is_object()) {
      for (auto it = value.begin(); it != value.end();) {
        const bool clock = it.key().find("second") != std::string::npos || it.key() == "time";
        it = clock ? value.erase(it) : std::next(it);
      }
    }
    if (value.is_structured()) {
      for (json& inner : value) without_clock(inner);
    }
  }
  static void expect_same_run(const std::string& a, const std::string& b) {
    SCOPED_TRACE(b);
    EXPECT_EQ(checkpoints(a), checkpoints(b));
    for (const std::string& name : checkpoints(a)) {
      EXPECT_TRUE(file(a, "checkpoints/" + name) == file(b, "checkpoints/" + name)) << name;
    }
  }
  static std::set<std::string> checkpoints(const std::string& run) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(at(run) + "/checkpoints")) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }
  static void expect_same_history(const std::string& a, const std::string& b) {
    const json one = history(a), other = history(b);
    ASSERT_EQ(one.size(), other.size());
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i], other[i]);
    EXPECT_EQ(json::parse(file(a, "environment.json"))["steps"],
              json::parse(file(b, "environment.json"))["steps"]);
  }
  // The processes that `parent` started, in their order.
  static std::vector<pid_t> children_of(pid_t parent) {
    std::ifstream file(fmt::format("/proc/{0}/task/{0}/children", parent));
    return {std::istream_iterator<pid_t>(file), {}};
  }
  // ... as soon as there are so many, and the run has a checkpoint.
  static std::vector<pid_t> ranks_of(const Process& process, std::size_t count,
                                     const std::string& run) {
    for (int tries = 0; tries < 6000; ++tries) {
      const std::vector<pid_t> ranks = children_of(process.pid());
      if (ranks.size() == count && fs::exists(at(run) + "/checkpoints/last.safetensors")) {
        return ranks;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "the ranks did not come to a first checkpoint";
    return {};
  }
  // Who of them runs, once they have had time to end; a zombie does not run.
  static std::vector<pid_t> left_of(std::vector<pid_t> processes, int seconds = 10) {
    for (int tries = 0; tries < 100 * seconds && !processes.empty(); ++tries) {
      if (tries > 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      std::erase_if(processes, [](pid_t process) {
        std::ifstream file(fmt::format("/proc/{}/stat", process));
        std::string text;
        std::getline(file, text);
        const std::size_t state = text.rfind(") ");
        return state == std::string::npos || text[state + 2] == 'Z' || text[state + 2] == 'X';
      });
    }
    return processes;
  }
  static inline TemporaryFolder* folder_ = nullptr;
};

}  // namespace tapescope
