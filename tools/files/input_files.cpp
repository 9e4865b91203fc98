#include "tools/files/input_files.h"

#include <sys/stat.h>

#include <optional>
#include <set>

#include "engine/error.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using Id = std::pair<std::uint64_t, std::uint64_t>;

std::optional<struct stat> state_of(const fs::path& path) {
  struct stat state = {};
  if (::stat(path.c_str(), &state) != 0) return std::nullopt;
  return state;
}

Id id_of(const struct stat& state) { return {state.st_dev, state.st_ino}; }

// Every file at or below `path`; links are followed, each folder once.
void walk(const fs::path& path, std::map<Id, fs::path>& files, std::set<Id>& folders) {
  const std::optional<struct stat> state = state_of(path);
  if (!state) return;
  if (!S_ISDIR(state->st_mode)) {
    files.emplace(id_of(*state), path);
    return;
  }
  if (!folders.insert(id_of(*state)).second) return;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    walk(it->path(), files, folders);
  }
}

}  // namespace

void InputFiles::add(const fs::path& path) { paths_.push_back(path); }

void InputFiles::add_open(int descriptor) {
  struct stat state = {};
  if (::fstat(descriptor, &state) != 0 || !S_ISREG(state.st_mode)) return;
  known_.emplace(id_of(state), "standard input");
}

const std::map<Id, fs::path>& InputFiles::known() const {
  std::set<Id> folders;
  for (; walked_ < paths_.size(); ++walked_) walk(paths_[walked_], known_, folders);
  return known_;
}

void InputFiles::expect_apart(const std::string& option, const fs::path& path) const {
  const std::optional<struct stat> state = state_of(path);
  if (!state || !S_ISREG(state->st_mode)) return;
  const auto input = known().find(id_of(*state));
  if (input == known().end()) return;
  throw usage_error(
      "{} would write over '{}', which is read (as '{}'); nothing was written: choose another name",
      option, printable(path.string()), printable(input->second.string()));
}

void InputFiles::expect_apart(const std::string& option, const fs::path& folder,
                              const std::function<bool(const std::string& name)>& written) const {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (written(it->path().filename().string())) expect_apart(option, it->path());
  }
}

}  // namespace tapescope
