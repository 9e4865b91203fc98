// Running the built `tapescope` program, and small data sets to run it on.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/report/png.h"

namespace tapescope {

struct Result {
  int status = -1;
  std::string out, err;
};

inline std::string text_of(const std::filesystem::path& path) {
  const std::vector<std::uint8_t> bytes = get(path);
  return {bytes.begin(), bytes.end()};
}

// TAPESCOPE_BINARY names another build of the program, for instance one under a sanitizer.
inline const char* binary() {
  const char* set = std::getenv("TAPESCOPE_BINARY");
  return set != nullptr ? set : TAPESCOPE_PROGRAM;
}

// A running program, ours or another one in the path; its output goes to files, its input comes
// from `input` where there is one.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments,
                   const std::filesystem::path& input = {}, const char* program = binary()) {
    // Here and not in the child, which may be killed before it comes to it.
    for (const char* name : {"out", "err"}) std::ofstream(folder_ / name).flush();
    pid_ = ::fork();
    if (pid_ != 0) return;
    std::vector<char*> words{const_cast<char*>(program)};
    for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    const auto redirect = [](const std::filesystem::path& path, int to) {
      ::dup2(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), to);
    };
    redirect(folder_ / "out", STDOUT_FILENO);
    redirect(folder_ / "err", STDERR_FILENO);
    if (!input.empty()) ::dup2(::open(input.c_str(), O_RDONLY), STDIN_FILENO);
    if (processor_seconds > 0) {
      const rlimit limit{processor_seconds, processor_seconds + 1};
      ::setrlimit(RLIMIT_CPU, &limit);
    }
    ::execvp(program, words.data());
    ::_exit(127);
  }
  // Ends programs that take longer, whatever else the machine does; 0: no limit.
  static inline rlim_t processor_seconds = 0;

  void signal(int number) const { ::kill(pid_, number); }
  pid_t pid() const { return pid_; }
  // Whether it ends within so many seconds; wait() tells how.
  bool ends_within(double seconds) const {
    for (double waited = 0; waited < seconds; waited += 0.01) {
      siginfo_t info{};
      ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
      if (info.si_pid == pid_) return true;
      ::usleep(10'000);
    }
    return false;
  }
  Result wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            text_of(folder_ / "out"), text_of(folder_ / "err")};
  }

 private:
  TemporaryFolder folder_;
  pid_t pid_ = -1;
};

inline Result tapescope_program(const std::vector<std::string>& arguments,
                                const std::filesystem::path& input = {}) {
  return Process(arguments, input).wait();
}

// A picture of one colour with noise: red for label 0, blue for 1, green for 2.
inline Image coloured(int label, int size, std::uint64_t seed) {
  Image image(size, size, 3);
  PhiloxStream random(seed);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const bool own = static_cast<int>(i % 3) == (label == 0 ? 0 : label == 1 ? 2 : 1);
    image.pixels[i] = static_cast<std::uint8_t>(random.below(120) + (own ? 130u : 0u));
  }
  return image;
}

// <folder>/{train,test}/{red,blue}/NN.png of size x size: 12 and 4 a class.
inline void write_colours(const std::filesystem::path& folder, int size = 24) {
  const char* const names[] = {"red", "blue"};
  for (int label = 0; label < 2; ++label) {
    for (int i = 0; i < 16; ++i) {
      const auto path = folder / (i < 12 ? "train" : "test") / names[label];
      std::filesystem::create_directories(path);
      write_png(path / (std::to_string(10 + i) + ".png"),
                coloured(label, size, static_cast<std::uint64_t>(100 * label + i)));
    }
  }
}

}  // namespace tapescope
