// Files that are either the old ones or the new ones, whenever the power fails.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/error.h"

namespace tapescope {

// What a new file must outlive. A process that is killed and a full disk leave the old file or the
// new one in both cases; `power` also waits for the disk, which takes milliseconds per file.
enum class Outlives { kill, power };

// Writes the parts one after another to a new file in the same folder, flushes it to the disk,
// renames it to `path` and flushes the folder. A reader sees the whole old file or the whole new
// one. Where `path` is a link, the file it points to is replaced; a device or a pipe is written to
// as it is. Throws a failure that names the path and the cause (no folder, no room, no permission),
// and then leaves the old file as it was.
void write_atomically(const std::filesystem::path& path,
                      std::span<const std::span<const std::byte>> parts,
                      Outlives outlives = Outlives::power);
void write_atomically(const std::filesystem::path& path, const std::string& text);

// The same for a file that is too large to be held in memory: written piece by piece, and there
// under its name from commit() on. Without it nothing stays.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  AtomicFile(const AtomicFile&) = delete;
  ~AtomicFile();
  void write(std::span<const std::byte> bytes);
  void commit(Outlives outlives = Outlives::power);

 private:
  Error stopped(const char* doing);  // nothing stays
  std::filesystem::path name_, path_, temporary_;
  int file_ = -1;
};

// Throw a usage error that names `option` where write_atomically could not write `file`, or where
// no file can be made in `folder`, which may have to be made itself. Nothing is left behind. For
// commands that write at their end: they ask before their work.
void expect_writable(const std::string& option, const std::filesystem::path& file);
void expect_writable_folder(const std::string& option, const std::filesystem::path& folder);

// Removes what killed writers left in `folder`: write_atomically's temporary files, nothing else.
// Only for a folder that nobody else is writing into (FolderLock).
void remove_stale_temporaries(const std::filesystem::path& folder);

// The whole of `bytes` to `file`, at its position or, with `offset` >= 0, there. false: errno says
// why not.
bool write_all(int file, std::span<const std::byte> bytes, std::int64_t offset = -1);

}  // namespace tapescope
