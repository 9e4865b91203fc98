#include "tools/detection/voc_layout.h"

#include <algorithm>
#include <set>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/files/folders.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using Paths = std::vector<fs::path>;

// Names are looked for in any case.
constexpr const char* kOwnAnnotations[] = {"Annotations"};
constexpr const char* kAnnotations[] = {
    "Annotations", "annotations/xmls", "xmls", "xml", "labels", ".", "images"};
constexpr const char* kPictures[] = {"JPEGImages", "images", "image", "img"};
constexpr const char* kLists[] = {"ImageSets/Main", "ImageSets", "."};
constexpr const char* kDevkits[] = {"VOCdevkit", "VOC_devkit", "."};

struct Search {
  NamedFiles& files;
  Complaints& complaints;
};

Paths existing(const fs::path& folder, std::span<const char* const> names) {
  Paths found;
  for (const char* name : names) {
    const fs::path path = child_of(folder, name);
    if (is_folder(path) && std::find(found.begin(), found.end(), path) == found.end()) {
      found.push_back(path);
    }
  }
  return found;
}

bool holds_pictures(const Paths& folders) {
  return std::any_of(folders.begin(), folders.end(), [](const fs::path& folder) {
    const Paths entries = entries_of(folder);
    return std::any_of(entries.begin(), entries.end(),
                       [](const fs::path& entry) { return has_image_extension(entry); });
  });
}

// The first of the folders called `names` that holds XML, its files and where pictures may be.
std::optional<VocSet> place_in(const fs::path& folder, std::span<const char* const> names,
                               const Paths& more_pictures = {}) {
  for (const fs::path& place : existing(folder, names)) {
    VocSet set;
    set.files = files_in(place, ".xml");
    if (set.files.empty()) continue;
    set.pictures = existing(folder, kPictures);
    for (const fs::path& other : {place, folder}) set.pictures.push_back(other);
    set.pictures.insert(set.pictures.end(), more_pictures.begin(), more_pictures.end());
    // Any program keeps XML of its own; beside pictures it is annotations.
    if (place == child_of(folder, "Annotations") || holds_pictures(set.pictures)) return set;
  }
  return std::nullopt;
}

// Of "train.txt", but not of "train_val.txt": VOC has a class called train, and lists of its own
// for each class.
Split split_of_list(const fs::path& list) {
  const std::string stem = list.stem().string();
  return words_in(stem).size() == 1 ? split_in(stem) : Split::none;
}

// A line is a name without its ending, blanks inside belong to it. Lists of one class have 1, 0 or
// -1 behind the name.
fs::path listed_file(const std::string& line, const fs::path& folder, const std::string& where,
                     Search& search) {
  if (has_image_extension(line)) {  // a picture's path, perhaps of another machine
    const std::string stem = fs::path(line).stem().string();
    const fs::path found = search.files.find({folder}, stem + ".xml", where);
    if (!found.empty()) return found;
  }
  const fs::path whole = search.files.find({folder}, line + ".xml", where);
  if (!whole.empty()) return whole;
  const std::size_t blank = line.find_last_of(" \t");
  const std::string last = blank == std::string::npos ? "" : line.substr(blank + 1);
  if (last == "1" || last == "0" || last == "-1") {
    const std::string name(trimmed(line.substr(0, blank)));
    const fs::path found = search.files.find({folder}, name + ".xml", where);
    if (!found.empty()) {
      search.complaints.add("lines say 1, 0 or -1 of one class, which was passed over", where);
      return found;
    }
  }
  throw usage_error("{} lists '{}', but '{}' does not exist", where, shown(line),
                    shown((folder / (line + ".xml")).string()));
}

std::vector<VocSet> by_lists(const VocSet& all, const fs::path& folder, Search& search) {
  const fs::path annotations = all.files.front().parent_path();
  for (const fs::path& place : existing(folder, kLists)) {
    std::vector<VocSet> sets;
    for (const fs::path& list : files_in(place, ".txt")) {
      const Split split = split_of_list(list);
      if (split == Split::none) continue;
      VocSet set{split, {}, all.pictures};
      std::set<fs::path> once;
      for (const std::string& line : lines_of(list)) {
        if (line.empty()) continue;
        fs::path file = listed_file(line, annotations, fmt::format("'{}'", list.string()), search);
        if (once.insert(file).second) {
          set.files.push_back(std::move(file));
        } else {
          search.complaints.add("lines of lists say the same twice and count once",
                                fmt::format("{}: {}", list.string(), shown(line)));
        }
      }
      sets.push_back(std::move(set));
    }
    const auto has = [&](Split split) {
      return std::any_of(sets.begin(), sets.end(),
                         [&](const VocSet& set) { return set.split == split; });
    };
    if (has(Split::train)) {
      std::erase_if(sets, [](const VocSet& set) { return set.split == Split::trainval; });
    } else if (has(Split::trainval) && has(Split::validation)) {
      std::set<fs::path> held;
      for (const VocSet& set : sets) {
        if (set.split == Split::validation) held.insert(set.files.begin(), set.files.end());
      }
      for (VocSet& set : sets) {
        if (set.split != Split::trainval) continue;
        std::erase_if(set.files, [&](const fs::path& file) { return held.contains(file); });
        set.split = Split::train;
      }
    }
    if (!sets.empty()) return sets;
  }
  return {all};
}

std::vector<VocSet> own(const fs::path& folder, Search& search) {
  const std::optional<VocSet> all = place_in(folder, kOwnAnnotations);
  return all ? by_lists(*all, folder, search) : std::vector<VocSet>();
}

std::vector<VocSet> beside(const fs::path& folder, Search& search) {
  const std::optional<VocSet> all = place_in(folder, kAnnotations);
  return all ? by_lists(*all, folder, search) : std::vector<VocSet>();
}

std::vector<VocSet> years(const fs::path& folder, Search& search) {
  std::vector<VocSet> sets;
  for (const fs::path& devkit : existing(folder, kDevkits)) {
    for (const fs::path& year : folders_in(devkit)) {
      if (!year.filename().string().starts_with("VOC")) continue;
      for (VocSet& set : own(year, search)) sets.push_back(std::move(set));
    }
    if (!sets.empty()) break;
  }
  return sets;
}

std::vector<VocSet> split_folders(const fs::path& folder, Search&) {
  std::vector<VocSet> sets;
  for (const char* parent : {".", "annotations", "images"}) {
    for (const fs::path& inside : folders_in(child_of(folder, parent))) {
      const Split split = split_in(inside.filename().string());
      // What has lists of its own is a whole data set that is called so.
      if (split == Split::none || is_folder(child_of(inside, "ImageSets"))) continue;
      Paths pictures;
      for (const char* where : kPictures) {
        const fs::path place = child_of(folder, where);
        const fs::path same = place.empty() ? place : child_of(place, inside.filename());
        if (is_folder(same)) pictures.push_back(same);
        if (is_folder(place)) pictures.push_back(place);
      }
      if (std::optional<VocSet> set = place_in(inside, kAnnotations, pictures)) {
        set->split = split;
        sets.push_back(std::move(*set));
      }
    }
    if (!sets.empty()) break;
  }
  return sets;
}

struct ListLayout {
  const char* name;
  bool own;
  std::vector<VocSet> (*sets)(const fs::path& folder, Search& search);  // none: not this one
};
constexpr ListLayout kVocLayouts[] = {
    {"Pascal VOC, Annotations and JPEGImages or images", true, own},
    {"Pascal VOC, a folder per year", true, years},
    {"Pascal VOC's XML, a folder per split", false, split_folders},
    {"Pascal VOC's XML beside the pictures", false, beside},
};

}  // namespace

std::optional<VocLayout> voc_layout_of(const fs::path& folder, bool own, NamedFiles& files,
                                       Complaints& complaints) {
  Search search{files, complaints};
  for (const ListLayout& layout : kVocLayouts) {
    if (layout.own != own) continue;
    std::vector<VocSet> sets = layout.sets(folder, search);
    if (!sets.empty()) return VocLayout{layout.name, std::move(sets)};
  }
  return std::nullopt;
}

}  // namespace tapescope::detection
