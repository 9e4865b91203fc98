#include "tools/detection/pipe.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "engine/error.h"

extern char** environ;

namespace tapescope::detection {
namespace {

void listen(int from, const Pipe::Listener& tell) {
  std::string line;
  char buffer[4096];
  while (true) {
    const ssize_t n = ::read(from, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    for (ssize_t i = 0; i < n; ++i) {
      if (buffer[i] != '\n') {
        if (line.size() < 4096) line += buffer[i];
        continue;
      }
      tell(&line);
      line.clear();
    }
  }
  if (!line.empty()) tell(&line);
  tell(nullptr);
  ::close(from);
}

}  // namespace

Pipe::Pipe(std::vector<std::string> words, Way way, Listener listener) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is an error of write, not a death
  // Closed in other children: one that kept an end open would keep its owner waiting.
  int ends[2], errors[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw failure("no pipe for '{}': {}", words[0], std::strerror(errno));
  }
  if (::pipe2(errors, O_CLOEXEC) != 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    throw failure("no pipe for '{}': {}", words[0], std::strerror(error));
  }
  const int theirs = way == Way::read ? ends[1] : ends[0],
            ours = way == Way::read ? ends[0] : ends[1];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs, way == Way::read ? 1 : 0);
  posix_spawn_file_actions_adddup2(&actions, errors[1], 2);
  if (way == Way::read) {
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  } else {
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int error =
      ::posix_spawnp(&pid_, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(theirs);
  ::close(errors[1]);
  if (error != 0) {
    ::close(ours);
    ::close(errors[0]);
    pid_ = -1;
    throw usage_error(
        "'{}' cannot be started ({}); videos need it: install the package ffmpeg (apt-get install "
        "ffmpeg)",
        words[0], std::strerror(error));
  }
  file_ = ::fdopen(ours, way == Way::read ? "rb" : "wb");
  listening_ = std::thread(listen, errors[0], std::move(listener));
}

int Pipe::finish() {
  if (file_ != nullptr) std::fclose(file_);
  file_ = nullptr;
  if (pid_ < 0) return 0;
  listening_.join();
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

Pipe::~Pipe() { finish(); }

}  // namespace tapescope::detection
