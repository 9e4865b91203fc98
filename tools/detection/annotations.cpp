#include "tools/detection/annotations.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <set>

#include "engine/error.h"
#include "engine/hash.h"
#include "tools/data/image_folder.h"
#include "tools/data/splits.h"
#include "tools/detection/annotation_formats.h"
#include "tools/detection/annotation_splits.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

// In the order in which a place is asked. YOLO's numbers mean nothing without names, and every
// annotation tool writes classes.txt beside labels/, or beside a .json of some program's notes:
// what names classes for YOLO's numbers is for nothing else.
constexpr std::optional<RawData> (*kReaders[])(const Place&, NamedFiles&, Look) = {
    read_voc, read_yolo, read_coco, read_xml, read_labels};

std::optional<RawData> read(const fs::path& place, NamedFiles& files, Look look) {
  for (const auto reader : kReaders) {
    std::optional<RawData> data = reader(place, files, look);
    if (data) return data;
  }
  return std::nullopt;
}

// Folders a little deeper that would have been read, for people who named the one above.
std::vector<std::string> nearly_seen(const fs::path& place) {
  constexpr std::size_t kMost = 3, kLooks = 200;
  std::vector<std::string> found;
  std::vector<fs::path> next = folders_in(place);
  for (std::size_t i = 0; i < next.size() && i < kLooks && found.size() < kMost; ++i) {
    try {
      NamedFiles files(next[i], false);
      if (const std::optional<RawData> data = read(next[i], files, {.only = true})) {
        found.push_back(fmt::format("'{}' ({})", next[i].string(), data->layout));
        continue;
      }
      if (next[i].parent_path() != place) continue;
      for (const fs::path& inside : folders_in(next[i])) next.push_back(inside);
    } catch (const Error&) {  // what cannot be looked at is not what was meant
    }
  }
  return found;
}

std::vector<std::string> classes_of(RawData& raw) {
  if (!raw.classes.empty()) return raw.classes;
  std::set<std::string> found;
  for (const auto* part : {&raw.train, &raw.validation, &raw.test}) {
    for (const RawImage& image : *part) {
      for (const RawObject& object : image.objects) found.insert(object.name);
    }
  }
  return {found.begin(), found.end()};
}

// One picture in ten, drawn by its name alone, so that others' arrival moves none; at least one.
void set_validation_aside(RawData& raw) {
  if (!raw.trainval || !raw.validation.empty() || raw.train.size() < 2) return;
  const auto drawn = [](const RawImage& image) {
    return mix(stable_hash(fs::path(image.path).filename().string()));
  };
  std::uint64_t least = drawn(raw.train[0]);
  std::size_t tenth = 0;
  for (const RawImage& image : raw.train) {
    least = std::min(least, drawn(image));
    tenth += drawn(image) % 10 == 0 ? 1 : 0;
  }
  const bool some = tenth > 0 && tenth < raw.train.size();
  std::vector<RawImage> rest;
  for (RawImage& image : raw.train) {
    const bool held = some ? drawn(image) % 10 == 0 : drawn(image) == least;
    (held ? raw.validation : rest).push_back(std::move(image));
  }
  raw.train = std::move(rest);
  raw.notices.push_back(
      fmt::format("trainval names no validation pictures: {} of its {} were set aside as such",
                  raw.validation.size(), raw.validation.size() + raw.train.size()));
}

// Reads every picture, or its head: what it is known by is filled in. What cannot be read is marked
// under BadImage::skip, and the first of it thrown under BadImage::fail.
void look_into(std::vector<RawImage>& images, const std::string& root, bool heads,
               const DetectionDataOptions& options, OddPictures& odd) {
  std::vector<ImageFile> files;
  std::vector<RawImage*> of;
  for (RawImage& image : images) {
    if (!image.bad.empty()) continue;
    files.push_back({image.path});
    of.push_back(&image);
  }
  if (heads) {
    look_at_heads(files, root, options.division->record.get(), odd);
  } else {
    for (const BadFile& bad : check_files(files, options.on_bad_image, odd)) {
      of[bad.index]->bad = bad.what;
    }
  }
  for (std::size_t i = 0; i < of.size(); ++i) of[i]->content = files[i].content;
}

// As by_heads of splits.h has it; options.division's own on_bad_image is not asked.
bool by_heads(RawData& raw, const DetectionDataOptions& options) {
  if (!options.division) return false;
  DataOptions division = *options.division;
  division.on_bad_image = options.on_bad_image;
  const auto measured = [&] {
    FileSizes all;
    for (const auto* images : {&raw.train, &raw.validation, &raw.test}) {
      for (const RawImage& image : *images) {
        std::error_code error;
        const std::uintmax_t size = fs::file_size(image.path, error);
        all.bytes += error ? 0 : size;
        ++all.files;
      }
    }
    return all;
  };
  return by_heads(division, measured, raw.notices);
}

// One file in two annotations would be taught as background what the other calls an object.
void expect_once(const std::vector<RawImage>& images, RawData& raw) {
  std::map<std::string, const RawImage*> by_path;
  for (const RawImage& image : images) {
    if (image.path.empty()) continue;
    const auto [other, is_new] = by_path.emplace(fs::path(image.path).lexically_normal(), &image);
    if (is_new) continue;
    if (raw.kind == "yolo") {
      raw.complaints.add("pictures are listed more than once and are seen as often", image.path);
      continue;
    }
    throw usage_error(
        "the picture '{}' is annotated twice, in '{}'{} and in '{}'{}; keep one of "
        "them",
        image.path, other->second->annotation,
        image.id.empty() ? "" : " as image " + other->second->id, image.annotation,
        image.id.empty() ? "" : " as image " + image.id);
  }
}

void compare_splits(RawData& raw) {
  std::set<std::string> trained;
  for (const RawImage& image : raw.train) {
    if (image.bad.empty()) trained.insert(image.path);
  }
  for (const auto& [images, name] :
       {std::pair(&raw.validation, "validation"), std::pair(&raw.test, "test")}) {
    for (const RawImage& image : *images) {
      if (!trained.contains(image.path)) continue;
      raw.complaints.add(fmt::format("pictures of train are in {} too, whose figures say nothing "
                                     "about new pictures",
                                     name),
                         image.path);
    }
  }
}

RawData read_or_refuse(const fs::path& place, NamedFiles& files, Exif exif) {
  std::optional<RawData> found = read(place, files, {.exif = exif});
  if (!found) {
    const std::vector<std::string> deeper = nearly_seen(place);
    throw usage_error(
        "'{}' holds no annotated pictures: neither Annotations/*.xml (Pascal VOC) nor *.json "
        "(COCO) nor data.yaml or classes.txt with labels/*.txt (YOLO){}",
        place.string(),
        deeper.empty()
            ? ""
            : fmt::format("; in it there is {}: name that folder", fmt::join(deeper, " and ")));
  }
  return std::move(*found);
}

// Fills in the summary; a usage error where there is nothing to learn.
void summarise(const fs::path& place, const RawData& raw, DetectionData& data) {
  std::size_t objects = 0, regions = 0;
  std::set<std::string_view> counted;  // what two splits have is not there twice
  for (const auto* images : {&data.train, &data.validation, &data.test}) {
    for (const AnnotatedImage& image : *images) {
      if (!counted.insert(image.path).second) continue;
      for (const Object& o : image.objects) ++(o.crowd ? regions : objects);
    }
  }
  data.summary = fmt::format(
      "'{}' is {}: {} training, {} validation and {} test pictures, {} boxes{}, {} classes",
      place.string(), raw.layout, data.train.size(), data.validation.size(), data.test.size(),
      objects, regions > 0 ? fmt::format(" and {} regions of crowds", regions) : "",
      data.classes.size());
  if (objects == 0) {
    throw usage_error("'{}' has {} pictures but not one object to learn{}{}{}", place.string(),
                      data.train.size() + data.validation.size() + data.test.size(), raw.hint,
                      data.notices.empty() ? "" : "; ", fmt::join(data.notices, "; "));
  }
}

}  // namespace

DetectionData open_detection_data(const fs::path& place, const DetectionDataOptions& options) {
  if (!is_folder(place) &&
      !(is_file(place) && (has_ending(place, ".yaml") || has_ending(place, ".yml")))) {
    throw usage_error("--data '{}' is neither a folder nor a .yaml file{}", shown(place.string()),
                      is_file(place) ? "; name the folder that it lies in" : "");
  }
  if (options.division) check_options(*options.division);
  const fs::path folder = is_folder(place) ? place : place.parent_path();
  NamedFiles files(folder, options.allow_outside);
  RawData raw = read_or_refuse(place, files, options.exif);
  DetectionData data;
  data.kind = raw.kind;
  data.classes = options.classes.empty() ? classes_of(raw) : options.classes;
  if (!options.division) set_validation_aside(raw);
  const bool heads = by_heads(raw, options);
  OddPictures odd(options.exif);  // turned ones are counted with their annotations
  const std::pair<std::vector<RawImage>*, std::vector<AnnotatedImage>*> parts[] = {
      {&raw.train, &data.train}, {&raw.validation, &data.validation}, {&raw.test, &data.test}};
  std::set<std::string> told;  // pictures of an earlier part: val may list what train does
  for (const auto& [images, checked_images] : parts) {
    expect_once(*images, raw);
    const std::set<std::string> before = told;
    Complaints again;
    for (RawImage& image : *images) {
      const bool is_new = !before.contains(image.path);
      measure(image, options.exif, is_new ? raw.complaints : again);
      told.insert(image.path);
      files.use(image.path);
    }
    for (const RawImage& image : *images) {
      if (image.bad.empty() || options.on_bad_image == BadImage::skip) continue;
      throw Error(Blame::usage, image.bad);
    }
    if (options.division || options.on_bad_image == BadImage::skip) {
      look_into(*images, folder.string(), heads, options, odd);
    }
    for (const RawImage& image : *images) {
      if (!image.bad.empty()) data.bad_images.push_back(image.bad);
    }
    *checked_images = checked(*images, data.classes, before, raw.complaints);
  }
  if (!options.division) compare_splits(raw);
  if (!raw.category_ids.empty()) {
    for (const std::string& name : data.classes)
      data.category_ids.push_back(raw.category_ids[name]);
  }
  data.notices = raw.complaints.sentences();
  data.notices.insert(data.notices.begin(), raw.notices.begin(), raw.notices.end());
  if (odd.dark().count() > 0) data.notices.push_back(odd.dark().sentence());
  if (options.division) {
    data.record.heads = heads;
    divide(data, folder.string(), *options.division);
  }
  if (files.links() > 0) {
    data.notices.push_back(fmt::format("{} pictures are links to files elsewhere (the first: {})",
                                       files.links(), shown(files.first_link())));
  }
  summarise(place, raw, data);
  return data;
}

const std::vector<AnnotatedImage>& split_of(const DetectionData& data, const std::string& folder,
                                            const std::string& split) {
  if (split != "train" && split != "validation" && split != "test") {
    throw usage_error("there is no split '{}'; known are train, validation and test", split);
  }
  const std::vector<AnnotatedImage>& images = split == "train"  ? data.train
                                              : split == "test" ? data.test
                                                                : data.validation;
  if (images.empty()) {
    throw usage_error("'{}' has no {} images; choose another --split", folder, split);
  }
  return images;
}

void say(const DetectionData& data) {
  fmt::print(stderr, "{}\n", printable(data.summary));
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", printable(notice));
  for (const std::string& bad : data.bad_images) {
    fmt::print(stderr, "left out: {}\n", printable(bad));
  }
  if (!data.bad_images.empty()) {
    fmt::print(stderr, "{} pictures cannot be read and were left out with their boxes\n",
               data.bad_images.size());
  }
}

}  // namespace tapescope::detection
