#include "tools/training/ranks.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>

#include "engine/error.h"
#include "kernels/collectives/launched.h"
#include "kernels/collectives/local_world.h"

namespace tapescope {
namespace {

using Clock = std::chrono::steady_clock;

// A descriptor that this process alone has.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }

 private:
  int number_;
};

struct Child {
  pid_t process = -1;
  std::unique_ptr<Descriptor> messages;  // its stderr; null: of rank 0
  std::optional<int> status;             // waitpid's, once it has ended
  bool by_itself = false;                // and not since it was told to
};

// Blocks what this process waits for; as it was at the end of the scope.
class BlockedSignals {
 public:
  BlockedSignals() {
    ::signal(SIGCHLD, SIG_DFL);  // where it is ignored nobody can wait for a child
    ::sigemptyset(&signals);
    for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&signals, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before, nullptr); }
  sigset_t signals, before;
};

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  if (words.empty()) throw failure("/proc/self/cmdline cannot be read; mount /proc to start ranks");
  return words;
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> found;
  for (const std::string& word : words) found.push_back(const_cast<char*>(word.c_str()));
  found.push_back(nullptr);
  return found;
}

// This process's variables, and what a rank is told.
std::vector<std::string> environment_of(int rank, int ranks, int world) {
  std::vector<std::string> all;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!text.starts_with("TAPESCOPE_RANK=") && !text.starts_with("TAPESCOPE_RANKS=") &&
        !text.starts_with("TAPESCOPE_WORLD_FD=")) {
      all.emplace_back(text);
    }
  }
  all.push_back(fmt::format("TAPESCOPE_RANK={}", rank));
  all.push_back(fmt::format("TAPESCOPE_RANKS={}", ranks));
  all.push_back(fmt::format("TAPESCOPE_WORLD_FD={}", world));
  return all;
}

class Launcher {
 public:
  explicit Launcher(const RanksRequest& request)
      : request_(request), file_(LocalWorld::create(request.ranks)), world_(file_, request.ranks) {
    world_.set_launcher(::getpid());
  }
  // Whatever happens, none is left.
  ~Launcher() {
    send(SIGKILL);
    for (Child& child : children_) {
      if (!child.status) ::waitpid(child.process, nullptr, 0);
    }
  }
  int run() {
    for (int rank = 0; rank < request_.ranks; ++rank) start(rank);
    while (running() > 0) {
      wait_for_signal();
      reap();
      end_rest();
    }
    return tell_end();
  }

 private:
  void start(int rank) {
    Child child;
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, file_, file_);  // stays open
    if (rank > 0) {
      child.messages = std::make_unique<Descriptor>(::memfd_create("stderr", MFD_CLOEXEC));
      ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
      ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
      ::posix_spawn_file_actions_adddup2(&actions, *child.messages, STDERR_FILENO);
    }
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setsigmask(&attributes, &signals_.before);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const std::vector<std::string> words =
        request_.arguments.empty() ? own_arguments() : request_.arguments;
    const std::vector<std::string> variables = environment_of(rank, request_.ranks, file_);
    const int error = ::posix_spawn(&child.process, "/proc/self/exe", &actions, &attributes,
                                    pointers(words).data(), pointers(variables).data());
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      throw failure(
          "rank {} of {} cannot be started ({}); start fewer ranks, or raise the limits of "
          "processes and memory (ulimit -u, ulimit -v)",
          rank, request_.ranks, std::strerror(error));
    }
    children_.push_back(std::move(child));
  }

  int running() const {
    return static_cast<int>(std::count_if(children_.begin(), children_.end(),
                                          [](const Child& child) { return !child.status; }));
  }

  void send(int signal) {
    for (const Child& child : children_) {
      if (!child.status) ::kill(child.process, signal);
    }
  }

  // Sleeps until a rank has ended, or a while; passes on what this process is told.
  void wait_for_signal() {
    const timespec most{failed_ ? 0 : 1, 50'000'000};
    const int signal = ::sigtimedwait(&signals_.signals, nullptr, &most);
    if (signal <= 0 || signal == SIGCHLD) return;
    told_ = signal;
    send(signal);
  }

  void reap() {
    for (int rank = 0; rank < static_cast<int>(children_.size()); ++rank) {
      Child& child = children_[static_cast<std::size_t>(rank)];
      int status = 0;
      if (child.status || ::waitpid(child.process, &status, WNOHANG) != child.process) continue;
      child.status = status;
      child.by_itself = sent_ == 0;
      if (!has_failed(child)) continue;
      world_.tell_lost({rank, false});
      if (!failed_) failed_ = Clock::now();
    }
  }

  // Ranks end together: once one has failed, the others soon do so by themselves, or are made to.
  void end_rest() {
    if (!failed_) return;
    constexpr double kMoment = 1;  // seconds
    const std::chrono::duration<double> since = Clock::now() - *failed_;
    if (since.count() < kMoment) return;
    const int signal = since.count() < kMoment + request_.grace_seconds ? SIGTERM : SIGKILL;
    if (sent_ != signal) send(signal);
    sent_ = signal;
  }

  // Neither to the end, nor by a signal that was passed on (130 where the rank caught it), nor for
  // want of another rank.
  bool has_failed(const Child& child) const {
    const int status = *child.status;
    if (WIFSIGNALED(status)) return WTERMSIG(status) != told_;
    const int code = WEXITSTATUS(status);
    return code != 0 && code != 130 && code != kOtherRankEnded;
  }

  int tell_end() const;
  [[noreturn]] void tell(std::size_t rank) const;

  const RanksRequest& request_;
  const BlockedSignals signals_;
  const Descriptor file_;
  LocalWorld world_;
  std::vector<Child> children_;
  std::optional<Clock::time_point> failed_;  // when the first rank did
  int sent_ = 0;                             // the last signal of this process's own
  int told_ = 0;                             // the last one that was passed on
};

int exit_status(const Child& child) {
  return WIFEXITED(*child.status) ? WEXITSTATUS(*child.status) : 128 + WTERMSIG(*child.status);
}

// What a rank said last, without the program's name.
std::string last_words(const Child& child) {
  std::string text;
  if (child.messages == nullptr) return text;
  const off_t end = ::lseek(*child.messages, 0, SEEK_END), begin = std::max<off_t>(0, end - 65536);
  text.resize(static_cast<std::size_t>(std::max<off_t>(0, end - begin)));
  const ssize_t got = ::pread(*child.messages, text.data(), text.size(), begin);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, got)));
  constexpr std::string_view kName = "tapescope: ";
  const std::size_t name = text.rfind(kName);
  if (name != text.npos) text.erase(0, name + kName.size());
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

// The rank that failed first, as far as that can be told: one that was killed, which says nothing
// itself, then rank 0, which has said why, then any other.
int Launcher::tell_end() const {
  const auto failed = [this](const Child& child) { return child.by_itself && has_failed(child); };
  for (std::size_t rank = 0; rank < children_.size(); ++rank) {
    if (failed(children_[rank]) && WIFSIGNALED(*children_[rank].status)) tell(rank);
  }
  if (failed(children_[0])) return exit_status(children_[0]) == 2 ? 2 : 1;
  for (std::size_t rank = 1; rank < children_.size(); ++rank) {
    if (failed(children_[rank])) tell(rank);
  }
  const int first = exit_status(children_[0]);
  if (told_ != 0) return first == kOtherRankEnded ? 128 + told_ : first;
  for (std::size_t rank = 0; rank < children_.size(); ++rank) {
    if (exit_status(children_[rank]) == first) continue;
    // The one that others missed, or any.
    tell(first == kOtherRankEnded ? rank : 0);
  }
  return first;
}

void Launcher::tell(std::size_t rank) const {
  const Child& child = children_[rank];
  const int status = *child.status;
  std::string end = WIFSIGNALED(status)
                        ? fmt::format("was killed by signal {} ({})", WTERMSIG(status),
                                      ::strsignal(WTERMSIG(status)))
                        : fmt::format("ended with exit status {}", WEXITSTATUS(status));
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
    end += ", as the system does where memory is short";
  }
  const std::string words = last_words(child);
  std::string text = fmt::format("rank {} of {} (process {}) {}{}{}", rank, children_.size(),
                                 child.process, end, words.empty() ? "" : ": ", words);
  if (exit_status(child) == 2) throw usage_error("{}", text);
  const std::string checkpoint =
      request_.last_checkpoint ? request_.last_checkpoint() : std::string();
  throw failure("{}; {}", text,
                checkpoint.empty()
                    ? "there is no checkpoint yet to go on from"
                    : "the last checkpoint is " + checkpoint + ", and --resume goes on from it");
}

}  // namespace

int run_ranks(const RanksRequest& request) { return Launcher(request).run(); }

bool watched_by_launcher() {
  const char* const world = std::getenv("TAPESCOPE_WORLD_FD");
  return world != nullptr && *world != 0;
}

}  // namespace tapescope
