#include "tools/tasks/multilabel/label_data.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "tools/data/image_folder.h"
#include "tools/data/shards.h"
#include "tools/data/splits.h"
#include "tools/detection/named_files.h"
#include "tools/files/folders.h"
#include "tools/files/split_name.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTable = "labels.csv";

struct LabelledFile {
  std::string path;
  std::set<std::string> labels;
  Part part = Part::train;
};

// Fields of a line of CSV (RFC 4180): in quotes a comma is none, and "" is a quote.
std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

std::set<std::string> labels_of(const std::string& field) {
  std::set<std::string> labels;
  for (std::size_t begin = 0; begin <= field.size();) {
    const std::size_t end = std::min(field.find(';', begin), field.size());
    const std::string label =
        printable(trimmed(std::string_view(field).substr(begin, end - begin)));
    if (!label.empty()) labels.insert(label);
    begin = end + 1;
  }
  return labels;
}

Part part_named(const std::string& name, Part otherwise, const std::string& where) {
  if (trimmed(name).empty()) return otherwise;
  switch (split_in(trimmed(name))) {
    case Split::train:
      return Part::train;
    case Split::validation:
      return Part::validation;
    case Split::test:
      return Part::test;
    default:
      throw usage_error("{}: '{}' is no split; it is train, validation or test", where,
                        printable(trimmed(name)));
  }
}

std::vector<LabelledFile> read_table(const fs::path& table, Part part,
                                     detection::NamedFiles& files) {
  std::vector<LabelledFile> found;
  int number = 0;
  for (const std::string& line : lines_of(table)) {
    ++number;
    const std::string where = fmt::format("{}, line {}", printable(table.string()), number);
    if (trimmed(line).empty()) continue;
    const std::vector<std::string> fields = fields_of(line);
    if (fields.size() < 2 || fields.size() > 3) {
      throw usage_error(
          "{}: {} fields; a line is file,label1;label2 and perhaps ,split (names with commas "
          "stand in quotes)",
          where, fields.size());
    }
    const std::string name(trimmed(fields[0]));
    if (number == 1 && !has_image_extension(name)) continue;  // a heading
    const fs::path path = files.find({table.parent_path()}, name, where);
    if (path.empty()) {
      throw usage_error("{}: there is no picture '{}'; names are seen from where the table lies",
                        where, printable(name));
    }
    found.push_back({path.string(), labels_of(fields[1]),
                     fields.size() == 3 ? part_named(fields[2], part, where) : part});
  }
  if (found.empty()) throw usage_error("{} names no pictures", printable(table.string()));
  return found;
}

std::vector<LabelledFile> read_tables(const fs::path& folder, detection::NamedFiles& files) {
  if (is_file(folder / kTable)) return read_table(folder / kTable, Part::train, files);
  std::vector<LabelledFile> all;
  for (const fs::path& inner : folders_in(folder)) {
    if (!is_file(inner / kTable)) continue;
    const std::string name = inner.filename().string();
    const auto more = read_table(inner / kTable, part_named(name, Part::train, name), files);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

// Class folders: a picture's labels are the folders that hold it.
std::vector<LabelledFile> read_folders(const fs::path& folder) {
  const FolderLayout layout = find_layout(folder);
  std::vector<LabelledFile> all;
  for (const auto& [place, part] : {std::pair(layout.flat() ? folder : layout.train, Part::train),
                                    {layout.validation, Part::validation},
                                    {layout.test, Part::test}}) {
    if (place.empty()) continue;
    const FolderScan scan = scan_classes(place);
    for (std::size_t c = 0; c < scan.classes.size(); ++c) {
      for (const std::string& file : scan.files[c]) all.push_back({file, {scan.classes[c]}, part});
    }
  }
  return all;
}

// The files of the pictures, which leave `files` where they cannot be read and may be left out.
std::vector<ImageFile> checked(std::vector<LabelledFile>& files, const DataOptions& options,
                               OddPictures& odd, PictureRoom& room,
                               std::vector<std::string>& bad_images) {
  std::vector<ImageFile> images;
  for (const LabelledFile& file : files) images.push_back({file.path});
  const std::vector<BadFile> bad = check_files(images, options.on_bad_image, odd, &room);
  for (auto it = bad.rbegin(); it != bad.rend(); ++it) {
    bad_images.insert(bad_images.begin(), it->what);
    files.erase(files.begin() + static_cast<std::ptrdiff_t>(it->index));
    images.erase(images.begin() + static_cast<std::ptrdiff_t>(it->index));
  }
  return images;
}

// Files of one content become one, with all their labels.
void unite(std::vector<LabelledFile>& files, std::vector<ImageFile>& images) {
  std::map<std::pair<std::uint64_t, Part>, std::size_t> seen;
  std::vector<LabelledFile> united;
  std::vector<ImageFile> kept;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto [it, fresh] = seen.try_emplace({images[i].content.hash, files[i].part}, kept.size());
    if (fresh) {
      united.push_back(std::move(files[i]));
      kept.push_back(std::move(images[i]));
    } else {
      united[it->second].labels.insert(files[i].labels.begin(), files[i].labels.end());
    }
  }
  files = std::move(united);
  images = std::move(kept);
}

std::int64_t position(const std::vector<std::string>& names, const std::string& name,
                      const fs::path& folder) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    throw usage_error("'{}' has the label '{}', which is none of the model's: {}",
                      printable(folder.string()), name, fmt::join(names, ", "));
  }
  return found - names.begin();
}

}  // namespace

bool has_label_table(const fs::path& folder) {
  if (!is_folder(folder)) return false;
  if (is_file(folder / kTable)) return true;
  const std::vector<fs::path> inner = folders_in(folder);
  return std::any_of(inner.begin(), inner.end(),
                     [](const fs::path& place) { return is_file(place / kTable); });
}

LabelledData open_labelled(const fs::path& folder, const DataOptions& options,
                           const std::vector<std::string>& labels, bool allow_outside) {
  check_options(options);
  if (find_shards(folder)) {
    throw usage_error(
        "'{}' holds shards, whose samples have one label each; several labels are read from a "
        "folder with labels.csv",
        printable(folder.string()));
  }
  const bool table = has_label_table(folder);
  detection::NamedFiles named(folder, allow_outside);
  std::vector<LabelledFile> files = table ? read_tables(folder, named) : read_folders(folder);
  OddPictures odd(options.exif);
  LabelledData data;
  const auto room = std::make_shared<PictureRoom>(options.cache_bytes);
  std::vector<ImageFile> images = checked(files, options, odd, *room, data.splits.bad_images);
  unite(files, images);
  data.labels = labels;
  if (labels.empty()) {
    std::set<std::string> found;
    for (const LabelledFile& file : files) found.insert(file.labels.begin(), file.labels.end());
    data.labels.assign(found.begin(), found.end());
  }
  if (data.labels.size() < 2) {
    throw usage_error("'{}' has {} labels; at least two are needed", printable(folder.string()),
                      data.labels.size());
  }
  // Each set of labels that occurs is a class of the splits.
  std::map<std::string, std::int64_t> classes;
  for (const LabelledFile& file : files) classes[fmt::format("{}", fmt::join(file.labels, ";"))];
  for (auto& [name, index] : classes) {
    index = static_cast<std::int64_t>(data.sets.size());
    data.splits.classes.push_back(name);
    std::vector<std::int64_t>& set = data.sets.emplace_back();
    for (const std::string& label : labels_of(name)) {
      set.push_back(position(data.labels, label, folder));
    }
  }
  std::map<Part, std::vector<ImageFile>> parts;
  for (std::size_t i = 0; i < files.size(); ++i) {
    images[i].label = classes.at(fmt::format("{}", fmt::join(files[i].labels, ";")));
    parts[files[i].part].push_back(std::move(images[i]));
  }
  DataSplits& splits = data.splits;
  splits.kind = "labels";
  splits.channels = options.channels == 0 ? 3 : options.channels;
  splits.path = folder.string();
  const auto dataset = [&](Part part) -> std::shared_ptr<const Dataset> {
    if (parts[part].empty()) return nullptr;
    return std::make_shared<ImageFiles>(std::move(parts[part]), splits.classes, splits.channels,
                                        room, options.exif, options.cache_decoded);
  };
  splits.train = dataset(Part::train);
  splits.validation = dataset(Part::validation);
  splits.test = dataset(Part::test);
  splits.notices = odd.sentences();
  divide(splits, options);
  return data;
}

LabelSource::LabelSource(std::shared_ptr<const Dataset> data, Pipeline pipeline,
                         std::vector<std::vector<std::int64_t>> sets, std::int64_t labels,
                         std::shared_ptr<PictureRoom> room)
    : data_(data),
      images_(std::move(data), std::move(pipeline), std::move(room)),
      sets_(std::move(sets)),
      labels_(labels) {}

std::vector<std::pair<std::string, Type>> LabelSource::types() const {
  auto types = images_.types();
  types[1] = {"labels", {DType::f32, {labels_}}};
  return types;
}

void LabelSource::load(std::int64_t index, const Pipeline::Key& key,
                       std::span<void* const> rows) const {
  std::int64_t set = 0;
  void* const inner[] = {rows[0], &set};
  images_.load(index, key, inner);
  auto* labels = static_cast<float*>(rows[1]);
  std::fill_n(labels, labels_, 0.0f);
  for (std::int64_t label : sets_[static_cast<std::size_t>(set)]) labels[label] = 1;
}

}  // namespace tapescope::tasks
