// The program broken on purpose: killed at random moments, calls of the system that fail. Whatever
// happens, a training that is resumed ends with the weights, the history and the files of one that
// nothing interrupted, and no file is torn under its final name.
//
// TAPESCOPE_KILLS, TAPESCOPE_FAULTS, TAPESCOPE_SEED set how often and with which numbers
// (tests/faults/run); TAPESCOPE_FULL is 500 and 1,000.
#include <chrono>
#include <cstdio>
#include <thread>

#include "tests/faults/training.h"

namespace tapescope::faults {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

std::uint64_t setting(const char* name, std::uint64_t everyday, std::uint64_t full) {
  const char* text = std::getenv(name);
  if (text != nullptr && *text != '\0') return std::stoull(text);
  return std::getenv("TAPESCOPE_FULL") != nullptr ? full : everyday;
}
std::uint64_t seed() { return setting("TAPESCOPE_SEED", 1, 1); }

Training& training() {
  static Training instance;  // one uninterrupted run for all tests
  return instance;
}

template <class List>
const auto& one_of(PhiloxStream& random, const List& list) {
  return list[random.below(static_cast<std::uint32_t>(std::size(list)))];
}

// Ends a run that was interrupted; "" where it is then as if nothing had been.
std::string difference_after_resume(const fs::path& run) {
  const Result end = tapescope_program(training().command(run));
  if (end.status != 0) return "resuming ends with " + std::to_string(end.status) + ": " + end.err;
  return training().difference(run);
}

TEST(Faults, AnUninterruptedTrainingIsTheSameTwice) {
  const fs::path run = training().fresh();
  ASSERT_EQ(tapescope_program(training().command(run)).status, 0);
  EXPECT_EQ(training().difference(run), "");
}

TEST(Faults, KilledAtRandomMoments) {
  PhiloxStream random(mix(seed(), 1));
  const std::uint64_t wanted = setting("TAPESCOPE_KILLS", 20, 500);
  std::uint64_t kills = 0, stops = 0, trainings = 0, resumes = 0;
  while (kills < wanted && !::testing::Test::HasFailure()) {
    const fs::path run = training().fresh();
    for (Result result; result.status != 0;) {
      const Words command = training().command(run);
      resumes += command.back() == "--resume" ? 1 : 0;
      Process process(command);
      // Mostly SIGKILL, now and then what a user, a system that shuts down or a lost connection
      // sends.
      const int number = random.below(5) != 0   ? SIGKILL
                         : random.below(2) != 0 ? SIGTERM
                                                : (random.below(2) != 0 ? SIGHUP : SIGINT);
      if (kills < wanted) {
        const double seconds = training().seconds() * 1.3 * random.below(1000) / 1000;
        std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
        process.signal(number);
      }
      result = process.wait();
      if (result.status == 128 + SIGKILL) {
        ++kills;
      } else if (result.status == 130 || result.status == 128 + number) {
        ++stops;  // 128 + number: before there was anything to save
      } else {
        ASSERT_EQ(result.status, 0) << result.err;
      }
    }
    ++trainings;
    EXPECT_EQ(training().difference(run), "") << "training " << trainings << ", " << run;
    fs::remove_all(run);
  }
  if (HasFailure()) return;
  std::printf(
      "faults: %ju SIGKILLs and %ju other signals in %ju trainings, %ju resumed: weights, history "
      "and "
      "metrics of all %ju as without them, nothing lost, nothing left over\n",
      kills, stops, trainings, resumes, trainings);
}

constexpr const char* kCalls[] = {"open", "write", "fsync", "rename", "mkdir", "unlink", ""};
constexpr const char* kActions[] = {"EIO",    "ENOSPC", "EMFILE",      "EDQUOT",
                                    "ESTALE", "short",  "kill-before", "kill-after"};

// A fault at a call that a run of `calls_of` makes.
template <class CallsOf>
Injected::Fault draw(PhiloxStream& random, const std::string& folder, CallsOf&& calls_of) {
  Injected::Fault fault{.folder = folder};
  long count = 0;
  while (count == 0) {
    fault.calls = one_of(random, kCalls);
    count = calls_of(fault.calls);
  }
  fault.at = 1 + random.below(static_cast<std::uint32_t>(count));
  fault.action = one_of(random, kActions);
  constexpr long kTimes[] = {1, 1, 3, 1 << 30};
  fault.times = one_of(random, kTimes);
  return fault;
}

std::string text_of(const Injected::Fault& fault) {
  return (fault.calls.empty() ? "call" : fault.calls) + " " + std::to_string(fault.at) + ": " +
         fault.action + ", " + std::to_string(fault.times) + " times";
}

// What became of the faults of a kind.
struct Outcomes {
  std::uint64_t hit = 0, killed = 0, said = 0, outlived = 0;
  void print(const char* what) const {
    std::printf(
        "faults: %ju %s: %ju killed the program, %ju ended it with a sentence, %ju outlived\n", hit,
        what, killed, said, outlived);
  }
};

// Runs the program with a fault; "" where it ends as it may.
std::string run_with(const Injected::Fault& fault, const Words& command, Outcomes& outcomes,
                     int& status) {
  Result result;
  long calls = 0;
  {
    const Injected injected(fault);
    result = tapescope_program(command);
    calls = injected.calls();
  }
  status = result.status;
  const bool killed = status == 128 + SIGKILL;
  if (!killed && calls < fault.at) return "";  // there was no such call
  ++outcomes.hit;
  if (killed) {
    ++outcomes.killed;
    return fault.action.starts_with("kill") ? "" : "killed: " + result.err;
  }
  if (status == 0) {
    ++outcomes.outlived;
    return "";
  }
  ++outcomes.said;
  if (status != 1 && status != 2) return "status " + std::to_string(status) + ": " + result.err;
  return says_one_sentence(result) ? "" : "no sentence: " + result.err;
}

long calls_of_training(const std::string& calls) {
  static std::map<std::string, long> known;
  const auto [it, is_new] = known.emplace(calls, 0);
  if (is_new) {
    const fs::path run = training().fresh();
    const Injected injected({.folder = run, .calls = calls});
    tapescope_program(training().command(run));
    it->second = injected.calls();
  }
  return it->second;
}

TEST(Faults, CallsOfTheSystemFailInATraining) {
  PhiloxStream random(mix(seed(), 2));
  const std::uint64_t wanted = setting("TAPESCOPE_FAULTS", 40, 1000) * 3 / 4;
  Outcomes outcomes;
  while (outcomes.hit < wanted && !::testing::Test::HasFailure()) {
    const fs::path run = training().fresh();
    std::string said;
    int status = -1;
    // One fault, and often another one in the resumed training.
    for (int i = 0; i < 2 && status != 0 && (i == 0 || random.below(2) == 0); ++i) {
      const Injected::Fault fault = draw(random, run, calls_of_training);
      said += "\n" + text_of(fault);
      EXPECT_EQ(run_with(fault, training().command(run), outcomes, status), "") << said;
    }
    // What could not be removed or made all the time is left to the next start.
    std::string wrong = status == 0 ? training().difference(run) : "interrupted";
    if (status != 0 || wrong.starts_with("left over: ") || wrong == "missing: tensorboard") {
      wrong = difference_after_resume(run);
    }
    EXPECT_EQ(wrong, "") << said;
    fs::remove_all(run);
  }
  if (!HasFailure()) outcomes.print("faults in trainings, all of them whole after a resume");
}

// A record that cannot be written is kept and written later.
TEST(Faults, TheHistoryOutlivesADiskThatIsFullForAWhile) {
  for (const long times : {1L, 3L}) {
    for (long at = 1;; at += 5) {
      const fs::path run = training().fresh();
      const Injected injected({.folder = run / "history.jsonl",
                               .calls = "write",
                               .at = at,
                               .times = times,
                               .action = at % 2 == 0 ? "ENOSPC" : "EIO"});
      const Result result = tapescope_program(training().command(run));
      if (injected.calls() < at + times) break;  // nothing was tried after the faults
      ASSERT_EQ(result.status, 0) << result.err;
      EXPECT_EQ(training().difference(run), "") << "write " << at;
      EXPECT_NE(result.err.find("history.jsonl' cannot be written ("), std::string::npos);
      EXPECT_NE(result.err.find("history.jsonl' can be written again"), std::string::npos);
    }
  }
}

TEST(Faults, AHistoryThatStaysIncompleteIsSaidAtTheEnd) {
  const fs::path run = training().fresh();
  {
    const Injected injected(
        {.folder = run / "history.jsonl", .calls = "write", .at = 3, .times = 1 << 30});
    const Result result = tapescope_program(training().command(run));
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find("records of '" + (run / "history.jsonl").string() + "' are missing"),
              std::string::npos)
        << result.err;
    EXPECT_TRUE(fs::exists(run / "metrics.json"));  // the training itself is whole
  }
  EXPECT_EQ(get(run / "checkpoints" / "last.safetensors"),
            get(training().reference() / "checkpoints" / "last.safetensors"));
}

// Commands that write files: each is the uninterrupted command's, or absent.
class OutputFaults : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    const Result result =
        tapescope_program({"train", "--data", training().data(), "--model", "seednet", "--width",
                           "0.25", "--image-size", "16", "--epochs", "1", "--batch-size", "8",
                           "--threads", "1", "--out", *folder_ / "run"});
    ASSERT_EQ(result.status, 0) << result.err;
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::map<std::string, std::vector<std::uint8_t>> files_of(const fs::path& folder) {
    std::map<std::string, std::vector<std::uint8_t>> files;
    if (!fs::exists(folder)) return files;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file()) {
        files[fs::relative(entry.path(), folder).string()] = get(entry.path());
      }
    }
    return files;
  }
  // Whole although not the same: what holds times or the folder's name.
  static bool is_whole(const std::string& name, const std::vector<std::uint8_t>& bytes) {
    const std::string text(bytes.begin(), bytes.end());
    if (name.ends_with(".html")) return text.find("</html>") != std::string::npos;
    return name.ends_with(".json") && text.find_last_of("}]") + 2 >= text.size();
  }
  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(OutputFaults, NoFileIsTornUnderItsFinalName) {
  const std::string run = *folder_ / "run", data = training().data();
  const std::string red = data + "/test/red/22.png", blue = data + "/test/blue/22.png";
  const auto out = [](const fs::path& folder, Words words) {
    for (std::string& word : words) {
      if (word.starts_with("OUT")) word = folder.string() + word.substr(3);
    }
    return words;
  };
  const Words commands[] = {
      {"explain", "--run", run, red, "--method", "saliency,grad-cam", "--out", "OUT"},
      {"detect", "--run", run, data + "/test/red", "--format", "coco,yolo,voc", "--out", "OUT"},
      {"report", "--run", run, "--data", data, "--out", "OUT/report.html"},
      {"synthesize", "--size", "24", "--train", "2", "--test", "1", "--out", "OUT"}};
  PhiloxStream random(mix(seed(), 3));
  const std::uint64_t wanted = setting("TAPESCOPE_FAULTS", 40, 1000) / 4;
  Outcomes outcomes;
  for (std::size_t c = 0; outcomes.hit < wanted && !HasFailure();
       c = (c + 1) % std::size(commands)) {
    static std::map<std::string, long> counts[std::size(commands)];
    static std::map<std::string, std::vector<std::uint8_t>> references[std::size(commands)];
    const auto calls_of = [&](const std::string& calls) {
      const auto [it, is_new] = counts[c].emplace(calls, 0);
      if (is_new) {
        const TemporaryFolder place;
        fs::create_directories(place / "out");
        const Injected injected({.folder = place / "out", .calls = calls});
        const Result result = tapescope_program(out(place / "out", commands[c]));
        EXPECT_EQ(result.status, 0) << result.err;
        it->second = injected.calls();
        references[c] = files_of(place / "out");
      }
      return it->second;
    };
    const TemporaryFolder place;
    fs::create_directories(place / "out");
    Injected::Fault fault = draw(random, place / "out", calls_of);
    const std::string said = commands[c][0] + ", " + text_of(fault);
    int status = 0;
    EXPECT_EQ(run_with(fault, out(place / "out", commands[c]), outcomes, status), "") << said;
    const auto files = files_of(place / "out");
    for (const auto& [name, bytes] : files) {
      const auto same = references[c].find(name);
      if (same == references[c].end()) {
        const bool may_stay =
            status == 128 + SIGKILL || fault.calls.empty() || fault.calls == "unlink";
        EXPECT_TRUE(may_stay && name.ends_with(".tmp")) << said << " leaves " << name;
      } else {
        EXPECT_TRUE(bytes == same->second || is_whole(name, bytes)) << said << " tears " << name;
      }
    }
    for (const auto& [name, bytes] : references[c]) {
      EXPECT_TRUE(status != 0 || files.contains(name)) << said << " lacks " << name;
    }
  }
  if (!HasFailure())
    outcomes.print("faults in explain, detect, report and synthesize, no file torn");
}

}  // namespace
}  // namespace tapescope::faults
