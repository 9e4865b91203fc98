#include "tools/files/json_file.h"

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope {

nlohmann::ordered_json read_json_object(const std::filesystem::path& path) {
  using Json = nlohmann::ordered_json;
  const auto damaged = [&](const std::string& why) {
    return usage_error("'{}' is damaged: {}", printable(path.string()), why);
  };
  std::error_code error;
  if (const auto size = std::filesystem::file_size(path, error); !error && size > kMostJsonBytes) {
    throw damaged(fmt::format("it has {} bytes, more than {}", size, kMostJsonBytes));
  }
  const std::string text = read_text(path);
  if (nests_too_deep(text)) {
    throw damaged(fmt::format("its values nest more than {} levels deep", kMostJsonLevels));
  }
  if (has_huge_object(text)) {
    throw damaged(fmt::format("an object of it has more than {} members", kMostMembers));
  }
  try {
    Json json = Json::parse(text);
    if (!json.is_object()) throw damaged("it is no JSON object");
    return json;
  } catch (const Json::exception& wrong) {
    throw damaged(printable(std::string(wrong.what()).substr(0, 300)));
  }
}

}  // namespace tapescope
