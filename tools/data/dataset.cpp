#include "tools/data/dataset.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/philox.h"
#include "tools/data/idx.h"
#include "tools/data/picture_set.h"
#include "tools/data/recolour.h"
#include "tools/data/shards.h"
#include "tools/data/splits.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// Pictures of another number of channels than the base has, converted one by one.
class Recoloured : public Dataset {
 public:
  Recoloured(std::shared_ptr<const Dataset> base, int channels)
      : base_(std::move(base)), channels_(channels) {}
  std::int64_t size() const override { return base_->size(); }
  const std::vector<std::string>& classes() const override { return base_->classes(); }
  std::int64_t label(std::int64_t index) const override { return base_->label(index); }
  std::string name(std::int64_t index) const override { return base_->name(index); }
  int channels() const override { return channels_; }
  ImageSize image_size(std::int64_t index) const override { return base_->image_size(index); }
  PictureContent content(std::int64_t index) const override { return base_->content(index); }
  ImageView image(std::int64_t index) const override {
    auto to = std::make_shared<const Image>(recoloured(base_->image(index), channels_));
    ImageView view = view_of(*to);
    view.owner = std::move(to);
    return view;
  }

 private:
  std::shared_ptr<const Dataset> base_;
  int channels_;
};

// Where IDX files lie deeper in, as torchvision keeps them (MNIST/raw): which folder to name.
std::string deeper_idx(const fs::path& root) {
  for (const fs::directory_entry& entry : listing_of(root)) {
    for (const fs::path& place : {entry.path(), entry.path() / "raw"}) {
      if (!is_folder(place) || find_idx(place, "train", "images").empty()) continue;
      return fmt::format("; '{}' holds IDX files: name it", printable(place.string()));
    }
  }
  return "";
}

// ---- folders of pictures

// The class folders' pictures as splits.classes counts them, which the first split decides.
std::vector<ImageFile> labelled_files(FolderScan& scan, const fs::path& path,
                                      const DataOptions& options, DataSplits& splits) {
  const bool fixed = !options.classes.empty();
  if (scan.classes.empty()) {
    throw usage_error(
        "{}: holds no class folders{}; put the pictures of each class in a folder named after it",
        path.string(),
        scan.loose_images > 0 ? fmt::format(" ({} pictures lie in it directly)", scan.loose_images)
                              : "");
  }
  if (splits.classes.empty()) {
    splits.classes = fixed ? options.classes : scan.classes;
    if (splits.classes.size() < 2) {
      throw usage_error("{}: holds one class only ({}); a classifier needs at least two{}",
                        path.string(), splits.classes.front(),
                        deeper_idx(path) + deeper_hint(path));
    }
  }
  std::vector<ImageFile> files;
  for (std::size_t c = 0; c < scan.classes.size(); ++c) {
    const auto found = std::find(splits.classes.begin(), splits.classes.end(), scan.classes[c]);
    if (found == splits.classes.end()) {
      throw usage_error(
          "{}: the class folder {} is not among the classes {} ({}); rename or "
          "remove it{}",
          path.string(), scan.classes[c], fixed ? "of the model" : "of train",
          listed(splits.classes), fixed ? options.class_remedy : "");
    }
    const std::int64_t label = found - splits.classes.begin();
    for (std::string& file : scan.files[c]) files.push_back({std::move(file), label});
  }
  return files;
}

std::string last_name(const fs::path& path, const fs::path& root) {
  return printable(name_beneath(path.string(), root.string()));
}

void open_folder(const fs::path& path, const DataOptions& options, DataSplits& splits) {
  splits.kind = "folder";
  splits.channels = options.channels == 0 ? 3 : options.channels;
  const FolderLayout layout = find_layout(path);
  std::string seen;
  for (const auto& [folder, part] : {std::pair(&layout.train, Part::train),
                                     {&layout.validation, Part::validation},
                                     {&layout.test, Part::test}}) {
    if (folder->empty()) continue;
    const std::string name = last_name(*folder, path);
    const bool usual = name == name_of(part) || name == "val" || name == "valid";
    if (!usual) seen += fmt::format("{}{} is {}", seen.empty() ? "" : ", ", name, name_of(part));
  }
  if (!seen.empty()) splits.notices.push_back(printable(path.string()) + ": " + seen);
  PictureSet pictures(options, splits);
  bool first = true;  // which says what the classes are, and must fill them all
  for (const auto& [place, part] : {std::pair(layout.flat() ? path : layout.train, Part::train),
                                    {layout.validation, Part::validation},
                                    {layout.test, Part::test}}) {
    if (place.empty()) continue;
    FolderScan scan = scan_classes(place, options.keep_from);
    for (std::string& sentence : scan.notices(place)) splits.notices.push_back(sentence);
    pictures.add(part, place.string(), labelled_files(scan, place, options, splits), first);
    first = false;
  }
  splits.notices.insert(splits.notices.end(), layout.notices.begin(), layout.notices.end());
  pictures.finish();
}

// ---- IDX

const std::vector<std::string>& fashion_classes() {
  static const std::vector<std::string> names = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                                 "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                                 "Bag",         "Ankle boot"};
  return names;
}

std::shared_ptr<IdxDataset> read_split(const fs::path& folder, const std::string& split,
                                       const std::vector<std::string>& classes) {
  const fs::path images = find_idx(folder, split, "images");
  const fs::path labels = find_idx(folder, split, "labels");
  if (images.empty() && labels.empty()) return nullptr;
  if (images.empty() || labels.empty()) {
    throw usage_error("{}: holds {}-{} but not {}-{}; both are needed", folder.string(), split,
                      images.empty() ? "labels" : "images", split,
                      images.empty() ? "images" : "labels");
  }
  return std::make_shared<IdxDataset>(images, labels, classes);
}

void open_idx(const fs::path& path, const DataOptions& options, DataSplits& splits) {
  splits.kind = "idx";
  const auto train = read_split(path, "train", options.classes);
  const auto test = read_split(path, "t10k", options.classes);
  if (options.classes.empty()) {
    const bool fashion = (train != nullptr && train->label_checksum() == 0x2ed6e46a) ||
                         (test != nullptr && test->label_checksum() == 0x242bc73f);
    std::vector<std::string> classes;
    if (fashion) {
      classes = fashion_classes();
      splits.notices.push_back("these are Fashion-MNIST's labels; its class names are used");
    } else {
      for (const auto& set : {train, test}) {
        if (set != nullptr && set->classes().size() > classes.size()) classes = set->classes();
      }
    }
    for (const auto& set : {train, test}) {
      if (set != nullptr) set->set_classes(classes);
    }
  }
  const auto& any = train != nullptr ? train : test;
  splits.classes = any->classes();
  if (splits.classes.size() < 2) {
    throw usage_error("{}: holds one class only; a classifier needs at least two", path.string());
  }
  if (train != nullptr && test != nullptr && train->channels() != test->channels()) {
    throw usage_error("{}: train has {} channels but t10k has {}; are they of the same set?",
                      path.string(), train->channels(), test->channels());
  }
  splits.channels = options.channels == 0 ? any->channels() : options.channels;
  const auto with_channels = [&](std::shared_ptr<const Dataset> set) {
    if (set == nullptr || set->channels() == splits.channels) return set;
    return std::shared_ptr<const Dataset>(
        std::make_shared<Recoloured>(std::move(set), splits.channels));
  };
  splits.train = with_channels(train);
  splits.test = with_channels(test);
}

void finish(DataSplits& splits, const DataOptions& options) {
  divide(splits, options);
  for (auto* sentences : {&splits.notices, &splits.bad_images}) {
    for (std::string& sentence : *sentences) sentence = printable(sentence);  // it names files
  }
}

}  // namespace

ImageSize Dataset::image_size(std::int64_t index) const {
  const ImageView view = image(index);
  return {view.height, view.width};
}

PictureContent Dataset::content(std::int64_t index) const {
  const ImageView view = image(index);
  const std::int64_t bytes = std::int64_t{view.height} * view.width * view.channels;
  // Pictures of the same bytes in another shape are other pictures.
  const auto shape = static_cast<std::int64_t>(
      mix(mix(static_cast<std::uint64_t>(view.height), static_cast<std::uint64_t>(view.width)),
          static_cast<std::uint64_t>(view.channels)));
  return {content_hash({view.pixels, static_cast<std::size_t>(bytes)}, shape), bytes, 0};
}

std::vector<std::int64_t> spread(std::int64_t size, std::int64_t limit) {
  if (limit <= 0 || limit >= size) limit = size;
  std::vector<std::int64_t> result;
  for (std::int64_t k = 0; k < limit; ++k) result.push_back(k * size / limit);
  return result;
}

StratifiedSplit stratified_split(const std::vector<std::int64_t>& labels, double fraction,
                                 std::uint64_t seed, const std::string& purpose) {
  std::vector<std::vector<std::int64_t>> by_class;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto label = static_cast<std::size_t>(labels[i]);
    if (label >= by_class.size()) by_class.resize(label + 1);
    by_class[label].push_back(static_cast<std::int64_t>(i));
  }
  StratifiedSplit split;
  for (std::size_t c = 0; c < by_class.size(); ++c) {
    std::vector<std::int64_t>& members = by_class[c];
    const auto count = static_cast<std::int64_t>(members.size());
    std::int64_t take = 0;
    if (count >= 2 && fraction > 0) {
      take = std::clamp<std::int64_t>(std::llround(fraction * static_cast<double>(count)), 1,
                                      count - 1);
    }
    PhiloxStream random(mix(mix(seed, stable_hash(purpose)), c));
    for (std::int64_t i = 0; i < take; ++i) {
      const auto j = i + random.below(static_cast<std::uint32_t>(count - i));
      std::swap(members[static_cast<std::size_t>(i)], members[static_cast<std::size_t>(j)]);
    }
    split.chosen.insert(split.chosen.end(), members.begin(), members.begin() + take);
    split.rest.insert(split.rest.end(), members.begin() + take, members.end());
  }
  std::sort(split.chosen.begin(), split.chosen.end());
  std::sort(split.rest.begin(), split.rest.end());
  return split;
}

std::shared_ptr<const Dataset> DataSplits::split(const std::string& name) const {
  const auto& found = name == "train" ? train : name == "validation" ? validation : test;
  if (name != "train" && name != "validation" && name != "test") {
    throw usage_error("\"{}\" is no split; known are train, validation and test", name);
  }
  if (found == nullptr) {
    throw usage_error(
        "{}: has no {} split; add a {} folder or set a fraction aside with --{}-fraction", path,
        name, name == "validation" ? "val" : name, name == "train" ? "test" : name);
  }
  return found;
}

DataSplits open_data(const fs::path& path, const DataOptions& options) {
  check_options(options);
  DataSplits splits;
  splits.path = path.string();
  if (const std::optional<ShardSet> shards = find_shards(path)) {
    open_shards(*shards, options, splits);
    finish(splits, options);
    return splits;
  }
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw usage_error("{}: no such folder; check the path given as --data", path.string());
  }
  if (!is_folder(path)) {
    throw usage_error(
        "{}: is a file, not a folder of pictures; unpack it, or name the folder it "
        "is in",
        path.string());
  }
  bool idx = false;
  for (const char* split : {"train", "t10k"}) {
    for (const char* what : {"images", "labels"}) idx = idx || !find_idx(path, split, what).empty();
  }
  if (idx) {
    open_idx(path, options, splits);
  } else {
    open_folder(path, options, splits);
  }
  finish(splits, options);
  return splits;
}

BadImage bad_image_from(const std::string& option) {
  if (option == "fail") return BadImage::fail;
  if (option == "skip") return BadImage::skip;
  throw usage_error("--on-bad-image is {}; it must be fail or skip", option);
}

}  // namespace tapescope
