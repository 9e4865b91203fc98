#include "tools/data/known_pictures.h"

#include "tools/data/image_folder.h"

namespace tapescope {
namespace {

constexpr const char* kPicturesKind = "pictures";

}  // namespace

KnownPictures::KnownPictures(std::string root, std::string_view how)
    : root_(std::move(root)), clock_(clock_now()) {
  std::error_code error;
  const std::string place = std::filesystem::canonical(root_, error).string();
  if (error) return;
  key_ = std::string(how) + ' ' + place;
  bytes_ = cached(kPicturesKind, key_).value_or("");
  Unpacker from(bytes_);
  known_.resize(from.count(64));
  for (Facts& facts : known_) {
    facts.name = from.text();
    facts.stamp = FileStamp::unpack(from);
    facts.hash = static_cast<std::uint64_t>(from.number());
    const std::int64_t shape = from.number();
    facts.size = {static_cast<int>(shape >> 32), static_cast<int>(shape & 0x7fff'ffff)};
    facts.turned = from.number() != 0;
  }
  if (!from.at_end()) known_.clear();
}

const KnownPictures::Facts* KnownPictures::find(std::string_view name, std::size_t position) const {
  if (position < known_.size() && known_[position].name == name) return &known_[position];
  std::call_once(by_name_once_, [&] {
    by_name_.reserve(known_.size());
    for (const Facts& facts : known_) by_name_.emplace(facts.name, &facts);
  });
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

bool KnownPictures::fill_in(ImageFile& file, std::size_t position) const {
  if (known_.empty()) return false;
  const Facts* facts = find(view_beneath(file.path, root_), position);
  if (facts == nullptr || facts->stamp != file.stamp) return false;
  file.content.hash = facts->hash;
  file.size = facts->size;
  file.turned = facts->turned;
  file.facts = ImageFile::Facts::known;
  return true;
}

void KnownPictures::keep(std::span<const std::span<const ImageFile>> lists,
                         std::int64_t keep_from) const {
  std::int64_t count = 0;
  bool any_new = false;
  const auto lasts = [&](const ImageFile& file) {
    return file.facts != ImageFile::Facts::passing && file.stamp.settled(clock_);
  };
  for (const std::span<const ImageFile> files : lists) {
    for (const ImageFile& file : files) {
      if (!lasts(file)) continue;
      ++count;
      any_new = any_new || file.facts == ImageFile::Facts::lasting;
    }
  }
  if (!any_new || count < keep_from || key_.empty()) return;
  Packer to;
  to.number(count);
  for (const std::span<const ImageFile> files : lists) {
    for (const ImageFile& file : files) {
      if (!lasts(file)) continue;
      to.text(view_beneath(file.path, root_));
      file.stamp.pack(to);
      to.number(static_cast<std::int64_t>(file.content.hash));
      to.number(std::int64_t{file.size.height} << 32 | std::int64_t{file.size.width});
      to.number(file.turned ? 1 : 0);
    }
  }
  keep_cached(kPicturesKind, key_, to.bytes());
}

}  // namespace tapescope
