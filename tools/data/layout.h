// What the folders of a data folder are: splits, classes, or neither.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tapescope {

enum class Part : unsigned char {
  train,
  validation,
  test,
  unused,  // of no split: beyond --limit, or left out
};
std::string name_of(Part part);  // "train"

// Sorted by path. Hidden entries (._* of a Mac among them) and what systems leave behind
// (__MACOSX, Thumbs.db, desktop.ini, ...) are ignored. A usage error where it cannot be read.
std::vector<std::filesystem::directory_entry> listing_of(const std::filesystem::path& folder);

// What a folder's name says of a split: "Training", "test_set", "val2017", "seg_train".
struct SplitName {
  Part part = Part::unused;  // unused: it names no split, or two
  std::string rest;    // what else is in the name, "seg"; words like "set" or "images" are not
  bool plain = false;  // the split's word and nothing else
};
SplitName split_name(const std::string& folder_name);

struct FolderLayout {
  // Each holds class folders; empty where there is none. All empty: the folder itself holds them.
  std::filesystem::path train, validation, test;
  std::vector<std::string> notices;  // what was nearly seen
  bool flat() const { return train.empty() && validation.empty() && test.empty(); }
};
// Throws a usage error on splits that lie within the class folders.
FolderLayout find_layout(const std::filesystem::path& root);

// "; FOLDER/archive/train exists: name FOLDER/archive" where a folder of pictures lies deeper;
// empty where none is found.
std::string deeper_hint(const std::filesystem::path& root);

}  // namespace tapescope
