// A child process with one end of a pipe: `ffmpeg` as decoder or encoder, `ffprobe`.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace tapescope::detection {

class Pipe {
 public:
  enum class Way { read, write };
  // Given every line that the process writes to its standard error, and null behind the last, by a
  // thread of the pipe's own.
  using Listener = std::function<void(const std::string* line)>;
  // words: the program and its arguments, without a shell. Throws a usage error where the process
  // cannot be started.
  Pipe(std::vector<std::string> words, Way way, Listener listener);
  ~Pipe();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  std::FILE* file() const { return file_; }
  // Closes the pipe and waits until all is told; the exit status.
  int finish();

 private:
  std::FILE* file_ = nullptr;
  int pid_ = -1;
  std::thread listening_;
};

}  // namespace tapescope::detection
