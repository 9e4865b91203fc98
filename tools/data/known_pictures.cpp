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
  const std::size_t count = from.count(64);
  known_.reserve(count);
  for (std::size_t i = 0; i < count && from.ok(); ++i) {
    const std::string_view name = from.text();
    Facts& facts = known_[name];
    facts.stamp = FileStamp::unpack(from);
    facts.hash = static_cast<std::uint64_t>(from.number());
    const std::int64_t shape = from.number();
    facts.size = {static_cast<int>(shape >> 32), static_cast<int>(shape & 0x7fff'ffff)};
    facts.turned = from.number() != 0;
  }
  if (!from.at_end()) known_.clear();
}

bool KnownPictures::fill_in(ImageFile& file) const {
  if (known_.empty()) return false;
  const auto found = known_.find(name_beneath(file.path, root_));
  if (found == known_.end() || found->second.stamp != file.stamp) return false;
  file.content.hash = found->second.hash;
  file.size = found->second.size;
  file.turned = found->second.turned;
  file.lasting = true;
  return true;
}

void KnownPictures::add(std::span<const ImageFile> files) {
  for (const ImageFile& file : files) {
    if (!file.lasting || !file.stamp.settled(clock_)) continue;
    const std::string name = name_beneath(file.path, root_);
    const auto found = known_.find(name);
    changed_ = changed_ || found == known_.end() || found->second.stamp != file.stamp;
    ++count_;
    added_.text(name);
    file.stamp.pack(added_);
    added_.number(static_cast<std::int64_t>(file.content.hash));
    added_.number(std::int64_t{file.size.height} << 32 | std::int64_t{file.size.width});
    added_.number(file.turned ? 1 : 0);
  }
}

void KnownPictures::keep(std::int64_t keep_from) const {
  if (!changed_ || count_ < keep_from || key_.empty()) return;
  Packer head;
  head.number(count_);
  keep_cached(kPicturesKind, key_, head.bytes() + added_.bytes());
}

}  // namespace tapescope
