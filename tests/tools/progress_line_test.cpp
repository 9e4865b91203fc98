#include "tools/monitoring/progress_line.h"

#include <pty.h>

#include "tests/tools/temporary_folder.h"

namespace tapescope::monitoring {
namespace {

// What `told` writes to stderr while that is `descriptor`.
template <class Told>
void with_stderr(int descriptor, Told&& told) {
  const int before = ::dup(STDERR_FILENO);
  ::dup2(descriptor, STDERR_FILENO);
  told();
  ::dup2(before, STDERR_FILENO);
  ::close(before);
}

TEST(ProgressBar, IsDrawnOnATerminalAndTakenAway) {
  int master = -1, slave = -1;
  ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  with_stderr(slave, [] {
    ProgressBar bar("drawing", 4);
    bar.done(1);
    bar.done(4);
  });
  ::close(slave);  // nobody writes: what is read has an end, and comes in as many parts as it may
  std::string seen;
  char part[4096];
  for (ssize_t got; (got = ::read(master, part, sizeof part)) > 0;) {
    seen.append(part, static_cast<std::size_t>(got));
  }
  ::close(master);
  EXPECT_NE(seen.find("drawing [=====>"), std::string::npos) << seen;
  EXPECT_NE(seen.find("1 of 4, 0:0"), std::string::npos) << seen;  // seconds, on a busy machine
  EXPECT_NE(seen.find("4 of 4, 0:00 left"), std::string::npos) << seen;
  EXPECT_TRUE(seen.ends_with("\r\033[K")) << "the line is empty at the end";
}

TEST(ProgressBar, OfWhatIsOverWithinSecondsIsNotTold) {
  const TemporaryFolder folder;
  const std::string name = folder / "err";
  std::FILE* file = std::fopen(name.c_str(), "w");
  with_stderr(::fileno(file), [] {
    ProgressBar bar("drawing", 4);
    for (int i = 1; i <= 4; ++i) bar.done(i);
  });
  std::fclose(file);
  EXPECT_TRUE(get(name).empty());
}

}  // namespace
}  // namespace tapescope::monitoring
