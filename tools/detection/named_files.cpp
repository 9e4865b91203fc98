#include "tools/detection/named_files.h"

#include <algorithm>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/files/folders.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

std::string small_letters(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string with_slash(const fs::path& folder) {
  std::string text = folder.lexically_normal().string();
  if (!text.ends_with('/')) text += '/';
  return text;
}

fs::path absolute_of(const fs::path& path) {
  std::error_code error;
  const fs::path result = fs::absolute(path.empty() ? "." : path, error);
  return error ? path : result;
}

}  // namespace

NamedFiles::NamedFiles(const fs::path& folder, bool allow_outside)
    : folder_(folder.string()), allow_outside_(allow_outside) {
  allow(folder);
}

void NamedFiles::allow(const fs::path& folder) {
  roots_.push_back(with_slash(absolute_of(folder)));
  std::error_code error;
  const fs::path real = fs::weakly_canonical(folder, error);
  if (!error) roots_.push_back(with_slash(real));
}

bool NamedFiles::inside(const fs::path& path) const {
  const std::string text = with_slash(absolute_of(path));
  return std::any_of(roots_.begin(), roots_.end(),
                     [&](const std::string& root) { return text.starts_with(root); });
}

const NamedFiles::Listing& NamedFiles::listing(const fs::path& folder) {
  const auto [it, is_new] = listings_.try_emplace(folder);
  if (!is_new) return it->second;
  for (const fs::path& entry : entries_of(folder)) {
    it->second.by_name.emplace(small_letters(entry.filename().string()), entry);
    if (has_image_extension(entry)) {
      it->second.by_stem.emplace(small_letters(entry.stem().string()), entry);
    }
  }
  return it->second;
}

fs::path NamedFiles::find(const std::vector<fs::path>& bases, const std::string& name,
                          const std::string& where, const std::string& other) {
  std::string slashed = name;
  std::replace(slashed.begin(), slashed.end(), '\\', '/');
  bool left = false;
  if (name.empty() || name.find('\0') != std::string::npos) return {};
  std::vector<std::string> spellings = {name};
  if (slashed != name) spellings.push_back(slashed);
  if (!other.empty()) spellings.push_back(other);
  for (const std::string& spelling : spellings) {
    for (const fs::path& base : bases) {
      const fs::path path = (base / spelling).lexically_normal();
      if (!allow_outside_ && !inside(path)) {
        left = true;
        continue;
      }
      if (is_file(path) || is_folder(path)) return path;
      std::error_code error;
      if (fs::exists(path, error)) {
        throw usage_error("{} names '{}', which is neither a regular file nor a folder", where,
                          shown(name));
      }
      const fs::path parent = path.parent_path();
      if (!is_folder(parent)) continue;
      const auto [first, last] =
          listing(parent).by_name.equal_range(small_letters(path.filename().string()));
      if (first != last && std::next(first) == last && is_file(first->second)) {
        return first->second;
      }
    }
  }
  if (left) {
    throw usage_error(
        "{} names '{}', which lies outside of '{}'; pass --allow-outside if it is meant", where,
        shown(name), shown(folder_));
  }
  return {};
}

fs::path NamedFiles::picture_of(const std::vector<fs::path>& folders, const std::string& stem,
                                const std::string& preferred) {
  for (const fs::path& folder : folders) {
    const Listing& all = listing(folder);
    const auto [first, last] = all.by_stem.equal_range(small_letters(stem));
    fs::path best;
    int most = 0;
    for (auto it = first; it != last; ++it) {
      const bool exact = it->second.stem() == stem;
      const int fit = 1 + (exact ? 2 : 0) + (it->second.filename() == preferred ? 1 : 0);
      if (fit > most) best = it->second;
      most = std::max(most, fit);
    }
    if (!best.empty()) return best;
  }
  return {};
}

void NamedFiles::use(const fs::path& picture) {
  std::error_code error;
  if (fs::is_symlink(picture, error)) links_.insert(picture.string());
}

}  // namespace tapescope::detection
