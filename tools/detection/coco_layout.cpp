#include "tools/detection/coco_layout.h"

#include <algorithm>
#include <map>

#include "tools/files/folders.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

// What a file is of, by a word of its name: the lower, the better; below kNever boxes are taken.
constexpr int kOther = 1, kKeypoints = 2, kNever = 3;
constexpr std::pair<std::string_view, int> kKinds[] = {
    {"instances", 0},     {"keypoints", kKeypoints}, {"captions", kNever}, {"caption", kNever},
    {"panoptic", kNever}, {"stuff", kNever},         {"info", kNever}};

// Where JSON lies: of the folder, or of a folder in it that is named after a split.
struct FolderLayout {
  const char* name;
  const char* files;
  bool of_splits;
};
constexpr FolderLayout kCocoLayouts[] = {
    {"COCO, annotations/*.json", "annotations", false},
    {"COCO, a JSON file beside the folders of pictures", ".", false},
    {"COCO, a folder per split", ".", true},
    {"COCO, a folder per split", "annotations", true},
};

int kind_of(const fs::path& file) {
  int kind = kOther;
  const std::vector<std::string> words = words_in(file.stem().string());
  for (const auto& [word, of] : kKinds) {
    if (std::find(words.begin(), words.end(), word) != words.end()) {
      kind = kind == kOther ? of : std::max(kind, of);
    }
  }
  return kind;
}

std::vector<fs::path> pictures_of(const fs::path& file, Split split, const fs::path& folder) {
  std::vector<fs::path> found;
  const auto add = [&](const fs::path& place) {
    if (is_folder(place) && std::find(found.begin(), found.end(), place) == found.end()) {
      found.push_back(place);
    }
  };
  const std::string stem = file.stem().string();
  const std::string end = stem.substr(stem.rfind('_') + 1);  // train2017
  const fs::path own = file.parent_path();
  add(own);
  for (const char* inside : {"images", "data"}) add(child_of(own, inside));
  for (const fs::path& place : {folder, child_of(folder, "images")}) {
    if (!is_folder(place)) continue;
    add(place / end);
    for (const fs::path& inside : folders_in(place)) {
      if (split_in(inside.filename().string()) == split) add(inside);
      if (split_in(inside.filename().string()) == split) add(child_of(inside, "images"));
    }
  }
  add(folder);
  for (const char* inside : {"images", "image", "img", "JPEGImages", "data"}) {
    add(child_of(folder, inside));
  }
  return found;
}

}  // namespace

CocoLayout coco_layout_of(const fs::path& folder) {
  CocoLayout found;
  struct Candidate {
    CocoFile file;
    int kind;
  };
  std::vector<Candidate> candidates;
  for (const FolderLayout& layout : kCocoLayouts) {
    std::vector<std::pair<fs::path, Split>> places;
    if (layout.of_splits) {
      for (const fs::path& inside : folders_in(folder)) {
        const Split split = split_in(inside.filename().string());
        if (split != Split::none) places.emplace_back(child_of(inside, layout.files), split);
      }
    } else {
      places.emplace_back(child_of(folder, layout.files), Split::none);
    }
    for (const auto& [place, of_folder] : places) {
      if (place.empty()) continue;
      for (const fs::path& path : files_in(place, ".json")) {
        Split split = split_in(path.stem().string());
        if (of_folder != Split::none) split = of_folder;
        if (split == Split::none) split = Split::train;
        candidates.push_back(
            {{path, layout.name, split, pictures_of(path, split, folder)}, kind_of(path)});
      }
    }
  }
  std::map<Split, int> best;
  int best_of_all = kNever;
  for (const Candidate& c : candidates) {
    best.try_emplace(c.file.split, c.kind);
    best[c.file.split] = std::min(best[c.file.split], c.kind);
    best_of_all = std::min(best_of_all, c.kind);
  }
  for (const Candidate& c : candidates) {
    const bool persons_alone = c.kind == kKeypoints && best_of_all < kKeypoints;
    if (c.kind < kNever && c.kind == best[c.file.split] && !persons_alone) {
      found.files.push_back(c.file);
    } else {
      found.left_out.push_back(c.file.path);
    }
  }
  return found;
}

}  // namespace tapescope::detection
