// Which JSON files a folder has, for which split, and where their pictures may be.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/files/split_name.h"

namespace tapescope::detection {

struct CocoFile {
  std::filesystem::path path;
  const char* layout = nullptr;  // what the place is taken for
  Split split = Split::train;
  std::vector<std::filesystem::path> pictures;  // folders that file_name may be in, likeliest first
};
struct CocoLayout {
  std::vector<CocoFile> files;                  // none: there is no JSON of boxes
  std::vector<std::filesystem::path> left_out;  // of captions, keypoints and the like
};

// By names alone. One kind of files per split: instances_* before others, keypoints only where
// there is nothing else; captions,
// panoptic, stuff and image_info never.
CocoLayout coco_layout_of(const std::filesystem::path& folder);

}  // namespace tapescope::detection
