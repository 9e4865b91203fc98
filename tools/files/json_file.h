// JSON files of a run folder, whoever wrote them.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace tapescope {

constexpr std::uintmax_t kMostJsonBytes = std::uintmax_t{16} << 20;

// The object that a file holds. Throws a usage error that names the file where it is none: missing,
// no regular file, larger than kMostJsonBytes, no JSON, beyond kMostJsonLevels or kMostMembers.
nlohmann::ordered_json read_json_object(const std::filesystem::path& path);

}  // namespace tapescope
