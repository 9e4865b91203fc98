// The program's edges towards the system: outputs that are closed or full, signals, limits, a
// folder that two want to write into, environment variables.
#include <sys/file.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class ProcessEdges : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_colours(*folder_ / "data", 12);
    const Result result = tapescope_program(training("trained"));
    ASSERT_EQ(result.status, 0) << result.err;
  }
  static void TearDownTestSuite() { delete folder_; }

  static Words training(const std::string& run, const std::string& epochs = "1") {
    return {"train",
            "--data",
            *folder_ / "data",
            "--out",
            *folder_ / run,
            "--model",
            "lenet",
            "--width",
            "0.25",
            "--epochs",
            epochs,
            "--image-size",
            "12",
            "--lr",
            "0.02",
            "--batch-size",
            "8"};
  }
  static std::string line(const Words& words) {
    std::string text = TAPESCOPE_PROGRAM;
    for (const std::string& word : words) text += " '" + word + "'";
    return text;
  }
  static std::string predict() {
    return line({"predict", "--run", *folder_ / "trained", *folder_ / "data/test/red/22.png"});
  }
  // `command` as bash runs it, whose status is that of the pipe's first command; what it leaves on
  // stdout and stderr where these are not redirected.
  static Result shell(const std::string& command) {
    static int number = 0;
    const fs::path out = *folder_ / ("out" + std::to_string(number));
    const fs::path err = *folder_ / ("err" + std::to_string(number++));
    const std::string all = "exec >'" + out.string() + "' 2>'" + err.string() + "'; " + command;
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::execlp("bash", "bash", "-c", all.c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(out),
            text_of(err)};
  }
  static void expect_a_sentence(const Result& result, int status, const std::string& part) {
    EXPECT_EQ(result.status, status) << result.err;
    EXPECT_TRUE(result.err.starts_with("tapescope: ")) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
  // Waits until `path` exists.
  static void wait_for(const fs::path& path) {
    for (int i = 0; i < 3000 && !fs::exists(path); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(fs::exists(path)) << path;
  }
  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(ProcessEdges, AnAnswerThatCannotBeWrittenIsAFailure) {
  const std::string commands[] = {
      predict(),
      predict() + " --json",
      line({"eval", "--run", *folder_ / "trained", "--data", *folder_ / "data", "--json"}),
      line({"kernels"}),
      line({"--help"}),
      line({"--version"})};
  for (const std::string& command : commands) {
    expect_a_sentence(shell(command + " > /dev/full"), 1, "No space left on device");
    expect_a_sentence(shell(command + " >&-"), 1, "it is closed");
  }
  expect_a_sentence(shell(predict() + " > /dev/full"), 1, "standard output cannot be written");
}

TEST_F(ProcessEdges, AReaderThatGoesAwayIsNoError) {
  for (const std::string& command : {predict(), line({"kernels"}), line({"explain", "--list"})}) {
    const Result result = shell(command + " | true; exit ${PIPESTATUS[0]}");
    EXPECT_TRUE(result.status == 141 || result.status == 0) << result.status;
    EXPECT_EQ(result.err, "");
  }
}

TEST_F(ProcessEdges, ATrainingNeedsNobodyWhoListens) {
  const std::string last = "/checkpoints/last.safetensors";
  const std::vector<std::uint8_t> expected = get((*folder_ / "trained").string() + last);
  int number = 0;
  for (const char* redirection : {"2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-", "2>&-",
                                  "--json >/dev/null 2>&-", "2>&1 | true"}) {
    const std::string run = "silent" + std::to_string(number++);
    const Result result =
        shell(line(training(run)) + " " + redirection + "; exit ${PIPESTATUS[0]}");
    EXPECT_EQ(result.status, 0) << redirection << result.err;
    EXPECT_TRUE(get((*folder_ / run).string() + last) == expected) << redirection;
    std::istringstream history(text_of(*folder_ / run / "history.jsonl"));
    int lines = 0;
    for (std::string text; std::getline(history, text); ++lines) {
      EXPECT_FALSE(nlohmann::json::parse(text, nullptr, false).is_discarded()) << text;
    }
    EXPECT_GE(lines, 3);
  }
}

TEST_F(ProcessEdges, ALostConnectionSavesTheTraining) {
  const auto hang_up = [](const std::string& run, bool nohup) {
    Words words = training(run, "2000");
    ::signal(SIGHUP, nohup ? SIG_IGN : SIG_DFL);  // a child inherits it, and these tests may be one
    Process process(words);
    ::signal(SIGHUP, SIG_DFL);
    wait_for(*folder_ / run / "checkpoints/last.safetensors");
    process.signal(SIGHUP);
    if (nohup) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      process.signal(SIGTERM);
    }
    return process.wait();
  };
  const Result lost = hang_up("lost", false);
  EXPECT_EQ(lost.status, 130) << lost.err;
  EXPECT_NE(lost.err.find("the state is saved"), std::string::npos) << lost.err;
  // Under nohup it is the SIGTERM that stops it, later.
  const Result kept = hang_up("kept", true);
  EXPECT_EQ(kept.status, 130) << kept.err;
}

TEST_F(ProcessEdges, ASecondTrainerIsRefused) {
  Process first(training("shared", "2000"));
  wait_for(*folder_ / "shared" / "checkpoints/last.safetensors");
  Words again = training("shared", "1"),
        resumed = {"train", "--out", *folder_ / "shared", "--resume"};
  for (const Words& words : {again, resumed}) {
    const Result result = tapescope_program(words);
    expect_a_sentence(result, 2, "is being written by process " + std::to_string(first.pid()));
    EXPECT_NE(result.err.find(" on host "), std::string::npos) << result.err;
  }
  // Readers need no lock, nor does --plan.
  EXPECT_EQ(tapescope_program(
                {"predict", "--run", *folder_ / "shared", *folder_ / "data/test/red/22.png"})
                .status,
            0);
  again.push_back("--plan");
  EXPECT_EQ(tapescope_program(again).status, 0);
  first.signal(SIGKILL);  // leaves the file; the lock is gone
  EXPECT_EQ(first.wait().status, 128 + SIGKILL);
  const fs::path checkpoints = *folder_ / "shared" / "checkpoints";
  put(checkpoints / ".last.safetensors.4711.tmp", std::string("half"));
  put(checkpoints / ".state-9.safetensors.4711-3.tmp", std::string("half"));
  put(*folder_ / "shared" / ".notes.tmp", std::string("the user's own"));
  Process last({"train", "--out", *folder_ / "shared", "--resume"});
  wait_for(*folder_ / "shared" / ".lock");
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  last.signal(SIGTERM);
  const Result end = last.wait();
  EXPECT_TRUE(end.status == 130 || end.status == 128 + SIGTERM) << end.err;
  EXPECT_FALSE(fs::exists(checkpoints / ".last.safetensors.4711.tmp"));
  EXPECT_FALSE(fs::exists(checkpoints / ".state-9.safetensors.4711-3.tmp"));
  EXPECT_TRUE(fs::exists(*folder_ / "shared" / ".notes.tmp"));
}

TEST_F(ProcessEdges, AFileSystemWithoutLocksIsSaidAndUsed) {
  ::setenv("LD_PRELOAD", TAPESCOPE_INTERPOSE, 1);
  ::setenv("TAPESCOPE_FAULT_FOLDER", folder_->path().c_str(), 1);
  ::setenv("TAPESCOPE_FAULT_CALLS", "lock", 1);
  ::setenv("TAPESCOPE_FAULT_AT", "1", 1);
  ::setenv("TAPESCOPE_FAULT_ACTION", "ENOLCK", 1);
  const Result result = tapescope_program(training("unlocked"));
  for (const char* name : {"LD_PRELOAD", "TAPESCOPE_FAULT_FOLDER", "TAPESCOPE_FAULT_CALLS",
                           "TAPESCOPE_FAULT_AT", "TAPESCOPE_FAULT_ACTION"}) {
    ::unsetenv(name);
  }
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.err.find("on a file system without locks (No locks available)"),
            std::string::npos)
      << result.err;
}

TEST_F(ProcessEdges, AUsageErrorLeavesNoFolder) {
  Words words = training("none");
  words[2] = *folder_ / "nowhere";
  EXPECT_EQ(tapescope_program(words).status, 2);
  EXPECT_FALSE(fs::exists(*folder_ / "none"));
}

TEST_F(ProcessEdges, LimitsOfTheSystemEndInASentence) {
  expect_a_sentence(shell(predict() + " --threads 100000"), 2, "it must be 1 to 1024");
  expect_a_sentence(shell(predict() + " --threads 4294967297"), 2, "it must be 1 to 1024");
  expect_a_sentence(shell("TAPESCOPE_THREADS=100000 " + predict()), 2, "from 1 to 1024");
  // Every thread asks for a stack of 8 MB of addresses.
  expect_a_sentence(shell("ulimit -s 8192; ulimit -v 3000000; " + predict() + " --threads 1000"), 1,
                    "cannot be started");
  expect_a_sentence(shell("ulimit -s 8192; ulimit -v 3000000; " + line(training("l")) +
                          " --threads 1 --loader-threads 1000"),
                    1, "cannot be started");
  // Whatever the limit on memory is: an answer or a sentence; where libraries find room to load and
  // to initialise themselves, before main (libprotobuf ends the process if it does not).
  for (int kilobytes = 55000; kilobytes < 120000; kilobytes += 5000) {
    const std::string limit = "ulimit -v " + std::to_string(kilobytes) + "; ";
    if (shell(limit + line({"--version"})).status != 0) continue;
    const Result result = shell(limit + predict());
    EXPECT_TRUE(result.status == 0 || result.status == 1)
        << kilobytes << ": " << result.status << result.err;
    EXPECT_TRUE(result.status == 0 || result.err.find(": ") != std::string::npos) << kilobytes;
  }
  // A file that may not grow: an error of the write, and nothing is left of it.
  const Result full = shell("ulimit -f 8; " + line(training("small")));
  EXPECT_EQ(full.status, 1) << full.err;
  EXPECT_NE(full.err.find("File too large"), std::string::npos) << full.err;
  for (const auto& entry : fs::recursive_directory_iterator(*folder_ / "small")) {
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  }
}

// The library says what would help, the command line which options do.
TEST_F(ProcessEdges, RemediesNameTheirOptions) {
  expect_a_sentence(shell("ulimit -s 8192; ulimit -v 3000000; " + predict() + " --threads 1000"), 1,
                    "try fewer threads (--threads)\n");
  expect_a_sentence(
      tapescope_program({"inspect", "structure", "--model", "resnet18", "--image-size", "4"}), 2,
      "use larger images or another model (--image-size, --model)\n");
  const Result tight = shell("TAPESCOPE_MEMORY_LIMIT=100000 " + line(training("tight")));
  EXPECT_EQ(tight.status, 1);
  const char* remedy =
      "try a smaller batch, smaller images or a narrower model (--batch-size, --image-size, "
      "--width)\n";
  EXPECT_NE(tight.err.find(remedy), std::string::npos) << tight.err;
}

TEST_F(ProcessEdges, EnvironmentVariablesAreReadToTheirEnd) {
  expect_a_sentence(shell("TAPESCOPE_MEMORY_LIMIT=abc " + predict()), 2, "TAPESCOPE_MEMORY_LIMIT");
  expect_a_sentence(shell("TAPESCOPE_MEMORY_LIMIT=1e9 " + predict()), 2, "TAPESCOPE_MEMORY_LIMIT");
  expect_a_sentence(shell("TAPESCOPE_MEMORY_LIMIT=-1 " + predict()), 2, "TAPESCOPE_MEMORY_LIMIT");
  expect_a_sentence(shell("TAPESCOPE_THREADS=2x " + predict()), 2, "TAPESCOPE_THREADS");
  expect_a_sentence(shell("TAPESCOPE_EMULATOR=shuffled:x " + predict() + " --device emulated"), 2,
                    "TAPESCOPE_EMULATOR");
  for (const char* name : {"MEMORY_LIMIT", "THREADS", "EMULATOR", "ISA"}) {
    const Result result =
        shell("TAPESCOPE_" + std::string(name) + "= " + predict() + " --device emulated");
    EXPECT_EQ(result.status, 0) << name << result.err;
  }
}

}  // namespace
}  // namespace tapescope
