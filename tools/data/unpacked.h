// Compressed shards, which are unpacked once to the user's cache folder: no picture in the middle
// of one could be read otherwise.
#pragma once

#include <filesystem>

namespace tapescope {

// .tar, .tar.gz, .tgz and .tar.zst, in upper or lower case.
bool is_shard_name(const std::filesystem::path& path);

// The file itself, or what was unpacked of it, now or by an earlier run, and is as it was then.
// What no run asked for in 30 days is removed when something else is unpacked. Throws a usage error
// where it is damaged or there is no cache folder, a failure where that has less than 1 GiB left.
std::filesystem::path plain_tar(const std::filesystem::path& shard);

}  // namespace tapescope
