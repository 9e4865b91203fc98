// The files that annotations mean by the names in them.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace tapescope::detection {

// A name that is read from a file may come from anybody: what it means has to lie beneath the data
// folder (or the folder that data.yaml calls `path`), by its name as it is written; links that lie
// there are followed. Files are found under other capitals and through backslashes too, as they
// were on the machine that wrote the names.
class NamedFiles {
 public:
  NamedFiles(const std::filesystem::path& folder, bool allow_outside);
  void allow(const std::filesystem::path& folder);

  // The file or folder that `name` means from the first of `bases` where there is one; empty where
  // there is none. `where`: who says so, for errors. Throws a usage error for a name that leads
  // outside, and for one of a device or a pipe.
  std::filesystem::path find(const std::vector<std::filesystem::path>& bases,
                             const std::string& name, const std::string& where,
                             const std::string& other = "");
  // The picture in one of `folders` whose name is `stem` and a picture's ending: the one called
  // `preferred`, if it is among several.
  std::filesystem::path picture_of(const std::vector<std::filesystem::path>& folders,
                                   const std::string& stem, const std::string& preferred);
  // A picture is used: links are counted.
  void use(const std::filesystem::path& picture);
  std::size_t links() const { return links_.size(); }
  std::string first_link() const { return links_.empty() ? "" : *links_.begin(); }

 private:
  struct Listing {
    std::multimap<std::string, std::filesystem::path> by_name;  // in small letters
    std::multimap<std::string, std::filesystem::path> by_stem;  // pictures
  };
  bool inside(const std::filesystem::path& path) const;
  const Listing& listing(const std::filesystem::path& folder);

  std::string folder_;
  bool allow_outside_;
  std::vector<std::string> roots_;  // absolute, with a slash at the end
  std::map<std::filesystem::path, Listing> listings_;
  std::set<std::string> links_;
};

}  // namespace tapescope::detection
