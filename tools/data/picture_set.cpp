#include "tools/data/picture_set.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "engine/error.h"
#include "tools/data/known_pictures.h"
#include "tools/data/splits.h"

namespace tapescope {

void PictureSet::add(Part part, std::string name, std::vector<ImageFile> files, bool filled) {
  places_.push_back({part, std::move(name), std::move(files), filled});
}

void PictureSet::finish() {
  FileSizes sizes;
  for (Place& place : places_) {
    set_stamps(place.files);
    sizes.files += place.files.size();
    for (const ImageFile& file : place.files) {
      sizes.bytes += static_cast<std::uintmax_t>(file.content.bytes);
    }
  }
  splits_.heads = by_heads(
      options_, [&] { return sizes; }, splits_.notices);
  const char* how = splits_.heads                             ? "heads"
                    : options_.on_bad_image == BadImage::skip ? "decoded"
                                                              : "checked";
  KnownPictures known(splits_.path, fmt::format("{}, EXIF {}", how, name_of(options_.exif)));
  OddPictures odd(options_.exif);
  const auto room = std::make_shared<PictureRoom>(options_.cache_bytes);
  std::size_t position = 0;
  std::vector<std::span<const ImageFile>> lists;
  for (Place& place : places_) {
    const std::size_t count = place.files.size();
    leave_out_bad(place, known, position, odd, *room);
    position += count;
    lists.emplace_back(place.files);
  }
  known.keep(lists, options_.keep_from);
  for (Place& place : places_) {
    tell_empty_classes(place);
    if (place.files.empty()) {
      throw usage_error("{}: holds no pictures; check the path", place.name);
    }
    (place.part == Part::train        ? splits_.train
     : place.part == Part::validation ? splits_.validation
                                      : splits_.test) =
        std::make_shared<ImageFiles>(std::move(place.files), splits_.classes, splits_.channels,
                                     room, options_.exif, options_.cache_decoded);
  }
  for (std::string& sentence : odd.sentences()) splits_.notices.push_back(std::move(sentence));
}

void PictureSet::leave_out_bad(Place& place, const KnownPictures& known, std::size_t position,
                               OddPictures& odd, PictureRoom& room) {
  std::vector<ImageFile>& files = place.files;
  if (splits_.heads) {
    look_at_heads(files, splits_.path, options_.record.get(), odd, &known, position);
    return;
  }
  const std::vector<BadFile> bad =
      check_files(files, options_.on_bad_image, odd, &room, &known, position);
  if (bad.empty()) return;
  std::vector<ImageFile> good;
  auto next = bad.begin();
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (next != bad.end() && next->index == i) {
      splits_.bad_images.push_back(next->what);
      ++next;
    } else {
      good.push_back(std::move(files[i]));
    }
  }
  splits_.notices.push_back(
      fmt::format("{} of {} pictures cannot be read and are left out, the first: {}", bad.size(),
                  bad.size() + good.size(), bad.front().what));
  files = std::move(good);
}

void PictureSet::tell_empty_classes(const Place& place) {
  std::vector<std::int64_t> counts(splits_.classes.size(), 0);
  for (const ImageFile& file : place.files) ++counts[static_cast<std::size_t>(file.label)];
  std::vector<std::string> without;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] > 0) continue;
    if (place.filled && options_.classes.empty()) {
      throw usage_error("{}: holds no picture; put pictures in it or remove the folder",
                        (std::filesystem::path(place.name) / splits_.classes[c]).string());
    }
    without.push_back(splits_.classes[c]);
  }
  if (without.size() == 1) {
    splits_.notices.push_back(fmt::format("{}: no picture of class {}", place.name, without[0]));
  } else if (!without.empty() && !place.files.empty()) {
    const std::size_t shown = std::min<std::size_t>(without.size(), 4);
    splits_.notices.push_back(fmt::format(
        "{}: no picture of {} of {} classes: {}{}", place.name, without.size(), counts.size(),
        fmt::join(without.begin(), without.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
        shown < without.size() ? ", ..." : ""));
  }
}

}  // namespace tapescope
