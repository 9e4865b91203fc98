// Files that are whole or not there, files that grow by whole records, folders with one writer.
#include "tools/files/atomic_file.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "tests/tools/temporary_folder.h"
#include "tools/files/append_file.h"
#include "tools/files/folder_lock.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  const std::vector<std::uint8_t> bytes = get(path);
  return {bytes.begin(), bytes.end()};
}

TEST(WriteAtomically, TakesNamesOfFullLength) {
  const TemporaryFolder folder;
  std::string wide;  // 254 bytes of two-byte letters
  for (int i = 0; i < 127; ++i) wide += "\u00fc";
  for (const std::string& name : {std::string(255, 'n'), wide, std::string("a")}) {
    write_atomically(folder / name, std::string("text"));
    EXPECT_EQ(text_of(folder / name), "text");
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 3);
  EXPECT_THROW(write_atomically(folder / std::string(256, 'n'), std::string("text")), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 3);
}

TEST(WriteAtomically, ThreadsMayWriteOneFile) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const std::string text(100000, static_cast<char>('a' + t));
      const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
      for (int i = 0; i < 20; ++i) write_atomically(folder / "file", parts, Outlives::kill);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string text = text_of(folder / "file");
  EXPECT_EQ(text, std::string(100000, text[0]));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(WriteAtomically, FollowsLinksAndLeavesDevicesAlone) {
  const TemporaryFolder folder;
  put(folder / "inner" / "file", std::string("old"));
  fs::create_symlink(folder / "inner" / "file", folder / "link");
  write_atomically(folder / "link", std::string("new"));
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(text_of(folder / "inner" / "file"), "new");
  write_atomically("/dev/null", std::string("new"));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  try {
    write_atomically("/dev/full", std::string("new"));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.blame(), Blame::failure);
    EXPECT_NE(std::string(error.what()).find("No space left on device"), std::string::npos);
  }
}

TEST(WriteAtomically, StaleTemporariesAreToldFromTheUsersFiles) {
  const TemporaryFolder folder;
  for (const char* name : {".a.png.12.tmp", ".a.png.12-3.tmp", "..17.tmp"}) {
    put(folder / name, std::string("x"));
  }
  const std::vector<std::string> kept = {".tmp",       ".notes.tmp", "a.12.tmp",
                                         ".a.12.tmpx", ".12.tmp",    ".a.12b.tmp"};
  for (const std::string& name : kept) put(folder / name, std::string("x"));
  remove_stale_temporaries(folder.path());
  remove_stale_temporaries(folder / "nowhere");
  for (const std::string& name : kept) EXPECT_TRUE(fs::exists(folder / name)) << name;
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}),
            static_cast<std::ptrdiff_t>(kept.size()));
}

TEST(AppendFile, KeepsWhatCannotBeWritten) {
  const TemporaryFolder folder;
  put(folder / "file", std::string("first\n"));
  AppendFile file(folder / "file");
  EXPECT_TRUE(file.append("second\n"));
  // No file may grow: a disk without room.
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit none = old;
  none.rlim_cur = 16;  // the next record fits in part
  ::setrlimit(RLIMIT_FSIZE, &none);
  EXPECT_FALSE(file.append("third\n"));
  EXPECT_FALSE(file.append("fourth\n"));
  EXPECT_FALSE(file.flush());
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(file.missing(), 2);
  EXPECT_EQ(file.cause(), "File too large");
  EXPECT_TRUE(file.append("fifth\n"));
  EXPECT_EQ(file.missing(), 0);
  EXPECT_EQ(text_of(folder / "file"), "first\nsecond\nthird\nfourth\nfifth\n");
}

TEST(FolderLock, HasOneHolder) {
  const TemporaryFolder folder;
  {
    const FolderLock lock(folder / "run");
    EXPECT_EQ(lock.notice(), "");
    const std::string holder = text_of(folder / "run" / ".lock");
    EXPECT_EQ(holder.find("process " + std::to_string(::getpid()) + " on host "), 0u) << holder;
    const std::string message = usage_message([&] { const FolderLock second(folder / "run"); });
    EXPECT_NE(message.find(holder.substr(0, holder.size() - 1)), std::string::npos) << message;
  }
  EXPECT_FALSE(fs::exists(folder / "run"));  // nothing was written into it
  put(folder / "old" / ".lock", std::string("process 1 on host gone\n"));  // of a killed holder
  put(folder / "old" / "file", std::string("x"));
  { const FolderLock lock(folder / "old"); }
  EXPECT_FALSE(fs::exists(folder / "old" / ".lock"));
  EXPECT_TRUE(fs::exists(folder / "old" / "file"));
}

TEST(FolderLock, NamesAFolderThatCannotBeMade) {
  const TemporaryFolder folder;
  put(folder / "file", std::string("x"));
  EXPECT_NE(usage_message([&] { const FolderLock lock(folder / "file" / "run"); }).find("--out"),
            std::string::npos);
  EXPECT_NE(usage_message([&] { const FolderLock lock(folder / "file"); }).find("--out"),
            std::string::npos);
}

}  // namespace
}  // namespace tapescope
