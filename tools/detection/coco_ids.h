// The ids that a COCO data set gives its images and categories, for results that belong to it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace tapescope::detection {

class CocoIds {
 public:
  // Images count from 1 in the order asked for, categories from 1.
  CocoIds() = default;
  // Those of the COCO files in the folder `place`, in the folders in it, or in the file `place`.
  // Throws a usage error where there are none, and where they lack one of `classes`.
  CocoIds(const std::filesystem::path& place, const std::vector<std::string>& classes);

  // As JSON text: numbers, or whatever the data has. `category` counts from 0.
  std::string category(int category) const;
  // Throws a usage error for a picture that the data does not have, or has twice.
  std::string image(const std::string& path);

 private:
  struct Entry {
    std::string id, file_name;
    std::filesystem::path json;
  };
  std::string place_;
  std::multimap<std::string, Entry> images_;  // by the last part of their name
  std::vector<std::string> categories_;       // by class
  std::map<std::string, std::int64_t> counted_;
};

}  // namespace tapescope::detection
