// Which XML files a folder has, for which split, and where their pictures may be.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/detection/annotation_formats.h"

namespace tapescope::detection {

struct VocSet {
  Split split = Split::train;
  std::vector<std::filesystem::path> files;     // XML
  std::vector<std::filesystem::path> pictures;  // folders, the likeliest first
};
struct VocLayout {
  const char* name = nullptr;
  std::vector<VocSet> sets;
};

// `own`: VOC's own layouts (Annotations with JPEGImages, VOCdevkit/VOC2007), else those of other
// programs that write its XML. Nothing where the folder has neither. Throws a usage error for a
// list that names a file which is not there.
std::optional<VocLayout> voc_layout_of(const std::filesystem::path& folder, bool own,
                                       NamedFiles& files, Complaints& complaints);

}  // namespace tapescope::detection
