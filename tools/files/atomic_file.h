// Files that are either the old ones or the new ones, whenever the power fails.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace tapescope {

// Writes the parts one after another to a new file in the same folder, flushes it to the disk,
// renames it to `path` and flushes the folder. A reader sees the whole old file or the whole new
// one. Throws a failure that names the path and the cause (no folder, no room, no permission), and
// then leaves the old file as it was.
void write_atomically(const std::filesystem::path& path,
                      std::span<const std::span<const std::byte>> parts);
void write_atomically(const std::filesystem::path& path, const std::string& text);

}  // namespace tapescope
