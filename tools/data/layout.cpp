#include "tools/data/layout.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

bool left_behind(const std::string& name) {
  static constexpr std::array<std::string_view, 8> kNames = {
      "__macosx", "thumbs.db",    "ehthumbs.db", "desktop.ini",
      "@eadir",   "$recycle.bin", "lost+found",  "__pycache__"};
  std::string lower = name;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name.starts_with(".") || std::find(kNames.begin(), kNames.end(), lower) != kNames.end();
}

bool is_folder(const fs::directory_entry& entry) {
  std::error_code error;
  return entry.is_directory(error);
}

std::string file_name(const fs::directory_entry& entry) { return entry.path().filename().string(); }

// Calls visit(entry) in no order until it returns false.
template <class Visit>
void each_entry(const fs::path& folder, Visit&& visit) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!left_behind(file_name(*it)) && !visit(*it)) return;
  }
  if (error) {
    throw usage_error("{}: the folder cannot be read ({}); check its permissions",
                      printable(folder.string()), error.message());
  }
}

// "TestSet_2" -> test, set, 2.
std::vector<std::string> words_of(const std::string& name) {
  std::vector<std::string> words;
  int last = 0;  // 1: lower case, 2: upper case, 3: digit
  for (char c : name) {
    const auto u = static_cast<unsigned char>(c);
    const int kind = std::islower(u) ? 1 : std::isupper(u) ? 2 : std::isdigit(u) ? 3 : 0;
    const bool starts = kind != last && !(last == 2 && kind == 1);
    if (kind != 0) {
      if (starts || words.empty()) words.emplace_back();
      words.back() += static_cast<char>(std::tolower(u));
    } else if (u >= 0x80) {
      return {name};  // no English
    }
    last = kind;
  }
  return words;
}

Part split_word(std::string word) {
  for (const std::string_view suffix : {"set", "data", "images"}) {
    if (word.size() > suffix.size() && word.ends_with(suffix)) {
      word.resize(word.size() - suffix.size());
      break;
    }
  }
  if (word == "train" || word == "training") return Part::train;
  if (word == "test" || word == "testing") return Part::test;
  if (word == "val" || word == "valid" || word == "validation" || word == "dev") {
    return Part::validation;
  }
  return Part::unused;
}

// Words that say nothing.
bool is_filler(const std::string& word) {
  static const std::set<std::string_view> words = {
      "set",  "sets", "data",  "dataset", "image",   "images",   "img",   "imgs",
      "pics", "pic",  "photo", "photos",  "picture", "pictures", "split", "folder"};
  return words.contains(word) || (word.find_first_not_of("0123456789") == std::string::npos);
}

struct Content {
  std::int64_t folders = 0, pictures = 0;
};
Content content_of(const fs::path& folder) {
  Content content;
  each_entry(folder, [&](const fs::directory_entry& entry) {
    const bool below = is_folder(entry);
    content.folders += below ? 1 : 0;
    content.pictures += !below && has_image_extension(entry.path()) ? 1 : 0;
    return true;
  });
  return content;
}

// train/train/<class>, as some archives unpack.
fs::path innermost(fs::path folder, Part part) {
  for (int depth = 0; depth < 8; ++depth) {
    const std::vector<fs::directory_entry> inside = listing_of(folder);
    if (inside.size() != 1 || !is_folder(inside[0])) break;
    if (split_name(file_name(inside[0])).part != part) break;
    folder = inside[0].path();
  }
  return folder;
}

struct Candidate {
  fs::path path;
  std::string name;
  SplitName says;
  Content content;
};

// train before Train before training before what has more words.
int preference(const Candidate& c) {
  const bool usual = c.name == "train" || c.name == "val" || c.name == "test";
  return usual ? 0 : c.name == "valid" ? 1 : c.says.plain ? 2 : c.says.rest.empty() ? 3 : 4;
}

// Of folders whose names hold more than the split's word: there must be a partner of another split
// named alike, and no second one of the same.
bool is_clear(const Candidate& c, const std::vector<Candidate>& all) {
  if (c.says.plain) return true;
  bool partner = false;
  for (const Candidate& other : all) {
    if (&other == &c) continue;
    if (other.says.part == c.says.part && other.says.rest == c.says.rest && !other.says.plain) {
      return false;
    }
    partner = partner || (other.says.part != c.says.part && other.says.rest == c.says.rest);
  }
  return partner;
}

std::string quoted_names(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < names.size() && i < 4; ++i) shown.push_back(printable(names[i]));
  return fmt::format("{}{}", fmt::join(shown, ", "), names.size() > 4 ? ", ..." : "");
}

// A folder without splits whose class folders hold folders only: what these look like.
void look_into_classes(const fs::path& root, const std::vector<fs::directory_entry>& folders,
                       std::vector<std::string>& notices) {
  std::vector<std::string> hollow;
  std::set<std::string> common;
  bool all_splits = true;
  for (const fs::directory_entry& folder : folders) {
    std::set<std::string> inside;
    bool pictures = false, splits = true;
    each_entry(folder.path(), [&](const fs::directory_entry& entry) {
      if (is_folder(entry)) {
        inside.insert(file_name(entry));
        splits = splits && split_name(file_name(entry)).plain;
      } else {
        pictures = has_image_extension(entry.path());
      }
      return !pictures;  // what it is is clear
    });
    if (inside.empty() || pictures) continue;
    all_splits = all_splits && splits;
    if (hollow.empty()) {
      common = inside;
    } else {
      std::erase_if(common, [&](const std::string& name) { return !inside.contains(name); });
    }
    hollow.push_back(file_name(folder));
  }
  if (hollow.empty()) return;
  const std::string same = quoted_names(std::vector<std::string>(common.begin(), common.end()));
  if (hollow.size() >= 2 && all_splits && !common.empty()) {
    throw usage_error(
        "{}: the class folders {} hold the splits ({}), which would be mixed; put the splits "
        "outside: {}/{}",
        root.string(), quoted_names(hollow), same, *common.begin(), printable(hollow[0]));
  }
  if (hollow.size() >= 2 && common.size() >= 2) {
    notices.push_back(fmt::format(
        "{}: {} hold no pictures of their own but the same folders ({}); they are taken for "
        "classes with all below them: if {} are the classes, put their pictures together",
        printable(root.string()), quoted_names(hollow), same, same));
  } else {
    notices.push_back(fmt::format(
        "{}: {} hold folders and no pictures of their own: all pictures below each are one class",
        printable(root.string()), quoted_names(hollow)));
  }
}

// A folder at or below `folder` that can be named as data, or an empty path.
fs::path find_data(const fs::path& folder, int depth) {
  std::vector<fs::path> inside;
  std::int64_t with_pictures = 0;
  for (const fs::directory_entry& entry : listing_of(folder)) {
    if (!is_folder(entry)) continue;
    const Part part = split_name(file_name(entry)).part;
    if (part == Part::test || part == Part::validation) continue;  // not to be trained on
    inside.push_back(entry.path());
    const Content content = content_of(entry.path());
    if (split_name(file_name(entry)).part == Part::train && content.folders > 0) return folder;
    with_pictures += content.pictures > 0 ? 1 : 0;
  }
  if (with_pictures >= 2) return folder;
  for (std::size_t i = 0; i < inside.size() && i < 16 && depth > 0; ++i) {
    fs::path found = find_data(inside[i], depth - 1);
    if (!found.empty()) return found;
  }
  return {};
}

}  // namespace

std::string name_of(Part part) {
  static constexpr std::array<const char*, 4> kNames = {"train", "validation", "test", "unused"};
  return kNames[static_cast<std::size_t>(part)];
}

std::vector<fs::directory_entry> listing_of(const fs::path& folder) {
  std::vector<fs::directory_entry> found;
  each_entry(folder, [&](const fs::directory_entry& entry) {
    found.push_back(entry);
    return true;
  });
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.path().native() < b.path().native(); });
  return found;
}

SplitName split_name(const std::string& folder_name) {
  const std::vector<std::string> words = words_of(folder_name);
  SplitName result;
  result.plain = words.size() == 1;
  for (const std::string& word : words) {
    if (const Part part = split_word(word); part != Part::unused) {
      if (result.part != Part::unused) return {};
      result.part = part;
    } else if (!is_filler(word)) {
      result.rest += (result.rest.empty() ? "" : " ") + word;
    }
  }
  if (result.part == Part::unused) return {};
  return result;
}

namespace {

// Those of the folders that are splits, the ones to be preferred first.
std::vector<Candidate> clear_splits(const std::vector<fs::directory_entry>& folders,
                                    const std::vector<Candidate>& all) {
  bool classes = false;  // a folder of pictures that is named after no split
  for (const fs::directory_entry& entry : folders) {
    if (all.empty() || classes) break;
    if (split_name(file_name(entry)).part != Part::unused) continue;
    const Content content = content_of(entry.path());
    classes = content.pictures > 0 && content.folders == 0;
  }
  // "train" among "bus" and "car" is a class when it holds pictures and no folders, as they do.
  std::vector<Candidate> splits;
  for (const Candidate& c : all) {
    if (is_clear(c, all) && (c.content.folders > 0 || !classes)) splits.push_back(c);
  }
  std::stable_sort(splits.begin(), splits.end(), [](const Candidate& a, const Candidate& b) {
    return preference(a) < preference(b);
  });
  return splits;
}

}  // namespace

FolderLayout find_layout(const fs::path& root) {
  FolderLayout layout;
  std::vector<fs::directory_entry> folders;
  std::vector<Candidate> all;
  for (const fs::directory_entry& entry : listing_of(root)) {
    if (!is_folder(entry)) continue;
    folders.push_back(entry);
    const SplitName says = split_name(file_name(entry));
    if (says.part == Part::unused) continue;
    all.push_back({entry.path(), file_name(entry), says, content_of(entry.path())});
  }
  const std::vector<Candidate> splits = clear_splits(folders, all);
  const auto any = [&](Part part) {
    return std::any_of(splits.begin(), splits.end(),
                       [&](const Candidate& c) { return c.says.part == part; });
  };
  const bool has_splits = any(Part::train) || any(Part::test) || folders.size() == 1;
  std::set<std::string> taken;
  for (const Candidate& c : splits) {
    if (!has_splits) break;
    fs::path& place = c.says.part == Part::train        ? layout.train
                      : c.says.part == Part::validation ? layout.validation
                                                        : layout.test;
    if (!place.empty()) continue;
    if (c.says.part != Part::train && c.content.folders == 0 && c.content.pictures > 0 &&
        any(Part::train)) {
      layout.notices.push_back(
          fmt::format("{}: holds {} pictures and no class folders: without labels they are ignored",
                      printable(c.path.string()), c.content.pictures));
    } else {
      place = innermost(c.path, c.says.part);
    }
    taken.insert(c.name);
  }
  if (layout.flat()) {
    look_into_classes(root, folders, layout.notices);
    return layout;
  }
  std::vector<std::string> others;
  for (const fs::directory_entry& entry : folders) {
    if (!taken.contains(file_name(entry))) others.push_back(file_name(entry));
  }
  if (!others.empty()) {
    layout.notices.push_back(fmt::format("{}: {} beside {} {} ignored", printable(root.string()),
                                         quoted_names(others), fmt::join(taken, " and "),
                                         others.size() == 1 ? "is" : "are"));
  }
  return layout;
}

std::string deeper_hint(const fs::path& root) {
  for (const fs::directory_entry& entry : listing_of(root)) {
    if (!is_folder(entry) || split_name(file_name(entry)).plain) continue;
    const fs::path found = find_data(entry.path(), 2);
    if (found.empty()) continue;
    for (const fs::directory_entry& inside : listing_of(found)) {
      if (!is_folder(inside)) continue;
      return fmt::format("; {} exists: name {}", printable(inside.path().string()),
                         printable(found.string()));
    }
  }
  return "";
}

}  // namespace tapescope
