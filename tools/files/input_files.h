// Outputs are never inputs: what a command reads is not written over.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace tapescope {

// The files that a command reads, known by device and inode: a link, a hard link or another
// spelling of a path is the same file. Folders are only walked where an output is there already.
class InputFiles {
 public:
  // A file, or a folder with all that is below it; a path that is not there adds nothing.
  void add(const std::filesystem::path& path);
  void add_open(int descriptor);  // such as standard input

  // Throws a usage error that names `option` where writing `path` would replace one of them.
  void expect_apart(const std::string& option, const std::filesystem::path& path) const;
  // The same of every file in `folder` whose name `written` says will be written.
  void expect_apart(const std::string& option, const std::filesystem::path& folder,
                    const std::function<bool(const std::string& name)>& written) const;

 private:
  using Id = std::pair<std::uint64_t, std::uint64_t>;  // device, inode
  const std::map<Id, std::filesystem::path>& known() const;
  std::vector<std::filesystem::path> paths_;
  mutable std::map<Id, std::filesystem::path> known_;
  mutable std::size_t walked_ = 0;  // of paths_
};

}  // namespace tapescope
