#include "tools/detection/annotation_splits.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/hash.h"
#include "tools/data/image_folder.h"
#include "tools/data/splits.h"

namespace tapescope::detection {
namespace {

bool has_objects(const AnnotatedImage& image) {
  return std::any_of(image.objects.begin(), image.objects.end(),
                     [](const Object& o) { return !o.crowd; });
}

// What is annotated, short enough for a line: "2 boxes 09fe3a51". Boxes that move by less than a
// hundredth of a pixel are the same.
std::string told_of(const AnnotatedImage& image, const std::vector<std::string>& classes) {
  std::uint64_t hash = 0;
  for (const Object& o : image.objects) {
    hash = mix(hash, stable_hash(fmt::format("{} {:.2f} {:.2f} {:.2f} {:.2f} {} {}",
                                             classes[static_cast<std::size_t>(o.category)], o.box.x,
                                             o.box.y, o.box.w, o.box.h, o.difficult, o.crowd)));
  }
  const std::size_t count = image.objects.size();
  return fmt::format("{} {} {:08x}", count, count == 1 ? "box" : "boxes", hash >> 32);
}

std::shared_ptr<const Dataset> data_set(const std::vector<AnnotatedImage>& images,
                                        const std::vector<std::string>& classes) {
  if (images.empty()) return nullptr;
  std::map<std::string, std::int64_t> positions;
  std::vector<std::string> told;
  std::vector<ImageFile> files;
  for (const AnnotatedImage& image : images) {
    const auto [it, is_new] = positions.try_emplace(told_of(image, classes), told.size());
    if (is_new) told.push_back(it->first);
    files.push_back({image.path, it->second, image.content});
  }
  return std::make_shared<ImageFiles>(std::move(files), std::move(told), 3,
                                      std::make_shared<PictureRoom>(0), Exif::ignore);
}

}  // namespace

void divide(DetectionData& data, const std::filesystem::path& root, const DataOptions& options) {
  DataSplits splits;
  splits.path = root.string();
  splits.heads = data.record.heads;
  splits.train = data_set(data.train, data.classes);
  splits.validation = data_set(data.validation, data.classes);
  splits.test = data_set(data.test, data.classes);
  // A file is annotated once, or twice alike, in a split; of splits the first one's counts.
  std::map<std::string, AnnotatedImage> by_path;
  for (auto* images : {&data.train, &data.validation, &data.test}) {
    for (AnnotatedImage& image : *images) {
      std::string path = image.path;
      by_path.try_emplace(std::move(path), std::move(image));
    }
    images->clear();
  }
  const bool named = splits.validation != nullptr;
  const auto stratum = [&](const Dataset& pictures, std::int64_t i) {
    return has_objects(by_path.at(pictures.name(i))) ? 1 : 0;
  };
  // Small sets are published with the training pictures as validation (coco8, coco128): whoever
  // names them so wants to see whether a net learns at all.
  tapescope::divide(splits, options, {.stratum = stratum, .repeated_stay = true});
  data.record = record_of(splits);
  data.changes = splits.changes;
  if (options.record == nullptr && !named && splits.validation != nullptr) {
    data.notices.push_back(
        fmt::format("no validation pictures are named: {} of {} were drawn from those of train",
                    splits.validation->size(), splits.validation->size() + splits.train->size()));
  }
  data.notices.insert(data.notices.end(), splits.notices.begin(), splits.notices.end());
  for (const auto& [images, part] : {std::pair(&data.train, splits.train),
                                     {&data.validation, splits.validation},
                                     {&data.test, splits.test}}) {
    for (std::int64_t i = 0; part != nullptr && i < part->size(); ++i) {
      images->push_back(by_path.at(part->name(i)));
    }
  }
}

}  // namespace tapescope::detection
