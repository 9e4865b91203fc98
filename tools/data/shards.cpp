#include "tools/data/shards.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "engine/error.h"
#include "engine/remedy.h"
#include "engine/thread_pool.h"
#include "tools/data/picture_set.h"
#include "tools/data/unpacked.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"
#include "tools/files/user_cache.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

using Tars = std::vector<fs::path>;

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

Tars tars_in(const fs::path& folder) {
  Tars found = entries_of(folder);
  std::erase_if(found,
                [](const fs::path& entry) { return !is_shard_name(entry) || is_folder(entry); });
  return found;
}

// What class folders would be: folders that hold pictures or folders.
bool holds_pictures(const fs::path& folder) {
  for (const fs::directory_entry& entry : listing_of(folder)) {
    std::error_code error;
    if (entry.is_directory(error) || has_image_extension(entry.path())) return true;
  }
  return false;
}

// "train-000.tar" and "val-000.tar" in one folder; all in train where no name tells a split.
void add_by_name(ShardSet& set, const Tars& tars) {
  std::map<Part, Tars> parts;
  for (const fs::path& tar : tars) {
    const std::string name = tar.filename().string();
    parts[split_name(name.substr(0, name.find('.'))).part].push_back(tar);
  }
  if (parts.contains(Part::unused)) {
    if (parts.size() > 1) {
      throw usage_error(
          "{}: '{}' tells a split by its name, and '{}' tells none; put the shards of each split "
          "in a folder: train, val, test",
          printable(set.root.string()),
          printable(std::prev(parts.end(), 2)->second[0].filename().string()),
          printable(parts[Part::unused][0].filename().string()));
    }
    set.parts.emplace_back(Part::train, std::move(parts[Part::unused]));
    return;
  }
  for (auto& [part, its] : parts) set.parts.emplace_back(part, std::move(its));
}

// "a-{08..11}.tar" is a-08.tar to a-11.tar; several ranges vary like digits, the last one fastest.
std::vector<std::string> expanded(const std::string& pattern) {
  const std::size_t open = pattern.find('{');
  const std::size_t close = pattern.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return {pattern};
  const std::string_view range = std::string_view(pattern).substr(open + 1, close - open - 1);
  const std::size_t dots = range.find("..");
  const auto number = [&](std::string_view digits) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size() ? value : -1;
  };
  const std::string_view first = range.substr(0, dots);
  const std::int64_t from = number(first);
  const std::int64_t to = dots == std::string_view::npos ? -1 : number(range.substr(dots + 2));
  constexpr std::int64_t kMostShards = 1'000'000;
  if (from < 0 || to < from || to - from >= kMostShards) {
    throw usage_error("'{}' is no pattern of shards; one is shards/train-{{000000..000012}}.tar",
                      printable(pattern));
  }
  std::vector<std::string> all;
  const std::vector<std::string> rest = expanded(pattern.substr(close + 1));
  for (std::int64_t i = from; i <= to; ++i) {
    for (const std::string& end : rest) {
      all.push_back(pattern.substr(0, open) + fmt::format("{:0{}}", i, first.size()) + end);
    }
  }
  return all;
}

// ---- indices, which are kept in the user's cache

void pack(const ShardIndex& index, Packer& to) {
  index.stamp.pack(to);
  to.text(index.broken);
  to.number(index.passed_over);
  to.text(index.passed_over_example);
  to.number(static_cast<std::int64_t>(index.samples.size()));
  for (const ShardSample& sample : index.samples) {
    to.text(sample.name);
    to.number(sample.offset);
    to.number(sample.bytes);
    to.text(sample.label);
    to.text(sample.flaw);
  }
}

ShardIndex unpacked_index(Unpacker& from) {
  ShardIndex index;
  index.stamp = FileStamp::unpack(from);
  index.broken = from.text();
  index.passed_over = from.number();
  index.passed_over_example = from.text();
  index.samples.resize(from.count(40));
  for (ShardSample& sample : index.samples) {
    sample.name = from.text();
    sample.offset = from.number();
    sample.bytes = from.number();
    sample.label = from.text();
    sample.flaw = from.text();
  }
  return index;
}

constexpr const char* kShardsKind = "shards";

std::map<std::string, ShardIndex> known_indices(const std::string& root) {
  const std::string bytes = cached(kShardsKind, root).value_or("");
  Unpacker from(bytes);
  std::map<std::string, ShardIndex> known;
  for (std::size_t left = from.count(64); left > 0 && from.ok(); --left) {
    std::string name(from.text());
    known.emplace(std::move(name), unpacked_index(from));
  }
  if (!from.at_end()) known.clear();
  return known;
}

// By tar file, each read where it is not as the user's cache knows it. `plain`: where it is read.
std::vector<ShardIndex> indices_of(const fs::path& root, const Tars& tars, Tars& plain,
                                   std::int64_t keep_from) {
  std::error_code error;
  const std::string key = fs::canonical(root, error).string();
  std::map<std::string, ShardIndex> known = known_indices(key);
  const std::int64_t clock = clock_now();
  const auto name = [&](std::size_t i) { return name_beneath(tars[i].string(), root.string()); };
  std::vector<ShardIndex> indices(tars.size());
  plain.resize(tars.size());
  std::vector<char> fresh(tars.size(), 0);
  parallel_for(static_cast<std::int64_t>(tars.size()), [&](std::int64_t chunk) {
    const auto i = static_cast<std::size_t>(chunk);
    const auto found = known.find(name(i));
    plain[i] = tars[i];
    try {
      plain[i] = plain_tar(tars[i]);
    } catch (const Error& damaged) {
      if (damaged.blame() != Blame::usage) throw;
      const std::string_view what = damaged.what();
      indices[i].broken = what.substr(what.find(": ") + 2);
      return;
    }
    if (found != known.end() && found->second.stamp == stamp_of(plain[i])) {
      indices[i] = std::move(found->second);
      found->second.stamp = {};
    } else {
      indices[i] = index_of(plain[i]);
      fresh[i] = 1;
    }
  });
  Packer kept;
  std::int64_t samples = 0, count = 0;
  for (std::size_t i = 0; i < tars.size(); ++i) {
    samples += static_cast<std::int64_t>(indices[i].samples.size());
    if (!indices[i].stamp.settled(clock)) continue;
    ++count;
    kept.text(name(i));
    pack(indices[i], kept);
  }
  // Others of the folder, as a pattern leaves them out.
  for (const auto& [other, index] : known) {
    if (index.stamp.bytes < 0 || stamp_of(root / other) != index.stamp) continue;  // or compressed
    ++count;
    kept.text(other);
    pack(index, kept);
  }
  const bool changed = std::find(fresh.begin(), fresh.end(), 1) != fresh.end();
  if (changed && samples >= keep_from && !error) {
    Packer head;
    head.number(count);
    keep_cached(kShardsKind, key, head.bytes() + kept.bytes());
  }
  return indices;
}

// ---- classes

// The number that a label is, or -1.
std::int64_t number_of(const std::string& label) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(label.data(), label.data() + label.size(), value);
  return error == std::errc() && end == label.data() + label.size() && value >= 0 ? value : -1;
}

struct NamesFile {
  fs::path path;  // empty: there is none
  std::vector<std::string> names;
};

NamesFile names_beside(const fs::path& root) {
  for (const char* name : {"classnames.txt", "classes.txt"}) {
    if (!is_file(root / name)) continue;
    NamesFile file{root / name, {}};
    std::set<std::string> seen;
    for (const std::string& line : lines_of(file.path)) {
      file.names.push_back(printable(line));
      if (line.empty() || !seen.insert(file.names.back()).second) {
        throw usage_error(
            "{}: line {} {}; a line is a class's name, each once", printable(file.path.string()),
            file.names.size(),
            line.empty() ? "is empty" : fmt::format("names '{}' again", file.names.back()));
      }
    }
    return file;
  }
  return {};
}

// The class that a label means; empty, and `flaw` says why, where it means none.
std::string class_of(const std::string& label, const NamesFile& file,
                     const std::set<std::string>& names, std::string& flaw) {
  const std::int64_t number = number_of(label);
  if (file.path.empty()) return number < 0 ? label : std::to_string(number);
  if (number >= 0 && number < std::ssize(file.names)) {
    return file.names[static_cast<std::size_t>(number)];
  }
  if (number < 0 && names.contains(label)) return label;
  flaw = number < 0 ? fmt::format("is of the class '{}', which {} does not name", label,
                                  file.path.filename().string())
                    : fmt::format("is of class number {}, and {} names {}, 0 to {}", number,
                                  file.path.filename().string(), file.names.size(),
                                  std::ssize(file.names) - 1);
  return "";
}

std::vector<std::string> sorted_classes(std::vector<std::string> classes) {
  const bool numbers = std::all_of(classes.begin(), classes.end(),
                                   [](const std::string& name) { return number_of(name) >= 0; });
  std::sort(classes.begin(), classes.end(), [&](const std::string& a, const std::string& b) {
    return numbers ? number_of(a) < number_of(b) : a < b;
  });
  return classes;
}

// ---- one split

struct OpenedPart {
  std::vector<ImageFile> files;
  std::vector<std::string> classes;  // by file
  std::vector<std::string> flaws;
  std::int64_t passed_over = 0;
  std::string passed_over_example;
};

OpenedPart opened(const Tars& tars, std::span<const fs::path> plain, std::span<ShardIndex> indices,
                  const NamesFile& file) {
  const std::set<std::string> names(file.names.begin(), file.names.end());
  OpenedPart part;
  for (std::size_t t = 0; t < tars.size(); ++t) {
    const std::string tar = tars[t].string();
    // Of the file that people see.
    const std::int64_t time = plain[t] == tars[t] ? indices[t].stamp.time : stamp_of(tars[t]).time;
    const auto unpacked =
        plain[t] == tars[t] ? nullptr : std::make_shared<const std::string>(plain[t].string());
    if (!indices[t].broken.empty()) {
      part.flaws.push_back(fmt::format("{}: {}", tar, indices[t].broken));
    }
    for (ShardSample& sample : indices[t].samples) {
      std::string path = tar + "/" + sample.name;
      std::string name =
          sample.flaw.empty() ? class_of(sample.label, file, names, sample.flaw) : "";
      if (!sample.flaw.empty()) {
        part.flaws.push_back(fmt::format("{}: {}", path, sample.flaw));
        continue;
      }
      ImageFile& picture = part.files.emplace_back();
      picture.path = std::move(path);
      picture.stamp = indices[t].stamp;
      picture.shard = tar.size();
      picture.offset = sample.offset;
      picture.length = sample.bytes;
      picture.plain = unpacked;
      picture.content.time = time;
      part.classes.push_back(std::move(name));
    }
    if (part.passed_over == 0 && indices[t].passed_over > 0) {
      part.passed_over_example = tar + "/" + indices[t].passed_over_example;
    }
    part.passed_over += indices[t].passed_over;
    indices[t] = {};
  }
  return part;
}

void tell(const OpenedPart& part, const std::string& name, const DataOptions& options,
          DataSplits& splits) {
  if (part.passed_over > 0) {
    splits.notices.push_back(
        fmt::format("{}: {} members of no sample are passed over, the first: {}", name,
                    part.passed_over, part.passed_over_example));
  }
  if (part.flaws.empty()) return;
  if (options.on_bad_image == BadImage::fail) {
    const std::string how_many =
        part.flaws.size() == 1
            ? ""
            : fmt::format("; {} samples or shards have flaws", part.flaws.size());
    throw ErrorWithRemedy(Remedy::leave_out,
                          usage_error("{}{}", printable(part.flaws[0]), how_many));
  }
  splits.bad_images.insert(splits.bad_images.end(), part.flaws.begin(), part.flaws.end());
  splits.notices.push_back(
      fmt::format("{}: {} sample{} or shards have flaws and are left out, the first: {}", name,
                  part.flaws.size(), plural(std::ssize(part.flaws)), part.flaws[0]));
}

// splits.classes, where no split before decided them.
void decide_classes(const OpenedPart& part, const std::string& name, const NamesFile& file,
                    const DataOptions& options, DataSplits& splits) {
  if (!splits.classes.empty()) return;
  if (!options.classes.empty()) {
    splits.classes = options.classes;
  } else if (!file.path.empty()) {
    splits.classes = file.names;
  } else {
    const std::set<std::string> found(part.classes.begin(), part.classes.end());
    splits.classes = sorted_classes({found.begin(), found.end()});
  }
  if (splits.classes.size() >= 2) return;
  if (part.files.empty()) {
    throw usage_error(
        "{}: holds no sample of a picture with a label (key.jpg and key.cls or key.json); of a "
        "folder of class folders `tapescope shard` makes such shards",
        name);
  }
  throw usage_error("{}: holds one class only ({}); a classifier needs at least two", name,
                    splits.classes[0]);
}

void set_labels(OpenedPart& part, const std::string& name, const NamesFile& file,
                const DataOptions& options, const DataSplits& splits) {
  std::map<std::string_view, std::int64_t> labels;
  for (std::size_t c = 0; c < splits.classes.size(); ++c) {
    labels[splits.classes[c]] = static_cast<std::int64_t>(c);
  }
  for (std::size_t i = 0; i < part.files.size(); ++i) {
    const auto found = labels.find(part.classes[i]);
    if (found == labels.end()) {
      const bool number = file.path.empty() && number_of(part.classes[i]) >= 0;
      throw usage_error(
          "{}: {} is of class {}, which is not among the classes {} ({}){}{}", name,
          printable(part.files[i].path), part.classes[i],
          options.classes.empty() ? "of train" : "of the model", listed(splits.classes),
          number ? "; if numbers stand for names, put classnames.txt beside the shards, a line a "
                   "class"
                 : "; leave such samples out",
          options.classes.empty() ? "" : options.class_remedy);
    }
    part.files[i].label = found->second;
  }
}

}  // namespace

fs::path root_of(const fs::path& data) {
  return is_shard_name(data) && !is_folder(data) ? folder_of(data) : data;
}

std::string file_of(const std::string& name) {
  for (std::size_t slash = name.find('/'); slash != std::string::npos;
       slash = name.find('/', slash + 1)) {
    std::string file = name.substr(0, slash);
    if (is_shard_name(file)) return file;
  }
  return name;
}

std::optional<ShardSet> find_shards(const fs::path& path) {
  ShardSet set;
  if (is_shard_name(path) && !is_folder(path)) {
    const bool pattern = !is_file(path) && path.string().find('{') != std::string::npos;
    set.root = folder_of(path);
    Tars tars;
    for (const std::string& name :
         pattern ? expanded(path.string()) : std::vector<std::string>{path.string()}) {
      if (!is_file(name)) {
        throw usage_error("{}: no such file; check the {} given as --data", printable(name),
                          pattern ? "pattern" : "path");
      }
      tars.emplace_back(name);
    }
    add_by_name(set, tars);
    return set;
  }
  if (!is_folder(path)) return {};
  set.root = path;
  std::map<Part, Tars> parts;
  for (const fs::directory_entry& entry : listing_of(path)) {
    if (!is_folder(entry)) continue;
    if (holds_pictures(entry.path())) return {};
    const Part part = split_name(entry.path().filename().string()).part;
    if (part == Part::unused || parts.contains(part)) continue;
    if (Tars tars = tars_in(entry.path()); !tars.empty()) parts[part] = std::move(tars);
  }
  for (auto& [part, tars] : parts) set.parts.emplace_back(part, std::move(tars));
  if (!set.parts.empty()) return set;
  const Tars tars = tars_in(path);
  if (tars.empty()) return {};
  add_by_name(set, tars);
  return set;
}

void open_shards(const ShardSet& shards, const DataOptions& options, DataSplits& splits) {
  splits.kind = "shards";
  splits.channels = options.channels == 0 ? 3 : options.channels;
  splits.path = shards.root.string();
  const NamesFile file = names_beside(shards.root);
  Tars tars, plain;
  for (const auto& [part, its] : shards.parts) tars.insert(tars.end(), its.begin(), its.end());
  std::vector<ShardIndex> indices = indices_of(shards.root, tars, plain, options.keep_from);
  PictureSet pictures(options, splits);
  std::size_t next = 0;
  for (const auto& [part, its] : shards.parts) {
    const std::string name = folder_of(its[0]).string();
    OpenedPart opened_part = opened(its, std::span(plain).subspan(next, its.size()),
                                    std::span(indices).subspan(next, its.size()), file);
    next += its.size();
    tell(opened_part, name, options, splits);
    decide_classes(opened_part, name, file, options, splits);
    set_labels(opened_part, name, file, options, splits);
    pictures.add(part, name, std::move(opened_part.files), false);
  }
  pictures.finish();
}

}  // namespace tapescope
