// Which annotated pictures are in which split: drawn and recorded as a classifier's are.
#pragma once

#include <filesystem>

#include "tools/detection/annotations.h"

namespace tapescope::detection {

// Moves the pictures, whose contents are known, as tools/data/splits.h says, and fills in the
// record, changes and notices. A class is there what is annotated; draws take some of the pictures
// with objects and some of those without. Pictures that several splits name stay in each,
// which is said. `root`: what recorded names are beneath. On entry data.record.heads says whether
// contents are known by the files' heads.
void divide(DetectionData& data, const std::filesystem::path& root, const DataOptions& options);

}  // namespace tapescope::detection
