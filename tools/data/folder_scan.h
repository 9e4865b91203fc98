// What lies in a folder of class folders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/files/file_stamp.h"

namespace tapescope {

// What is found below one split's folder.
struct FolderScan {
  std::vector<std::string> classes;             // sorted names of the class folders, printable()
  std::vector<std::vector<std::string>> files;  // by class, sorted by path
  std::int64_t other_files = 0;                 // without a picture's extension
  std::vector<std::string> other_examples;      // the first few of them
  std::int64_t loose_images = 0;                // pictures that lie beside the class folders
  std::int64_t no_files = 0;                    // pipes and devices named like pictures
  std::string no_file_example;
  std::int64_t links = 0;  // pictures that are links

  // The folders that were listed, as they were before.
  std::vector<std::pair<std::string, FileStamp>> folders = {};
  // Whether only a change of one of these folders can make another scan: not where a link that is
  // no picture may lead to a folder tomorrow.
  bool lasting = true;

  // What lies there besides pictures in class folders, in sentences.
  std::vector<std::string> notices(const std::filesystem::path& folder) const;
};

// Fewer pictures than these are listed and read anew each time, which takes no longer than asking.
inline constexpr std::int64_t kWorthKeeping = 1000;

// Hidden entries are ignored; a class folder is searched with all its subfolders. No picture is
// opened. A scan of `keep_from` pictures or more is kept in the user's cache, and taken from there
// while every folder's stamp is the same: a file that was rewritten in place is in it as before,
// and whoever reads it asks for its own stamp.
FolderScan scan_classes(const std::filesystem::path& folder,
                        std::int64_t keep_from = kWorthKeeping);

// `path` beneath `root`, "train/cat/7.jpg"; `path` itself where it lies elsewhere.
std::string name_beneath(const std::string& path, const std::string& root);
std::string_view view_beneath(std::string_view path, std::string_view root);

}  // namespace tapescope
