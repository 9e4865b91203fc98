#include "tools/files/folders.h"

#include <algorithm>
#include <string>

#include "engine/error.h"
#include "tools/files/text_file.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

bool same_but_for_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

void expect(const std::error_code& error, const fs::path& folder) {
  if (!error) return;
  throw usage_error("the folder '{}' cannot be listed: {}; check its permissions",
                    shown(folder.string()), error.message());
}

}  // namespace

void expect_no_ring(const fs::path& path) {
  std::error_code error;
  if (!fs::is_symlink(path, error)) return;
  const fs::path target = fs::canonical(path, error);
  if (error) return;  // leads nowhere
  const fs::path own = fs::canonical(path.parent_path().empty() ? "." : path.parent_path(), error);
  if (error ||
      std::mismatch(target.begin(), target.end(), own.begin(), own.end()).first != target.end()) {
    return;
  }
  throw usage_error("the link '{}' leads back to a folder that it lies in, '{}'; remove the link",
                    shown(path.string()), shown(target.string()));
}

bool is_file(const fs::path& path) {
  std::error_code impossible;
  return fs::is_regular_file(path, impossible);
}

bool is_folder(const fs::path& path) {
  std::error_code impossible;
  return fs::is_directory(path, impossible);
}

bool has_ending(const fs::path& path, std::string_view ending) {
  const std::string name = path.filename().string();
  return name.size() > ending.size() &&
         same_but_for_case(std::string_view(name).substr(name.size() - ending.size()), ending);
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!is_folder(folder)) return found;
  std::error_code error;
  fs::directory_iterator at(folder, error);
  expect(error, folder);
  for (; at != fs::directory_iterator(); at.increment(error), expect(error, folder)) {
    if (!is_hidden(at->path())) found.push_back(at->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> found = entries_of(folder);
  std::erase_if(found, [](const fs::path& entry) { return !is_folder(entry); });
  return found;
}

std::vector<fs::path> files_in(const fs::path& folder, std::string_view ending) {
  std::vector<fs::path> found = entries_of(folder);
  std::erase_if(
      found, [&](const fs::path& entry) { return !has_ending(entry, ending) || is_folder(entry); });
  return found;
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const fs::path& entry : entries_of(folder)) {
    std::error_code error;
    if (is_file(entry)) {
      found.push_back(entry);
    } else if (is_folder(entry) && !fs::is_symlink(entry, error)) {
      for (fs::path& below : files_below(entry)) found.push_back(std::move(below));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

fs::path child_of(const fs::path& folder, const fs::path& name) {
  fs::path place = folder;
  for (const fs::path& part : name) {
    if (part == ".") continue;
    fs::path next = place / part;
    if (!is_folder(next) && !is_file(next)) {
      next.clear();
      for (const fs::path& entry : entries_of(place)) {
        if (!same_but_for_case(entry.filename().string(), part.string())) continue;
        if (!next.empty()) return {};
        next = entry;
      }
      if (next.empty()) return {};
    }
    place = next;
  }
  return place;
}

void make_output_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw usage_error("--out '{}' cannot be made: {}; choose another folder", folder.string(),
                      error.message());
  }
}

}  // namespace tapescope
