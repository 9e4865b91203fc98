#include "tools/cli/process.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>

#include "engine/remedy.h"
#include "kernels/collectives/rank_ended.h"
#include "tools/files/blame.h"
#include "tools/files/text.h"
#include "tools/training/ranks.h"

namespace tapescope::cli {
namespace {

volatile std::sig_atomic_t signalled = 0;
void note_signal(int) { signalled = 1; }

// stdout was closed when the program began, or its writes failed: the error's number.
int output_error = 0;

// Writes what it can; the rest is lost, and nobody is told.
ssize_t write_message(void*, const char* text, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::write(STDERR_FILENO, text + done, size - done);
    if (n < 0 && errno != EINTR) break;
    done += n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  return static_cast<ssize_t>(size);
}

// oneDNN writes code into memory that it has not been given where addresses are limited.
void end_at_limit(int) {
  constexpr char kSentence[] =
      "tapescope: out of memory in a library: the limit on addresses is too small (ulimit -v); "
      "raise "
      "it\n";
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, kSentence, sizeof kSentence - 1);
  ::_exit(1);
}

int say(int status, const std::string& sentence) {
  fmt::print(stderr, "tapescope: {}\n", printable_lines(sentence));
  return status;
}

// A path as a message may hold it.
std::string shown(const std::filesystem::path& path) {
  constexpr std::size_t kMost = 200;
  const std::string text = printable(path.string());
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

std::vector<std::string> options_of_command;

// What would set about a remedy, of any subcommand.
std::vector<std::string> options_for(Remedy remedy) {
  switch (remedy) {
    case Remedy::smaller_step:
      return {"--batch-size", "--image-size", "--width"};
    case Remedy::larger_images:
      return {"--image-size", "--model"};
    case Remedy::fewer_threads:
      return {"--threads"};
    case Remedy::own_kernel:
      return {"--kernel"};
    case Remedy::cpu:
      return {"--device cpu"};
    case Remedy::leave_out:
      return {"--on-bad-image skip"};
    case Remedy::longer_wait:
      return {"--rank-timeout"};
  }
  return {};
}

// The library says what would help, the command line which options do.
std::string with_options(const ErrorWithRemedy& error) {
  std::vector<std::string> options = options_for(error.remedy);
  std::erase_if(options, [](const std::string& option) {
    return std::find(options_of_command.begin(), options_of_command.end(),
                     option.substr(0, option.find(' '))) == options_of_command.end();
  });
  if (options.empty()) return error.what();
  return fmt::format("{} ({})", error.what(), fmt::join(options, ", "));
}

int say(const Error& error, const std::string& sentence) {
  return say(error.blame() == Blame::usage ? 2 : 1, sentence);
}

}  // namespace

void prepare_process() {
  // A closed stdout is opened for reading: what is printed fails and is told at the end, what
  // prints nothing succeeds.
  for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(file, F_GETFD) >= 0 || errno != EBADF) continue;
    const int opened = ::open("/dev/null", file == STDERR_FILENO ? O_WRONLY : O_RDONLY);
    if (opened >= 0 && opened != file) {
      ::dup2(opened, file);
      ::close(opened);
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit addresses{};
  if (::getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY) {
    std::signal(SIGSEGV, end_at_limit);
  }
  cookie_io_functions_t functions{};
  functions.write = write_message;
  if (std::FILE* messages = ::fopencookie(nullptr, "w", functions)) {
    std::setvbuf(messages, nullptr, _IONBF, 0);
    stderr = messages;
  }
}

int end_output(int status) {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (output_error == 0 && !flushed) output_error = errno;
  if (output_error == 0 && std::ferror(stdout) == 0) return status;
  if (output_error == EPIPE) {
    std::fflush(stderr);
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }
  return say(1, fmt::format("standard output cannot be written ({}): the answer is not complete",
                            output_error == EBADF ? "it is closed"
                            : output_error != 0   ? std::strerror(output_error)
                                                  : "an earlier write failed"));
}

void name_options(std::vector<std::string> options) { options_of_command = std::move(options); }

int status_of(int (*command)(int argc, char** argv), int argc, char** argv) {
  try {
    return command(argc, argv);
  } catch (...) {
    return tell_error();
  }
}

int tell_error() {
  try {
    throw;
  } catch (const ErrorWithRemedy& error) {
    return say(error, with_options(error));
  } catch (const RankEnded& error) {
    return watched_by_launcher() ? kOtherRankEnded : say(error, error.what());
  } catch (const Error& error) {
    return say(error, error.what());
  } catch (const std::bad_alloc&) {
    return say(1, "out of memory; try a smaller --batch-size, --image-size or --threads");
  } catch (const std::length_error&) {  // a container that no memory could hold
    return say(1, "out of memory; try a smaller --batch-size, --image-size or --threads");
  } catch (const std::filesystem::filesystem_error& error) {
    return say(blame_of(error.code()) == Blame::usage ? 2 : 1,
               fmt::format("'{}' cannot be opened or changed: {}; check the path and its rights",
                           shown(error.path1()), error.code().message()));
  } catch (const std::system_error& error) {
    if (std::ferror(stdout) != 0) {  // fmt's error; end_output tells
      output_error = error.code().value();
      return 1;
    }
    if (error.code() == std::errc::resource_unavailable_try_again) {
      return say(1,
                 "a thread cannot be started: the system allows no more threads or memory; try a "
                 "smaller --threads or --loader-threads, or raise the limit (ulimit -u, ulimit "
                 "-v)");
    }
    return say(1, fmt::format("the system refused something: {}", error.code().message()));
  } catch (const std::exception& error) {
    return say(1, fmt::format("an error that nobody has foreseen ({}); please report it together "
                              "with the command and the file it was given",
                              error.what()));
  }
}

void catch_interrupts() {
  std::signal(SIGINT, note_signal);
  std::signal(SIGTERM, note_signal);
  if (std::signal(SIGHUP, note_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

bool interrupted() { return signalled != 0; }

}  // namespace tapescope::cli
